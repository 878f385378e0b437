"""Avatars in the database."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NamedTuple

from sqlalchemy import bindparam, case, delete, func, select, update

from server.avatars.tables import UPLOADED, Avatar, AvatarUse, column_values
from server.db.unit_of_work import Repository
from server.errors import NotFound

_IMAGE_KEY: Final = select(Avatar.image_key).where(Avatar.id == bindparam("of_avatar"))


class Totals(NamedTuple):
    """Sums over a user's avatars. uses: of all of them together."""

    avatars: int
    uses: int
    recent_uploads: int


@dataclass(frozen=True)
class AppUse:
    """How often an application used an avatar, and when it last did. app_name: the one it last gave."""

    app_id: str
    app_name: str
    count: int
    last_used: datetime


class Avatars(Repository):
    """Reads and changes avatars."""

    def add(self, avatar: Avatar) -> None:
        """Add an avatar."""
        self._session.add(avatar)
        self._session.flush()

    def owned_by(self, user_id: str, avatar_id: str) -> Avatar:
        """Return a user's avatar.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        avatar = self._session.scalar(select(Avatar).where(Avatar.id == avatar_id, Avatar.user_id == user_id))
        if avatar is None:
            raise NotFound("Avatar")
        return avatar

    def image_key(self, avatar_id: str | None) -> str | None:
        """Return the key of an avatar's image; None if there is no such avatar."""
        return None if avatar_id is None else self._session.scalar(_IMAGE_KEY, {"of_avatar": avatar_id})

    def of_project(self, project_id: str, limit: int) -> list[Avatar]:
        """Return a project's newest avatars, newest first."""
        newest = (Avatar.created_at.desc(), Avatar.id.desc())
        of = select(Avatar).where(Avatar.project_id == project_id)
        return list(self._session.scalars(of.order_by(*newest).limit(limit)))

    def owned_images(self, image_keys: Iterable[str]) -> set[str]:
        """Return those of the image keys that an avatar owns."""
        return set(
            self._session.scalars(select(Avatar.image_key).where(Avatar.image_key.in_(list(image_keys))))
        )

    def images(self, limit: int = 500) -> Iterator[dict[str, str]]:
        """Yield the digests of all avatars' images by their keys, so many at a time."""
        last = ""
        while digests := self._images_after(last, limit):
            yield digests
            last = next(reversed(digests))

    def count(self, user_id: str) -> int:
        """Return how many avatars a user has."""
        return self._session.scalar(select(func.count()).where(Avatar.user_id == user_id)) or 0

    def count_all(self) -> int:
        """Return how many avatars there are."""
        return self._session.scalar(select(func.count()).select_from(Avatar)) or 0

    def totals(self, user_id: str, recent: datetime) -> Totals:
        """Add up a user's avatars. recent: since when an upload counts as recent."""
        uploaded = (Avatar.source_type == UPLOADED) & (Avatar.created_at >= recent)
        sums = self._session.execute(
            select(
                func.count(),
                func.coalesce(func.sum(Avatar.usage_count), 0),
                func.count().filter(uploaded),
            ).where(Avatar.user_id == user_id)
        )
        return Totals(*(int(number) for number in sums.one()))

    def most_used(self, user_id: str, limit: int) -> list[Avatar]:
        """Return a user's avatars that were used, the most used first."""
        found = self._session.scalars(
            select(Avatar)
            .where(Avatar.user_id == user_id, Avatar.usage_count > 0)
            .order_by(Avatar.usage_count.desc(), Avatar.created_at.desc(), Avatar.id.desc())
            .limit(limit)
        )
        return list(found)

    def change(self, user_id: str, avatar_id: str, changes: Mapping[str, Any]) -> None:
        """Change attributes of a user's avatar.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        self._change(user_id, avatar_id, column_values(changes))

    def count_use(self, user_id: str, avatar_id: str, moment: datetime) -> None:
        """Count one use of a user's avatar. The row is locked until the commit.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        used = {
            "usage_count": Avatar.usage_count + 1,
            "last_used_at": case((Avatar.last_used_at > moment, Avatar.last_used_at), else_=moment),
            "updated_at": Avatar.updated_at,
        }
        self._change(user_id, avatar_id, used)

    def delete(self, user_id: str, avatar_id: str) -> str:
        """Delete a user's avatar with its uses; return the key of its image, which nobody owns then.

        Raises:
            NotFound: there is none of this id, or it is another user's.

        """
        owned = delete(Avatar).where(Avatar.id == avatar_id, Avatar.user_id == user_id)
        image_key = self._session.scalar(
            owned.returning(Avatar.image_key).execution_options(synchronize_session=False)
        )
        if image_key is None:
            raise NotFound("Avatar")
        return image_key

    def delete_all_of(self, project_id: str) -> list[str]:
        """Delete a project's avatars with their uses; return the keys of their images."""
        deleted = delete(Avatar).where(Avatar.project_id == project_id).returning(Avatar.image_key)
        return list(self._session.scalars(deleted.execution_options(synchronize_session=False)))

    def _images_after(self, key: str, limit: int) -> dict[str, str]:
        following = select(Avatar.image_key, Avatar.image_sha256).where(Avatar.image_key > key)
        rows = self._session.execute(following.order_by(Avatar.image_key).limit(limit))
        return dict(rows.all())

    def _change(self, user_id: str, avatar_id: str, values: Mapping[str, Any]) -> None:
        changed = self._session.scalar(
            update(Avatar)
            .where(Avatar.id == avatar_id, Avatar.user_id == user_id)
            .values(**values)
            .returning(Avatar.id)
            .execution_options(synchronize_session=False)
        )
        if changed is None:
            raise NotFound("Avatar")


class AvatarUses(Repository):
    """Adds and reads the uses of avatars. `Avatars.count_use` counts them."""

    def add(self, use: AvatarUse) -> None:
        """Add a use."""
        self._session.add(use)
        self._session.flush()

    def newest(self, avatar_id: str, limit: int) -> list[AvatarUse]:
        """Return the newest uses of an avatar, the newest first."""
        found = self._session.scalars(
            select(AvatarUse)
            # A range, as in the history of credits, so that the uses of other avatars are not read.
            .where(AvatarUse.avatar_id.between(avatar_id, avatar_id))
            .order_by(AvatarUse.avatar_id.desc(), AvatarUse.id.desc())
            .limit(limit)
        )
        return list(found)

    def by_app(self, avatar_id: str, limit: int) -> list[AppUse]:
        """Add up the uses of an avatar for each application; return those that used it last first."""
        apps = (
            select(
                AvatarUse.app_id,
                func.count().label("count"),
                func.max(AvatarUse.created_at).label("last_used"),
                func.max(AvatarUse.id).label("newest"),
            )
            .where(AvatarUse.avatar_id == avatar_id)
            .group_by(AvatarUse.app_id)
            .subquery()
        )
        rows = self._session.execute(
            select(apps.c.app_id, AvatarUse.app_name, apps.c.count, apps.c.last_used)
            .join(AvatarUse, AvatarUse.id == apps.c.newest)
            .order_by(apps.c.newest.desc())
            .limit(limit)
        )
        return [AppUse(*row) for row in rows]
