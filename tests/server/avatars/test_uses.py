from functools import partial

import pytest
from sqlalchemy import func, select

from server.avatars import service
from server.avatars.repository import Avatars, AvatarUses
from server.avatars.service import HISTORY, Use
from server.avatars.tables import AvatarUse
from server.errors import NotFound
from tests.server.stored import add_avatar

USE = Use("pose-editor", "Pose Editor", "used")


@pytest.fixture
def record(uow):
    """Record a use of an account's avatar."""

    def record_use(account, avatar, use=USE):
        service.record_use(uow, account.caller, avatar.id, use)

    return record_use


@pytest.fixture
def history(uow):
    """Read the uses of an account's avatar."""

    def read(account, avatar):
        return service.usage_history(uow, account.caller, avatar.id)

    return read


def stored(uow, account, avatar):
    """Read an avatar from the database."""
    with uow.read() as tx:
        return Avatars(tx).owned_by(account.user_id, avatar.id)


class TestRecordUse:
    def test_sixty_four_at_once(self, uow, make_account, record, history, at_once):
        """Sixty-four uses at the same moment are all counted, and the last one is the avatar's last use."""
        account = make_account()
        avatar = add_avatar(uow, account)
        assert at_once(64, partial(record, account, avatar)) == [None] * 64
        after, found = stored(uow, account, avatar), history(account, avatar)
        assert after.usage_count == len(found.uses) == 64
        assert after.last_used_at == max(use.created_at for use in found.uses)
        assert [(app.count, app.last_used) for app in found.by_app] == [(64, after.last_used_at)]

    def test_what_is_not_the_callers(self, uow, make_account, record, history):
        """A use of another user's avatar is neither counted nor kept, and its history is not found."""
        owner, other = make_account(), make_account()
        avatar = add_avatar(uow, owner)
        for act in (record, history):
            with pytest.raises(NotFound, match="Avatar"):
                act(other, avatar)
        assert stored(uow, owner, avatar).usage_count == 0
        assert history(owner, avatar).uses == []

    def test_a_deletion_at_the_same_time(self, uow, make_account, record, beside, monkeypatch):
        """A deletion waits for a use that has begun and takes it along; a later use finds no avatar."""
        account = make_account()
        avatar = add_avatar(uow, account)
        add = AvatarUses.add
        deletions = []

        def deleting(uses, use):
            delete = partial(service.delete, uow, list, account.caller, avatar.id)
            deletions.append(beside(delete))
            add(uses, use)

        monkeypatch.setattr(AvatarUses, "add", deleting)
        record(account, avatar)
        deletions[0].result()
        with pytest.raises(NotFound, match="Avatar"):
            record(account, avatar)
        with uow.read() as tx:
            assert tx.session.scalar(select(func.count()).select_from(AvatarUse)) == 0


class TestUsageHistory:
    def test_it_is_bounded_and_the_summary_is_not(self, uow, make_account, record, history):
        """The history has the newest hundred uses, the newest first; the summary adds all of them up."""
        account = make_account()
        avatar = add_avatar(uow, account)
        for number in range(HISTORY + 2):
            record(account, avatar, Use("a", "A", str(number)))
        found = history(account, avatar)
        assert [use.action for use in found.uses] == [str(number) for number in range(HISTORY + 1, 1, -1)]
        assert [(app.app_id, app.count) for app in found.by_app] == [("a", HISTORY + 2)]

    def test_an_application_is_called_what_it_last_was(self, uow, make_account, record, history):
        """Uses are summed up by the application's id, under its last name, the last user of it first."""
        account = make_account()
        avatar, other = add_avatar(uow, account), add_avatar(uow, account)
        for app_id, app_name in (("a", "Old"), ("b", "B"), ("a", "New")):
            record(account, avatar, Use(app_id, app_name, "used"))
        record(account, other)
        found = history(account, avatar)
        assert [(app.app_id, app.app_name, app.count) for app in found.by_app] == [
            ("a", "New", 2),
            ("b", "B", 1),
        ]
        assert [app.last_used for app in found.by_app] == [use.created_at for use in found.uses[:2]]
