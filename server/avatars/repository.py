"""Avatars in the database."""

from collections import defaultdict
from collections.abc import Iterable
from typing import Final

from sqlalchemy import bindparam, select

from server.avatars.tables import Avatar
from server.db.unit_of_work import Repository
from server.errors import NotFound

_IMAGE_KEY: Final = select(Avatar.image_key).where(Avatar.id == bindparam("of_avatar"))


class Avatars(Repository):
    """Reads and adds avatars."""

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

    def by_project(self, project_ids: Iterable[str]) -> dict[str, list[Avatar]]:
        """Return the avatars of each project, newest first."""
        grouped: dict[str, list[Avatar]] = defaultdict(list)
        found = self._session.scalars(
            select(Avatar)
            .where(Avatar.project_id.in_(list(project_ids)))
            .order_by(Avatar.created_at.desc(), Avatar.id.desc())
        )
        for avatar in found:
            grouped[avatar.project_id].append(avatar)
        return grouped

    def owned_images(self, image_keys: Iterable[str]) -> set[str]:
        """Return those of the image keys that an avatar owns."""
        return set(
            self._session.scalars(select(Avatar.image_key).where(Avatar.image_key.in_(list(image_keys))))
        )
