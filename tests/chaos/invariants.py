"""What must be true whenever nothing is under way, in SQL, on the disk and by what clients were told."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

from tests.chaos.promises import Promises
from tests.chaos.stage import Stage

SOME = 5
"""How many cases of one violation are shown."""

# Each statement returns the rows that break its rule, which is written above it in words.
RULES = {
    "all postings sum to zero": "SELECT sum(amount) FROM ledger_postings HAVING sum(amount) <> 0",
    "the postings of each transfer sum to zero": """
        SELECT transfer_id FROM ledger_postings GROUP BY transfer_id HAVING sum(amount) <> 0""",
    "no balance is negative": "SELECT user_id FROM accounts WHERE available < 0 OR held < 0",
    "accounts equal their postings": """
        SELECT a.user_id, a.available, a.held FROM accounts a
        LEFT JOIN (SELECT user_id, sum(CASE WHEN account = 'available' THEN amount ELSE 0 END) AS available,
                          sum(CASE WHEN account = 'held' THEN amount ELSE 0 END) AS held
                   FROM ledger_postings GROUP BY user_id) p ON p.user_id = a.user_id
        WHERE a.available <> coalesce(p.available, 0) OR a.held <> coalesce(p.held, 0)""",
    "each hold has ended, once": """
        SELECT h.id, h.reference_id, count(e.id) FROM ledger_transfers h
        LEFT JOIN ledger_transfers e ON e.settles_id = h.id
        WHERE h.kind = 'hold' GROUP BY h.id, h.reference_id HAVING count(e.id) <> 1""",
    "each generation has one hold": """
        SELECT g.id, count(h.id) FROM generations g
        LEFT JOIN ledger_transfers h ON h.reference_id = g.id AND h.kind = 'hold'
        GROUP BY g.id HAVING count(h.id) <> 1""",
    "every generation has ended": """
        SELECT id, status FROM generations WHERE status IN ('pending', 'processing')""",
    "what was completed is captured, what failed is voided": """
        SELECT g.id, g.status, e.kind FROM generations g
        JOIN ledger_transfers h ON h.reference_id = g.id AND h.kind = 'hold'
        JOIN ledger_transfers e ON e.settles_id = h.id
        WHERE (g.status = 'completed') <> (e.kind = 'capture')""",
    "nothing is captured beyond its hold": """
        SELECT h.reference_id FROM ledger_transfers h JOIN ledger_transfers e ON e.settles_id = h.id
        WHERE e.credits > h.credits""",
    "each hold of a generation has one end in the events, the same as in the ledger": """
        SELECT h.reference_id, e.kind, v.completed, v.failed FROM ledger_transfers h
        JOIN ledger_transfers e ON e.settles_id = h.id
        LEFT JOIN (SELECT generation_id, sum(CASE WHEN kind = 'completed' THEN 1 ELSE 0 END) AS completed,
                          sum(CASE WHEN kind = 'failed' THEN 1 ELSE 0 END) AS failed
                   FROM events GROUP BY generation_id) v ON v.generation_id = h.reference_id
        WHERE h.kind = 'hold' AND h.reference_type = 'generation'
          AND (coalesce(v.completed, 0) <> CASE WHEN e.kind = 'capture' THEN 1 ELSE 0 END
            OR coalesce(v.failed, 0) <> CASE WHEN e.kind = 'void' THEN 1 ELSE 0 END)""",
    "an avatar that was drawn belongs to a generation that was captured": """
        SELECT a.id FROM avatars a LEFT JOIN ledger_transfers h ON h.kind = 'hold'
          AND h.reference_id = CASE WHEN a.generation_id IS NULL THEN a.id ELSE a.generation_id END
        LEFT JOIN ledger_transfers e ON e.settles_id = h.id AND e.kind = 'capture' WHERE e.id IS NULL""",
    "an upload costs its price": """
        SELECT h.reference_id, h.credits, e.kind, e.credits FROM ledger_transfers h
        JOIN ledger_transfers e ON e.settles_id = h.id
        WHERE h.reference_type = 'avatar' AND (h.credits <> 2 OR e.kind <> 'capture' OR e.credits <> 2)""",
    "a request under a key makes one generation": """
        SELECT avatar_name, count(*) FROM generations WHERE avatar_name LIKE 'key-%'
        GROUP BY avatar_name HAVING count(*) > 1""",
    "a request of another dialect makes one generation, however often it was sent": """
        SELECT prompt, count(*) FROM generations WHERE prompt LIKE '%once-%'
        GROUP BY prompt HAVING count(*) > 1""",
    "an upload under a key makes one avatar": """
        SELECT name, count(*) FROM avatars WHERE source_type = 'uploaded' AND name LIKE 'key-%'
        GROUP BY name HAVING count(*) > 1""",
    "a grant is made once under its reference": """
        SELECT grant_reference FROM ledger_transfers WHERE grant_reference IS NOT NULL
        GROUP BY grant_reference HAVING count(*) > 1""",
    "every account was opened with its first credits": """
        SELECT a.user_id FROM accounts a
        LEFT JOIN ledger_transfers t ON t.grant_reference = 'first:' || a.user_id
        WHERE t.id IS NULL""",
}


def check(stage: Stage, promises: Promises) -> Iterator[str]:
    """Yield every violation that is found now. Nothing may be under way."""
    for rule, statement in RULES.items():
        if broken := stage.ask(statement):
            yield f"{rule}: not so for {len(broken)}: {[tuple(row) for row in broken[:SOME]]}"
    yield from _promised_generations(stage, promises)
    yield from _promised_uploads(stage, promises)
    yield from _promised_grants(stage, promises)
    yield from _files(stage, promises)


def _promised_generations(stage: Stage, promises: Promises) -> Iterator[str]:
    rows = {
        row[0]: row
        for row in stage.ask("SELECT id, user_id, status, error_code, avatar_id, credits FROM generations")
    }
    avatars = {row[0] for row in stage.ask("SELECT id FROM avatars")}
    for promise in promises.generations.values():
        id_ = promise.generation_id
        row = rows.get(id_)
        if row is None:
            if not promises.may_be_gone(id_, promise.project_id):
                yield f"generation {id_} was accepted and is lost"
            continue
        if (row[1], row[5]) != (promise.user_id, promise.credits):
            yield f"generation {id_} was accepted as {promise}, and is {tuple(row)}"
        if id_ in promises.deleted:
            yield f"generation {id_} was deleted and is there"
        if id_ in promises.cancelled and row[3] != "CANCELLED":
            yield f"generation {id_} was cancelled and is {row[2]}, {row[3]}"
        if (
            row[2] == "completed"
            and row[4] not in avatars
            and not promises.may_be_gone(row[4], promise.project_id)
        ):
            yield f"the avatar of generation {id_} is lost"
    for id_ in sorted(avatars & promises.deleted):
        yield f"avatar {id_} was deleted and is there"


def _promised_uploads(stage: Stage, promises: Promises) -> Iterator[str]:
    avatars = {row[0] for row in stage.ask("SELECT id FROM avatars")}
    for id_ in sorted(set(promises.uploads) - avatars - promises.doubtful):
        yield f"the uploaded avatar {id_} is lost"


def _promised_grants(stage: Stage, promises: Promises) -> Iterator[str]:
    rows = stage.ask("SELECT grant_reference, user_id, credits FROM ledger_transfers WHERE kind = 'grant'")
    granted = {row[0]: (row[1], row[2]) for row in rows}
    for reference, promised in promises.grants.items():
        if granted.get(reference) != promised:
            yield f"the grant {reference} is {granted.get(reference)} and not {promised}"
    for user_id in sorted(promises.visitors):
        if granted.get(f"first:{user_id}") != (user_id, 50):
            yield f"the welcome of {user_id} is {granted.get(f'first:{user_id}')}"


def _files(stage: Stage, promises: Promises) -> Iterator[str]:
    folder = stage.data_dir / "images" / "avatars"
    for key, sha256 in stage.ask("SELECT image_key, image_sha256 FROM avatars"):
        full, thumbnail = folder / f"{key}.png", folder / f"{key}.jpg"
        if key == stage.kept_image:
            continue  # a fault moves it into quarantine: the campaign looks for it after the next sweep
        if not full.exists() or not thumbnail.exists():
            yield f"an avatar lacks a file of image {key}"
        elif hashlib.sha256(full.read_bytes()).hexdigest() != sha256:
            yield f"image {key} is not what was stored"
    for key in sorted(promises.deleted_images):
        if any((place / f"{key}.png").exists() for place in (folder, folder.parent / "quarantine")):
            yield f"image {key} was deleted, and its file is there"


def unowned(stage: Stage) -> list[Path]:
    """Return the files of images that no avatar owns, half-written ones too, as crashes leave them."""
    owned = {row[0] for row in stage.ask("SELECT image_key FROM avatars")}
    folder = stage.data_dir / "images" / "avatars"
    return sorted(path for path in folder.iterdir() if path.name.split(".")[0] not in owned)
