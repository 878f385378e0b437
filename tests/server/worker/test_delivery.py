"""The overlap of storing one image and drawing the next."""

import threading
import time

import pytest

from inference.scripted import Script, ScriptedBackend
from server.clock import now
from server.generations import settlement
from server.images.store import StorageFull
from server.scheduling.claim_policy import HOSTED, ClaimPolicy
from server.worker.lease_guard import StopRequest
from server.worker.process import draw_until_stopped

pytestmark = pytest.mark.usefixtures("books_that_balance")

PATIENCE_S = 60
PRICE = 8


class Gate:
    """A store that keeps its first image waiting until a test lets it pass, and may fail then."""

    def __init__(self, images):
        self._put = images.put
        self.reached = threading.Event()
        self.opened = threading.Event()
        self.error = None
        images.put = self.put

    def put(self, files):
        """Store an image's files when the gate is open."""
        is_first = not self.reached.is_set()
        self.reached.set()
        assert self.opened.wait(PATIENCE_S)
        if is_first and self.error:
            raise self.error
        return self._put(files)


@pytest.fixture
def gate(images):
    """A gate before the store, open at the end of the test at the latest."""
    gate = Gate(images)
    yield gate
    gate.opened.set()


@pytest.fixture
def overlapping(make_runner):
    """Make a runner that stores an image while it draws the next."""

    def make(script=None, **options):
        return make_runner(script, overlap="on", **options)

    return make


@pytest.fixture
def two(make_account, submit_one):
    """An account with two generations that wait."""
    account = make_account(credits=20)
    return account, [submit_one(account), submit_one(account)]


def until(condition):
    """Wait until a condition holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


class TestOverlap:
    def test_the_second_is_drawn_while_the_first_is_stored(self, two, overlapping, gate, ends, balance_of):
        """The first is not stored before the second is drawn to its last step."""
        account, waiting = two
        backend = ScriptedBackend()
        generate = backend.generate

        def opening(order, report):
            picture = generate(order, report)
            if len(backend.orders) == 2:
                assert gate.reached.wait(PATIENCE_S)
                gate.opened.set()
            return picture

        backend.generate = opening
        runner = overlapping(backend=backend)
        assert runner.run_next()
        assert ends(waiting) == ["processing", "pending"]
        assert runner.run_next()
        runner.close()
        assert ends(waiting) == ["completed", "completed"]
        assert balance_of(account) == 20 - 2 * PRICE

    def test_one_alone_does_not_wait_for_a_second(self, make_account, submit_one, overlapping, ends):
        """With nothing else to draw an image is delivered at once."""
        generation = submit_one(make_account())
        assert overlapping().run_next()
        until(lambda: ends([generation]) == ["completed"])

    def test_no_third_is_claimed(self, make_account, submit_one, overlapping, gate, ends):
        """While the first is stored and the second has been drawn, the third waits for any worker."""
        account = make_account()
        waiting = [submit_one(account) for _ in range(3)]
        stop = StopRequest(60)
        runner = overlapping(stop=stop)
        thread = threading.Thread(target=draw_until_stopped, args=(runner,))
        thread.start()
        until(lambda: len(runner.context.backend.orders) == 2)
        time.sleep(0.5)  # long enough to claim it
        assert ends(waiting) == ["processing", "processing", "pending"]
        gate.opened.set()
        until(lambda: ends(waiting) == ["completed"] * 3)
        stop.receive()
        thread.join(PATIENCE_S)
        assert not thread.is_alive()

    def test_what_waits_to_be_stored_can_be_cancelled(self, two, overlapping, gate, uow, ends, balance_of):
        """The second, drawn and cancelled while the first is stored, is neither stored nor charged."""
        account, waiting = two
        runner = overlapping()
        runner.run_next()
        thread = threading.Thread(target=runner.run_next)
        thread.start()
        until(lambda: len(runner.context.backend.orders) == 2)
        settlement.cancel(uow, [waiting[1].id])
        gate.opened.set()
        thread.join(PATIENCE_S)
        runner.close()
        assert ends(waiting) == ["completed", "CANCELLED"]
        assert balance_of(account) == 20 - PRICE

    def test_what_waits_to_be_stored_keeps_its_lease(self, two, overlapping, gate, generation_of):
        """However long the first takes to be stored, the second stays the worker's."""
        _, waiting = two
        runner = overlapping(phase_timeout_s=1.0, lease_margin_s=0.5)
        runner.run_next()
        thread = threading.Thread(target=runner.run_next)
        thread.start()
        until(lambda: len(runner.context.backend.orders) == 2)
        until(lambda: generation_of(waiting[0].id).lease_until < now())
        assert generation_of(waiting[1].id).lease_until > now()
        time.sleep(1.6)  # longer than a lease that nobody renews
        assert generation_of(waiting[1].id).lease_until > now()
        gate.opened.set()
        thread.join(PATIENCE_S)

    def test_hosted_images_do_not_overlap(self, two, overlapping, gate, ends):
        """The budget must know what an image has cost before the next one is asked for."""
        gate.opened.set()
        _, waiting = two
        overlapping(policy=ClaimPolicy(HOSTED)).run_next()
        assert ends(waiting) == ["completed", "pending"]


class TestFaults:
    def test_a_full_disk_stops_the_drawing(self, two, overlapping, gate, ends, generation_of, balance_of):
        """When the first cannot be stored, the second is not drawn on: both wait again, and no other is."""
        account, waiting = two
        gate.error = StorageFull()
        backend = ScriptedBackend(Script(step_s=0.02))
        play, steps = backend._play, []

        def failing(step, rows):
            if len(backend.orders) == 2:
                gate.opened.set()
                steps.append(step)
            play(step, rows)

        backend._play = failing
        runner = overlapping(backend=backend)
        runner.run_next()
        runner.run_next()
        runner.close()
        assert ends(waiting) == ["pending", "pending"]
        assert max(steps) < waiting[1].order.steps
        assert [generation_of(one.id).losses for one in waiting] == [0, 0]
        assert not runner.run_next()
        assert balance_of(account) == 20 - 2 * PRICE

    def test_a_fault_of_storing_leaves_the_second(self, two, overlapping, gate, ends, balance_of):
        """The first fails and costs nothing, and the second is delivered."""
        account, waiting = two
        gate.error = RuntimeError("the store is broken")
        gate.opened.set()
        runner = overlapping()
        runner.run_next()
        runner.run_next()
        runner.close()
        assert ends(waiting) == ["INTERNAL_ERROR", "completed"]
        assert balance_of(account) == 20 - PRICE


class TestStopping:
    @pytest.mark.parametrize(("grace_s", "second"), [(60, "completed"), (0, "pending")])
    def test_both_are_finished_or_released(
        self, two, overlapping, gate, ends, generation_of, grace_s, second
    ):
        """Within its grace a worker delivers both; beyond it, what is drawn waits again, without a loss."""
        _, waiting = two
        stop = StopRequest(grace_s)
        backend = ScriptedBackend(Script(step_s=0.02))
        play = backend._play

        def stopping(step, rows):
            if len(backend.orders) == 2 and step == 3:
                assert gate.reached.wait(PATIENCE_S)
                stop.receive()
                threading.Timer(0.2, gate.opened.set).start()
            play(step, rows)

        backend._play = stopping
        runner = overlapping(backend=backend, stop=stop)
        draw_until_stopped(runner)
        runner.close()
        assert ends(waiting) == ["completed", second]
        assert [generation_of(one.id).losses for one in waiting] == [0, 0]
