"""Generations that are drawn together: each has its own lease, end and charge."""

from datetime import timedelta

import pytest

from inference.backend import Phase
from inference.errors import DeviceBroken, ImageFlat, OutOfMemory
from inference.scripted import Script, ScriptedBackend
from server.clock import now
from server.events.repository import Events
from server.events.tables import Kind
from server.generations import settlement
from server.generations.tables import Generation
from server.images.store import StorageFull
from server.scheduling.registry import retire
from server.worker.lease_guard import StopRequest
from tests.server.worker.conftest import RUNNER

pytestmark = pytest.mark.usefixtures("books_that_balance")

PRICE = 8


class Meddling(ScriptedBackend):
    """Draws by script, and does something once, at a step of a batch or of a row alone."""

    def __init__(self, script, meddle, at_step=2):
        super().__init__(script)
        self._meddle = meddle
        self._at_step = at_step

    def _play(self, step, rows):
        super()._play(step, rows)
        if step == self._at_step and self._meddle is not None:
            meddle, self._meddle = self._meddle, None
            meddle()


@pytest.fixture
def submitted(make_account, submit_one):
    """Submit generations with the seeds 1, 2, …; return the account and them."""

    def submit(count, credits=100):  # noqa: A002  # the term of the field
        account = make_account(credits=credits)
        return account, [submit_one(account, seed=seed) for seed in range(1, count + 1)]

    return submit


class TestABatch:
    def test_four_of_five_are_drawn_together(self, submitted, make_runner, ends, balance_of, uow):
        """Each is claimed, delivered and charged by itself; the fifth waits for the next batch."""
        account, waiting = submitted(5)
        backend = ScriptedBackend(Script(max_batch=4))
        runner = make_runner(backend=backend)
        assert runner.run_next()
        assert ends(waiting) == ["completed"] * 4 + ["pending"]
        assert [order.seed for order in backend.orders] == [1, 2, 3, 4]
        assert balance_of(account) == 100 - 5 * PRICE
        with uow.read() as tx:
            kinds = [[event.kind for event in Events(tx).of(one.id)] for one in waiting[:4]]
        # A step is recorded if it ends long enough after the last: on a busy machine some do.
        ends_of = [[kind for kind in of_one if kind != Kind.STEP] for of_one in kinds]
        assert ends_of == [["queued", "claimed", "completed"]] * 4
        assert runner.run_next()
        assert ends(waiting) == ["completed"] * 5

    def test_users_are_mixed(self, make_account, submit_one, make_runner, ends):
        """In the batch of a flood are those of others who wait, before its own second."""
        flood, *others = [make_account(credits=1000) for _ in range(3)]
        first, *rest = [submit_one(flood) for _ in range(6)]
        waiting = [submit_one(other) for other in others]
        make_runner(Script(max_batch=4)).run_next()
        assert ends([first, *waiting, rest[0]]) == ["completed"] * 4
        assert ends(rest[1:]) == ["pending"] * 4

    def test_a_backend_that_draws_alone(self, submitted, make_runner, ends):
        """Where the largest batch is one, nothing rides along."""
        _, waiting = submitted(2)
        make_runner().run_next()
        assert ends(waiting) == ["completed", "pending"]


class TestARow:
    def test_a_cancelled_row_ends_alone(self, submitted, make_runner, uow, ends, balance_of):
        """The others are delivered, and the cancelled one costs nothing."""
        account, waiting = submitted(3)
        script = Script(max_batch=4, step_s=0.05)
        backend = Meddling(script, lambda: settlement.cancel(uow, [waiting[1].id]))
        make_runner(backend=backend).run_next()
        assert ends(waiting) == ["completed", "CANCELLED", "completed"]
        assert balance_of(account) == 100 - 2 * PRICE

    def test_a_row_that_loses_its_lease_ends_alone(
        self, submitted, make_runner, uow, ends, generation_of, log_lines, balance_of
    ):
        """It waits again, held once; the others are delivered."""
        account, waiting = submitted(3)

        def lose():
            with uow.begin() as tx:
                tx.session.get(Generation, waiting[0].id).lease_until = now() - timedelta(seconds=1)
            assert settlement.return_lost(uow) == 1

        make_runner(backend=Meddling(Script(max_batch=4, step_s=0.05), lose)).run_next()
        assert ends(waiting) == ["pending", "completed", "completed"]
        assert balance_of(account) == 100 - 3 * PRICE
        fenced = [line for line in log_lines() if line["event"] == "generation.fenced_out"]
        assert [line["generation_id"] for line in fenced] == [waiting[0].id]
        make_runner().run_next()
        assert ends(waiting) == ["completed"] * 3

    def test_a_row_that_cannot_be_stored_ends_alone(self, submitted, make_runner, images, ends, balance_of):
        """A fault in storing one image fails it, and not those that are stored after it."""
        account, waiting = submitted(3)
        put, calls = images.put, []

        def failing(files):
            calls.append(files)
            if len(calls) == 2:
                raise RuntimeError("the store is broken")
            return put(files)

        images.put = failing
        make_runner(Script(max_batch=4)).run_next()
        assert ends(waiting) == ["completed", "INTERNAL_ERROR", "completed"]
        assert balance_of(account) == 100 - 2 * PRICE

    def test_a_full_disk_fails_none(self, submitted, make_runner, images, ends, generation_of, balance_of):
        """All that cannot be stored wait again, without a loss."""
        account, waiting = submitted(3)
        put = images.put

        def full(_files):
            raise StorageFull

        images.put = full
        runner = make_runner(Script(max_batch=4))
        runner.run_next()
        assert ends(waiting) == ["pending"] * 3
        assert [generation_of(one.id).losses for one in waiting] == [0, 0, 0]
        assert not runner.run_next()
        images.put = put
        make_runner(Script(max_batch=4)).run_next()
        assert ends(waiting) == ["completed"] * 3
        assert balance_of(account) == 100 - 3 * PRICE


class TestABatchThatFails:
    @pytest.mark.parametrize("failure", [OutOfMemory("cuda:0"), ImageFlat(0.1)])
    def test_one_bad_row_fails_alone(self, submitted, make_runner, ends, balance_of, failure):
        """The rows are drawn once more, each by itself, and the good ones are delivered."""
        account, waiting = submitted(3)
        backend = ScriptedBackend(Script(max_batch=4, fail_at=1, failure=failure, fail_seed=2))
        make_runner(backend=backend).run_next()
        assert ends(waiting) == ["completed", failure.code, "completed"]
        assert [order.seed for order in backend.orders] == [1, 2, 3, 1, 2, 3]
        assert balance_of(account) == 100 - 2 * PRICE

    def test_what_is_cancelled_meanwhile_is_not_drawn(self, submitted, make_runner, uow, ends):
        """While one is drawn by itself, the others keep their leases or end."""
        _, waiting = submitted(3)
        script = Script(max_batch=4, fail_at=1, failure=OutOfMemory("cuda:0"), fail_seed=2, step_s=0.05)
        backend = Meddling(script, lambda: settlement.cancel(uow, [waiting[2].id]))
        make_runner(backend=backend).run_next()
        assert ends(waiting) == ["completed", "OUT_OF_MEMORY", "CANCELLED"]
        assert [order.seed for order in backend.orders] == [1, 2, 3, 1, 2]

    def test_a_failed_device_fails_none(self, submitted, make_runner, uow, ends, generation_of, balance_of):
        """Its watchdog returns the whole batch, and then each is drawn alone."""
        account, waiting = submitted(3)

        def broken():
            raise DeviceBroken("cuda:0", "an illegal memory access was encountered")

        with pytest.raises(DeviceBroken):
            make_runner(backend=Meddling(Script(max_batch=4), broken)).run_next()
        assert ends(waiting) == ["processing"] * 3
        retire(uow, "local", RUNNER, was_ready=True)
        assert ends(waiting) == ["pending"] * 3
        backend = ScriptedBackend(Script(max_batch=4))
        runner = make_runner(backend=backend)
        for drawn in (1, 2, 3):
            runner.run_next()
            assert len(backend.orders) == drawn
        assert ends(waiting) == ["completed"] * 3
        assert balance_of(account) == 100 - 3 * PRICE


class TestStopping:
    def test_a_grace_that_is_over(self, submitted, make_runner, ends, generation_of):
        """All rows return to the queue, without a loss."""
        _, waiting = submitted(3)
        stop = StopRequest(grace_s=0)
        make_runner(backend=Meddling(Script(max_batch=4, step_s=0.02), stop.receive), stop=stop).run_next()
        assert ends(waiting) == ["pending"] * 3
        assert [generation_of(one.id).losses for one in waiting] == [0, 0, 0]

    def test_a_second_signal(self, submitted, make_runner, ends):
        """All rows return to the queue at once, and the process ends."""
        _, waiting = submitted(3)

        def exit_now():
            raise SystemExit

        with pytest.raises(SystemExit):
            make_runner(backend=Meddling(Script(max_batch=4), exit_now)).run_next()
        assert ends(waiting) == ["pending"] * 3


class TestSeconds:
    def test_loading_is_counted_once(self, submitted, make_runner):
        """What the budget of swaps is told is what the batch took to load, not that of each row."""
        submitted(2)
        recorded = []

        class Loading(ScriptedBackend):
            def generate_batch(self, rows):
                pictures = super().generate_batch(rows)
                for picture in pictures:
                    picture.seconds[Phase.LOAD] = 30.0 / len(rows)
                return pictures

        runner = make_runner(backend=Loading(Script(max_batch=2)))
        runner.context.swaps.record_load = recorded.append
        runner.run_next()
        assert recorded == [30.0]
