"""The audit in parts finds what a whole one finds, and each part reads a bounded number of rows."""

from datetime import timedelta

import pytest
from sqlalchemy import text, update

from server.credits import audit
from server.credits.audit import Audits, audit_some
from server.credits.repository import Ledger
from server.credits.tables import Account
from server.images.store import ImageStore
from server.scheduling.reaper import Reaper
from tests.server.stored import post_astray

HOUR = timedelta(hours=1)


@pytest.fixture(autouse=True)
def parts_of_two(monkeypatch):
    """Let a part be two accounts, or the account with which six postings are reached."""
    monkeypatch.setattr(audit, "ACCOUNTS_AT_ONCE", 2)
    monkeypatch.setattr(audit, "POSTINGS_AT_ONCE", 6)


def result(uow):
    with uow.read() as tx:
        return Audits(tx).result()


def position(uow):
    with uow.read() as tx:
        return Audits(tx).position()


def finish(uow):
    """Audit to the end; return how many parts it took."""
    parts = 1
    while not audit_some(uow):
        parts += 1
    return parts


def set_available(uow, user_id, credits):  # noqa: A002  # the term of the field
    with uow.begin() as tx:
        tx.session.execute(update(Account).where(Account.user_id == user_id).values(available=credits))


class TestParts:
    def test_nobody_has_an_account(self, uow):
        """A ledger without accounts is in order."""
        assert finish(uow) == 1
        assert (result(uow).drifting_accounts, result(uow).postings_sum) == (0, 0)

    def test_all_accounts_are_compared(self, uow, make_account):
        """Whatever account drifts, in whatever part, one audit finds it."""
        users = sorted(make_account(credits=10).user_id for _ in range(5))
        assert finish(uow) == 3
        assert result(uow).drifting_accounts == 0
        for count, user in enumerate(users, start=1):
            set_available(uow, user, 9)
            finish(uow)
            assert result(uow).drifting_accounts == count
        set_available(uow, users[0], 10)
        finish(uow)
        assert result(uow).drifting_accounts == 4

    def test_a_part_ends_with_many_postings(self, uow, make_account):
        """An account with a long history is a part by itself."""
        for _ in range(2):
            user = make_account(credits=100).user_id
            with uow.begin() as tx:
                for number in range(3):
                    Ledger(tx).hold(user, 1, f"{user}-{number}", "test")
        assert finish(uow) == 2

    def test_drift_shows_before_the_audit_ends(self, uow, make_account):
        """What the first part finds is in the result while the others are to come."""
        users = sorted(make_account(credits=10).user_id for _ in range(4))
        finish(uow)
        set_available(uow, users[0], 9)
        assert audit_some(uow) is False
        assert result(uow).drifting_accounts == 1
        assert position(uow) == users[1]

    def test_a_stray_posting_is_in_the_sum(self, uow, owner, make_account):
        """A posting that no transfer made is in the sum and in its account."""
        user = make_account(credits=5).user_id
        post_astray(owner, transfer_id=1, user_id=user, account="available", amount=3)
        finish(uow)
        assert (result(uow).drifting_accounts, result(uow).postings_sum) == (1, 3)

    def test_two_processes_count_no_part_twice(self, uow, make_account):
        """A part that another process has counted meanwhile is not added again."""
        users = sorted(make_account(credits=10).user_id for _ in range(4))
        set_available(uow, users[0], 9)
        audit_some(uow)
        with uow.begin() as tx:
            assert Audits(tx).go_on("", users[1], 1, 0) is False
        finish(uow)
        assert result(uow).drifting_accounts == 1


class TestDue:
    def test_once_in_a_period(self, uow, make_account, settings):
        """The reaper goes on with an audit in each round, and begins the next one a period later."""
        for _ in range(3):
            make_account()
        settings = settings.changed(reaper_period_s=0.0)
        reaper = Reaper(uow, ImageStore(settings.server.images_dir), settings)
        reaper.round()
        assert position(uow)
        reaper.round()
        ended_at = result(uow).ended_at
        reaper.round()
        assert (position(uow), result(uow).ended_at) == ("", ended_at)
        with uow.begin() as tx:
            tx.session.execute(text("UPDATE ledger_audit SET ended_at = :at"), {"at": str(ended_at - HOUR)})
        reaper.round()
        assert position(uow)
