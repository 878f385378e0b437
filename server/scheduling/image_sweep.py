"""The sweep: images that no avatar owns go into quarantine, and are deleted when nobody missed them.

See ADR 23. The keys of images are random, so no other database's avatars own an image by chance.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum, auto
from typing import Final

from server.avatars.repository import Avatars
from server.clock import now
from server.db.unit_of_work import UnitOfWork
from server.images.repository import Identities
from server.images.store import ImageStore
from server.logs import get_log
from server.settings import Settings

log = get_log(__name__)

EVER: Final = datetime.max.replace(tzinfo=UTC)


class Owner(Enum):
    """Whose the folder of images is."""

    THIS_DATABASE = auto()
    ANOTHER = auto()
    NOBODY = auto()


@dataclass(frozen=True)
class Counts:
    """How many images an avatar of this database owns, and how many none does."""

    owned: int
    unowned: int

    @property
    def fit(self) -> bool:
        """Whether the folder may be this database's: of its images at least half belong to avatars of it."""
        return self.unowned <= self.owned


class ImageSweep:
    """Keeps the folder of images and the avatars of one database together."""

    def __init__(self, uow: UnitOfWork, images: ImageStore, settings: Settings) -> None:
        self._uow = uow
        self._images = images
        self._settings = settings
        self._warned = False

    def run(self) -> int:
        """Move the images that no avatar owns aside, once they are older than any settlement takes.

        Return how many. Nothing is moved or deleted in a folder that is not this database's.
        """
        self.restore()
        if not self._is_ours():
            return 0
        swept = 0
        orphaned = self._orphaned_before()
        for keys in self._images.older_than(orphaned):
            swept += self._images.quarantine.take(set(keys) - self._owned(keys))
        unfinished = self._images.delete_unfinished(orphaned)
        purged = self.purge(now() - timedelta(days=self._settings.server.image_quarantine_days))
        if swept or unfinished or purged:
            log.info("images.swept", images=swept, unfinished=unfinished, purged=purged)
        return swept

    def restore(self) -> int:
        """Move the images back that an avatar owns again, as after a restored backup; return how many."""
        restored = 0
        for keys in self._images.quarantine.batches():
            restored += self._images.quarantine.give_back(self._owned(keys))
        if restored:
            log.info("images.restored", images=restored)
        return restored

    def purge(self, before: datetime | None = None) -> int:
        """Delete the images that are in quarantine since before a moment, or all; return how many.

        What an avatar owns again stays: `restore` moves it back.
        """
        purged = 0
        for keys in self._images.quarantine.batches(before):
            purged += self._images.quarantine.delete(set(keys) - self._owned(keys))
        return purged

    def owner(self) -> Owner:
        """Return whose the folder is."""
        owner = self._images.owner()
        if owner is None:
            return Owner.NOBODY
        return Owner.THIS_DATABASE if owner == self._identity() else Owner.ANOTHER

    def adopt(self) -> bool:
        """Give the folder to this database if nobody has it and its images do not say otherwise.

        They do if most belong to no avatar: then the database is the wrong one, or a folder of another one
        was brought here. A few images that a wrong database has drawn into it make no majority.
        """
        return self.count().fit and self._images.give_to(self._identity())

    def adopt_anyway(self) -> None:
        """Give the folder to this database, whosever it is: an operator says so."""
        self._images.give_to(self._identity(), anyway=True)

    def quarantined(self) -> int:
        """Return how many images are in quarantine."""
        return sum(len(keys) for keys in self._images.quarantine.batches())

    def count(self) -> Counts:
        """Count the images in the folder, those in quarantine not among them."""
        owned: set[str] = set()
        unowned: set[str] = set()
        for keys in self._images.older_than(EVER):
            ours = self._owned(keys)
            owned |= ours
            unowned |= set(keys) - ours
        return Counts(len(owned), len(unowned))

    def lacking(self) -> list[str]:
        """Return the keys of the images that an avatar owns and of which a file is missing."""
        with self._uow.read() as tx:
            lacking = [key for images in Avatars(tx).images() for key in images if self._images.lacks(key)]
        return sorted(self._owned(lacking))  # without those of avatars that were deleted meanwhile

    def _is_ours(self) -> bool:
        owner = self.owner()
        if owner is Owner.THIS_DATABASE or (owner is Owner.NOBODY and self.adopt()):
            return True
        if not self._warned:
            self._warned = True
            log.warning("images.of_another_database", owner=owner.name.lower())
        return False

    def _orphaned_before(self) -> datetime:
        return now() - timedelta(seconds=self._settings.server.orphan_image_age_s)

    def _identity(self) -> str:
        with self._uow.read() as tx:
            return Identities(tx).own()

    def _owned(self, keys: Iterable[str]) -> set[str]:
        with self._uow.read() as tx:
            return Avatars(tx).owned_images(keys)
