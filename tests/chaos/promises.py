"""What clients and operators were told: each answer of success is a promise that is checked later."""

import re
import threading
from collections import Counter
from dataclasses import dataclass, field

ID = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|[0-9a-f]{12,}")
KIND_CHARS = 160


@dataclass
class Promise:
    """A generation that was accepted. keys: the names of its image's files, once they were told."""

    generation_id: str
    user_id: str
    project_id: str
    credits: int
    delivered_image: str | None = None
    avatar_id: str | None = None
    ended: bool = False


@dataclass
class Promises:
    """All promises of a campaign, and what contradicted them. Several threads write."""

    generations: dict[str, Promise] = field(default_factory=dict)
    keyed: dict[tuple[str, str], str] = field(default_factory=dict)
    """What was made under each user's idempotency keys: the id of a generation or of an uploaded avatar."""
    uploads: dict[str, str] = field(default_factory=dict)
    """The uploaded avatars, each with the user's id."""
    cancelled: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)
    """Ids of generations, avatars and projects whose deletion was confirmed."""
    doubtful: set[str] = field(default_factory=set)
    """Ids whose deletion was asked for."""
    deleted_images: set[str] = field(default_factory=set)
    """Keys of images whose deletion was confirmed to the first request for it."""
    grants: dict[str, tuple[str, int]] = field(default_factory=dict)
    """Grants by reference: the user and the credits."""
    visitors: set[str] = field(default_factory=set)
    """Ids of users who came with a session token and were answered."""
    secrets: set[str] = field(default_factory=set)
    """What must be in no log."""
    violations: dict[str, str] = field(default_factory=dict)
    """The first of each kind of violation."""
    samples: list[tuple[float, float, str, int]] = field(default_factory=list)
    """Of each answered request: when it began, its seconds, what it was and its status."""
    counts: Counter[str] = field(default_factory=Counter)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def violated(self, words: str) -> None:
        """Record something that must not be. What differs by ids only is one kind, which is counted."""
        kind = ID.sub("ID", words)[:KIND_CHARS]
        with self.lock:
            self.counts[f"violation: {kind}"] += 1
            self.violations.setdefault(kind, words)

    def made(self, user_id: str, key: str | None, id_: str) -> None:
        """Record what a request under a key has made. Another thing under the same key is a violation."""
        if key is None:
            return
        with self.lock:
            first = self.keyed.setdefault((user_id, key), id_)
        if first != id_:
            self.violated(f"one idempotency key made {first} and {id_}")

    def count(self, what: str) -> None:
        """Count something for the report."""
        with self.lock:
            self.counts[what] += 1

    def may_be_gone(self, *ids: str | None) -> bool:
        """Return whether the deletion of any of these was asked for."""
        return any(id_ in self.doubtful for id_ in ids if id_)
