from datetime import timedelta

import pytest
from sqlalchemy import insert, text, update

from catalog.tiers import Tier
from server.clock import now
from server.credits.audit import audit_some
from server.credits.tables import Account, LedgerAudit
from server.events.repository import Events
from server.events.tables import Event, Kind
from server.generations import settlement
from server.generations.claims import LeaseLost
from server.generations.states import Reason
from server.tallies.repository import Tallies
from tests.server.stored import post_astray

BASE = "avatar-creator:flux-dev-base"
REALISM = "avatar-creator:flux-dev-realism"


class TestEnded:
    def test_every_end_is_counted_by_entry(self, api, uow, make_account, submit_one, claim, complete, scrape):
        """Completed, failed and cancelled generations count for their entries; other outcomes are 0."""
        free, basic = make_account(Tier.FREE), make_account(Tier.BASIC)
        complete(free)
        complete(basic)
        complete(basic)
        submit_one(basic)
        settlement.fail(uow, claim(), Reason.OUT_OF_MEMORY, "test")
        settlement.cancel(uow, [submit_one(free).id])
        late = submit_one(free)
        settlement.fail_waiting(uow, [late.id], Reason.GENERATION_TIMEOUT, "test")
        metrics = scrape(api)
        assert metrics.ended(BASE, "completed") == 1
        assert metrics.ended(REALISM, "completed") == 2
        assert metrics.ended(REALISM, "failed", "OUT_OF_MEMORY") == 1
        assert metrics.ended(BASE, "failed", "OUT_OF_MEMORY") == 0
        assert metrics.ended(BASE, "cancelled", "CANCELLED") == 1
        assert metrics.ended(BASE, "failed", "GENERATION_TIMEOUT") == 1
        ended = metrics.families["avatar_creator_generations_ended"]
        assert ended.type == "counter"
        assert sum(sample.value for sample in ended.samples) == 6

    def test_counters_survive_deleted_generations(self, api, uow, make_account, complete, scrape):
        """No counter falls when the generations and avatars of a project are deleted."""
        complete(make_account(), step=2.0)
        before = counters(scrape(api))
        with uow.begin() as tx:
            tx.session.execute(text("DELETE FROM avatars"))
            tx.session.execute(text("DELETE FROM generations"))
        assert before[("avatar_creator_steps_total", ("entry", BASE))] == 28
        assert counters(scrape(api)) == before

    def test_ends_at_once_are_all_counted(self, api, uow, make_account, submit_one, at_once, scrape):
        """All generations that end at the same moment are counted, in any order of their transactions."""
        account = make_account(credits=1000)
        ids = [submit_one(account).id for _ in range(16)]
        assert at_once(8, lambda: settlement.cancel(uow, [ids.pop(), ids.pop()])) == [2] * 8
        assert scrape(api).ended(BASE, "cancelled", "CANCELLED") == 16

    def test_an_end_that_is_rolled_back_is_not_counted(
        self, api, uow, make_account, submit_one, claim, scrape
    ):
        """A settlement that is fenced out counts nothing."""
        submit_one(make_account())
        late = claim(lease_s=-1)
        settlement.return_lost(uow)
        with pytest.raises(LeaseLost):
            settlement.fail(uow, late, Reason.INTERNAL_ERROR, "test")
        assert scrape(api).ended(BASE, "failed", "INTERNAL_ERROR") == 0


def counters(metrics):
    """Return the series that may never fall."""
    rising = [family for family in metrics.families.values() if family.type in {"counter", "summary"}]
    names = {sample.name for family in rising for sample in family.samples}
    return {series: value for series, value in metrics.values.items() if series[0] in names}


class TestStages:
    def test_seconds_and_steps_of_an_entry(self, api, make_account, complete, scrape):
        """Each stage has a count and its seconds, and the steps have a count and a pace."""
        account = make_account(Tier.BASIC)
        complete(account, load=4.0, encode=0.25, step=2.0, decode=0.1)
        complete(account, encode=0.25, step=4.0, decode=0.2)
        metrics = scrape(api)
        stages = {
            stage: tuple(
                metrics(f"stage_seconds_{part}", entry=REALISM, stage=stage) for part in ("count", "sum")
            )
            for stage in ("load", "encode", "step", "decode")
        }
        assert stages == {"load": (1, 4.0), "encode": (2, 0.5), "step": (2, 6.0), "decode": (2, 0.3)}
        assert metrics("stage_seconds_count", entry=REALISM, stage="hosted") is None
        assert metrics("stage_seconds_count", entry=BASE, stage="step") is None
        assert metrics("steps_total", entry=REALISM) == 60
        assert metrics("steps_per_second", entry=REALISM) == 10

    def test_the_pace_is_that_of_the_last_hour(self, api, uow, make_account, complete, scrape):
        """Generations of over an hour ago and events without steps do not count for the pace."""
        complete(make_account(), step=28.0)
        with uow.begin() as tx:
            old = {"entry": BASE, "attempt": 1, "steps": 28, "seconds": {"step": 1.0}}
            at = now() - timedelta(hours=2)
            row = {"generation_id": "old", "kind": "completed", "data": old, "at": at}
            tx.session.execute(insert(Event).values(row))
            Events(tx).append("older", Kind.COMPLETED, attempt=1, seconds={"step": 1.0})
        assert scrape(api)("steps_per_second", entry=BASE) == 1

    def test_hosted_work_has_seconds_and_no_steps(self, api, make_account, complete, scrape):
        """A provider's time is a stage of its own. Its steps are unknown and not counted."""
        complete(make_account(), hosted=3.5)
        metrics = scrape(api)
        assert metrics("stage_seconds_sum", entry=BASE, stage="hosted") == 3.5
        assert metrics("steps_total", entry=BASE) is None
        assert metrics("steps_per_second", entry=BASE) is None

    def test_sums_of_seconds_are_exact(self, api, make_account, complete, scrape):
        """A sum of seconds has no rounding error, so that its counter never falls."""
        account = make_account(credits=1000)
        for _ in range(3):
            complete(account, step=0.1)
        assert scrape(api)("stage_seconds_sum", entry=BASE, stage="step") == 0.3


class TestCredits:
    def test_a_generation_moves_credits(self, api, uow, make_account, submit_one, claim, complete, scrape):
        """Held credits are a current value; captured and voided credits are running totals."""
        account = make_account(credits=100)
        submit_one(account)
        metrics = scrape(api)
        assert metrics("credits_held") == 8
        assert moved(metrics) == {"grant": 100, "hold": 8, "capture": 0, "void": 0}
        settlement.fail(uow, claim(), Reason.INTERNAL_ERROR, "test")
        complete(account)
        metrics = scrape(api)
        assert metrics("credits_held") == 0
        assert moved(metrics) == {"grant": 100, "hold": 16, "capture": 8, "void": 8}

    def test_what_was_added_up_is_counted_once(self, api, uow, make_account, submit_one, scrape):
        """The totals of credits are the same before and after the reaper adds them up."""
        account = make_account(credits=100)
        submit_one(account)
        before = moved(scrape(api))
        with uow.begin() as tx:
            Tallies(tx).add_up(1000)
        assert moved(scrape(api)) == before == {"grant": 100, "hold": 8, "capture": 0, "void": 0}

    def test_what_was_never_audited_has_no_result(self, api, uow, make_account, scrape):
        """Before the first audit has ended nothing is said of drift; then its age is exposed as well."""
        make_account()
        names = ("ledger_drifting_accounts", "ledger_postings_sum")
        assert [scrape(api)(name) for name in (*names, "ledger_audit_age_seconds")] == [None] * 3
        audit(uow)
        metrics = scrape(api)
        assert [metrics(name) for name in names] == [0, 0]
        with uow.begin() as tx:
            tx.session.execute(update(LedgerAudit).values(ended_at=now() - timedelta(seconds=5000)))
        assert 5000 <= scrape(api)("ledger_audit_age_seconds") < 6000

    def test_a_posting_too_many_is_drift(self, api, uow, owner, make_account, scrape):
        """A posting without a transfer shows in the sum and in the account that it was posted to."""
        user = make_account().user_id
        make_account()
        post_astray(owner, transfer_id=1, user_id=user, account="available", amount=5)
        audit(uow)
        metrics = scrape(api)
        assert (metrics("ledger_drifting_accounts"), metrics("ledger_postings_sum")) == (1, 5)

    def test_an_account_changed_by_hand_is_drift(self, api, uow, make_account, scrape):
        """An account that differs from its postings drifts, though the postings still sum to zero."""
        changed, empty = make_account(), make_account(credits=0)
        with uow.begin() as tx:
            tx.session.execute(update(Account).where(Account.user_id == changed.user_id).values(available=99))
            tx.session.execute(update(Account).where(Account.user_id == empty.user_id).values(held=1))
        audit(uow)
        metrics = scrape(api)
        assert (metrics("ledger_drifting_accounts"), metrics("ledger_postings_sum")) == (2, 0)


def audit(uow):
    """Audit the whole ledger, as the reaper does in parts."""
    while not audit_some(uow):
        pass


def moved(metrics):
    """Return the credits moved by kind."""
    kinds = ("grant", "hold", "capture", "void")
    return {kind: metrics("credits_moved_total", kind=kind) for kind in kinds}
