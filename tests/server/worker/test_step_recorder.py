import threading
import time
from io import BytesIO

import pytest
from PIL import Image

from inference.backend import Phase, Progress
from inference.scripted import Script
from server.db.engine import open_engine
from server.db.unit_of_work import UnitOfWork
from server.events.repository import Events
from server.events.tables import Kind
from server.generations import settlement
from server.generations.previews import look
from server.worker.step_recorder import PERIOD_S, recording

QUICK_S = 0.01


@pytest.fixture
def steps_of(uow):
    """Read the recorded steps of a generation."""

    def read(generation_id):
        with uow.read() as tx:
            events = Events(tx).of(generation_id)
        return [event.data for event in events if event.kind == Kind.STEP]

    return read


@pytest.fixture
def wait_until():
    """Wait until a look finds something; fail after ten seconds."""

    def wait(look):
        until = time.monotonic() + 10
        while not look():
            assert time.monotonic() < until
            time.sleep(QUICK_S)

    return wait


class TestRecording:
    def test_what_is_reported_is_recorded(self, make_account, submit_one, claim, uow, steps_of, wait_until):
        """A phase and a step that were reported are events of the attempt, and each is recorded once."""
        generation = submit_one(make_account())
        held = claim()
        with recording(uow, held, 28, QUICK_S) as record:
            record(Progress(Phase.LOAD))
            wait_until(lambda: len(steps_of(generation.id)) == 1)
            record(Progress(Phase.STEP, 7, 28))
            wait_until(lambda: len(steps_of(generation.id)) == 2)
        assert steps_of(generation.id) == [
            {"attempt": 1, "phase": "load", "step": 0, "steps": 28},
            {"attempt": 1, "phase": "step", "step": 7, "steps": 28},
        ]

    def test_decoding_comes_after_all_steps(self, make_account, submit_one, claim, uow, steps_of, wait_until):
        """While the image is decoded, every step is done."""
        generation = submit_one(make_account())
        with recording(uow, claim(), 28, QUICK_S) as record:
            record(Progress(Phase.DECODE))
            wait_until(lambda: steps_of(generation.id))
        assert steps_of(generation.id) == [{"attempt": 1, "phase": "decode", "step": 28, "steps": 28}]

    def test_drawing_does_not_wait_for_it(self, make_account, submit_one, claim, uow, steps_of, wait_until):
        """Reports made while a record is being written cost nothing; only the last of them is recorded."""
        generation = submit_one(make_account())
        held = claim()
        with recording(uow, held, 28, QUICK_S) as record:
            with uow.begin():  # on SQLite the recorder now waits
                for step in range(1, 28):
                    record(Progress(Phase.STEP, step, 28))
            wait_until(lambda: steps_of(generation.id)[-1:] and steps_of(generation.id)[-1]["step"] == 27)
        assert len(steps_of(generation.id)) < 27

    def test_a_database_that_is_away_is_survived(self, make_account, submit_one, claim, wait_until):
        """While the database is away the recorder tries again each period, and the drawing goes on."""

        class Away(UnitOfWork):
            tries = 0

            def begin(self):
                self.tries += 1
                return super().begin()

        submit_one(make_account())
        away = Away(open_engine("sqlite:////nowhere/at/all.db"))
        with recording(away, claim(), 28, QUICK_S) as record:
            record(Progress(Phase.LOAD))
            wait_until(lambda: away.tries >= 2)

    def test_a_cancelled_generation_gets_no_step(self, make_account, submit_one, claim, uow, steps_of):
        """After the end of a generation nothing is appended to it."""
        generation = submit_one(make_account())
        held = claim()
        settlement.cancel(uow, [generation.id])
        with recording(uow, held, 28, QUICK_S) as record:
            record(Progress(Phase.STEP, 1, 28))
        assert steps_of(generation.id) == []


class TestAttempt:
    def test_a_short_attempt_records_no_step(self, make_account, submit_one, make_runner, steps_of):
        """An image that takes less than the period costs no write more than before."""
        generation = submit_one(make_account())
        assert make_runner().run_next()
        assert steps_of(generation.id) == []

    def test_a_long_attempt_records_its_steps(self, make_account, submit_one, make_runner, steps_of):
        """An image that takes longer than the period has events of its steps, about one a period."""
        generation = submit_one(make_account())
        assert make_runner(Script(step_s=1.2 * PERIOD_S / generation.order.steps)).run_next()
        recorded = [one for one in steps_of(generation.id) if one["phase"] == "step"]
        done = [one["step"] for one in recorded]
        assert done == sorted(done)
        assert 1 <= len(done) < 10
        assert done[0] >= 1
        assert done[-1] <= generation.order.steps == recorded[0]["steps"]


class TestPreviews:
    def test_a_preview_is_made_for_who_looks(self, make_account, submit_one, claim, uow, wait_until):
        """While somebody looks the steps come with pictures, made by the thread that reports."""
        account = make_account()
        generation = submit_one(account)
        held = claim()
        look(uow, account.caller, generation.id)
        made = []

        def preview():
            made.append(threading.current_thread())
            return Image.new("RGB", (64, 64), "red")

        with recording(uow, held, 28, QUICK_S) as record:

            def seen():
                record(Progress(Phase.STEP, len(made) + 1, 28, preview))
                return look(uow, account.caller, generation.id)

            wait_until(seen)
        picture = look(uow, account.caller, generation.id)
        assert Image.open(BytesIO(picture.image)).format == "JPEG"
        assert set(made) == {threading.current_thread()}

    def test_nobody_looks(self, make_account, submit_one, claim, uow, steps_of, wait_until):
        """Without a look no picture is made."""
        generation = submit_one(make_account())
        made = []
        with recording(uow, claim(), 28, QUICK_S) as record:
            for step in (1, 2, 3):
                record(Progress(Phase.STEP, step, 28, lambda: made.append(1)))
                wait_until(lambda step=step: len(steps_of(generation.id)) == step)
        assert made == []

    def test_a_failure_ends_no_drawing(self, make_account, submit_one, claim, uow, steps_of, wait_until):
        """If a picture cannot be made, the step is recorded all the same."""
        account = make_account()
        generation = submit_one(account)
        look(uow, account.caller, generation.id)
        failed = []

        def preview():
            failed.append(1)
            raise RuntimeError("test")

        with recording(uow, claim(), 28, QUICK_S) as record:

            def tried():
                record(Progress(Phase.STEP, 3, 28, preview))
                return failed

            wait_until(tried)
            wait_until(lambda: steps_of(generation.id))
        assert look(uow, account.caller, generation.id) is None
