"""A local and a hosted worker side by side: the same generation, one charge, and the truth on its record."""

import pytest

from inference.errors import OutOfMemory
from inference.scripted import Script, ScriptedBackend
from server.failover.breaker import FAILURES
from server.failover.duty import HOSTED, LocalDuty, ReserveDuty
from server.generations import settlement
from tests.server.worker.conftest import RUNNER

pytestmark = pytest.mark.usefixtures("books_that_balance")

FAILING = Script(fail_at=1, failure=OutOfMemory("cuda:0"))


@pytest.fixture
def reserve(make_runner, uow):
    """A hosted worker that is there, in reserve."""
    with uow.begin() as tx:
        tx.workers.tell("reserve", HOSTED, accepts=True)
    return make_runner(duty=ReserveDuty(3600), inference_backend="auto")


@pytest.fixture
def local(make_runner, uow):
    """Make a local worker that is there."""

    def make(script=None):
        duty = LocalDuty()
        with uow.begin() as tx:
            tx.workers.tell(RUNNER, duty.backend, accepts=True)
        return make_runner(backend=ScriptedBackend(script), duty=duty, inference_backend="auto")

    return make


class TestPassingOn:
    def test_what_fails_here_is_drawn_there(
        self, make_account, submit_one, local, reserve, generation_of, balance_of, uow
    ):
        """The local attempt fails, the hosted one delivers: one generation, one capture, both recorded."""
        account = make_account(credits=20)
        submitted = submit_one(account)
        local(FAILING).answer()
        waiting = generation_of(submitted.id)
        assert (waiting.status, waiting.passed_on, waiting.losses) == ("pending", True, 0)
        assert balance_of(account) == 12
        assert reserve.answer()
        ended = generation_of(submitted.id)
        assert (ended.status, ended.attempt) == ("completed", 2)
        assert balance_of(account) == 12
        with uow.read() as tx:
            told = [(event.kind, event.data.get("reason")) for event in tx.events.of(submitted.id)]
        assert told == [
            ("queued", None),
            ("claimed", None),
            ("passed_on", "OUT_OF_MEMORY"),
            ("claimed", None),
            ("completed", None),
        ]

    def test_without_a_reserve_it_fails(self, make_account, submit_one, local, generation_of, balance_of):
        """Where nobody could take it, a failure is a failure at once and given back."""
        account = make_account(credits=20)
        submitted = submit_one(account)
        local(FAILING).answer()
        assert generation_of(submitted.id).error_code == "OUT_OF_MEMORY"
        assert balance_of(account) == 20

    def test_a_local_worker_does_not_take_it_back(
        self, make_account, submit_one, local, reserve, generation_of
    ):
        """What it has passed on it does not claim, nor lets it the ones behind wait."""
        account = make_account()
        first, second = submit_one(account), submit_one(account)
        local(FAILING).answer()
        well = local()
        assert well.answer()
        assert not well.answer()
        assert (generation_of(first.id).status, generation_of(second.id).status) == ("pending", "completed")
        assert reserve.answer()
        assert not reserve.answer()
        assert generation_of(first.id).status == "completed"

    def test_failures_in_a_row_leave_all_to_the_reserve(self, make_account, submit_one, local, reserve, uow):
        """After so many failures the local worker rests, and the reserve takes up first tries, too."""
        account = make_account(credits=1000)
        submitted = [submit_one(account) for _ in range(FAILURES + 2)]
        failing = local(FAILING)
        assert [failing.answer() for _ in submitted] == [True] * FAILURES + [False] * 2
        with uow.begin() as tx:  # as its presence tells
            tx.workers.tell(RUNNER, "local", accepts=failing.duty.accepts)
        assert [reserve.answer() for _ in submitted] == [True] * len(submitted)

    def test_a_dead_worker_is_gone_at_once(self, make_account, submit_one, local, reserve, uow):
        """When its watchdog returns a dead worker's work, the reserve takes it up without waiting."""
        submit_one(make_account())
        local()
        assert not reserve.answer()
        settlement.lose(uow, RUNNER)
        assert reserve.answer()
