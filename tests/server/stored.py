"""What a worker passes to the settlement, avatars as the settlement stores them, and damage to the ledger."""

import json
from dataclasses import replace
from uuid import uuid4

from sqlalchemy import insert, text, update

from catalog.orders import Provenance
from server.avatars.repository import Avatars
from server.avatars.tables import Avatar
from server.credits.tables import Posting
from server.generations.tables import Generation
from server.images.store import StoredImage, Variant


def stored_image():
    """Return a stored image with a random key."""
    return StoredImage(uuid4().hex, "0" * 64)


def provenance_of(generation, **changes):
    """Return the provenance of an image that was drawn as it was ordered, without a revision."""
    drawn = Provenance.of_order("scripted", generation.order)
    return replace(drawn, **{"revision": None, **changes})


def avatar_of(account, **changes):
    """Return an avatar in the account's project, without an image."""
    columns = {
        "id": str(uuid4()),
        "user_id": account.user_id,
        "project_id": account.project_id,
        "name": "Ada",
        "image_key": uuid4().hex,
        "image_sha256": "0" * 64,
        "source_type": "text_to_image",
        "persona_personality": json.dumps(["calm"]),
        "seed_used": 2**32 - 1,
    }
    return Avatar(**(columns | changes))


def add_avatar(uow, account, **changes):
    """Store an avatar as the settlement does, without an image."""
    avatar = avatar_of(account, **changes)
    with uow.begin() as tx:
        Avatars(tx).add(avatar)
    return avatar


def add_drawn_avatar(uow, images, account, **changes):
    """Store an avatar with both files of its image."""
    image = images.put({Variant.FULL: b"png", Variant.THUMBNAIL: b"jpg"})
    return add_avatar(uow, account, image_key=image.key, image_sha256=image.sha256, **changes)


def post_astray(owner, **posting):
    """Insert a posting that its transfer does not ask for, past the trigger that refuses it."""
    on_table = " ON ledger_postings" if owner.engine.dialect.name == "postgresql" else ""
    with owner.begin() as tx:
        tx.session.execute(text(f"DROP TRIGGER ledger_postings_check{on_table}"))
        tx.session.execute(insert(Posting).values(posting))


def end_by_hand(owner, generation_id):
    """End a generation without its settlement, past the trigger of PostgreSQL that refuses it."""
    with owner.begin() as tx:
        if owner.engine.dialect.name == "postgresql":
            tx.session.execute(text("DROP TRIGGER generations_end ON generations"))
        ended = {"status": "failed", "error_code": "INTERNAL_ERROR"}
        tx.session.execute(update(Generation).where(Generation.id == generation_id).values(ended))
