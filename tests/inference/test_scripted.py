import multiprocessing
import signal
import time
from dataclasses import replace

import pytest

from inference.backend import BatchRow, Phase, Picture, Progress
from inference.errors import OutOfMemory
from inference.scripted import Script, ScriptedBackend


def draw(backend, order):
    """Draw an order and return the picture and all reports."""
    reports = []
    return backend.generate(order, reports.append), reports


def drawn_until_killed(order):
    ScriptedBackend(Script(kill_at=2)).generate(order, lambda _: None)


class TestScriptedBackend:
    def test_it_reports_like_the_real_backend(self, order):
        """The first order reports load, and every order reports encode, each step and decode."""
        backend = ScriptedBackend()
        _, reports = draw(backend, order)
        rest = [
            Progress(Phase.ENCODE),
            *(Progress(Phase.STEP, step, 3) for step in (1, 2, 3)),
            Progress(Phase.DECODE),
        ]
        assert reports == [Progress(Phase.LOAD), *rest]
        assert draw(backend, order)[1] == rest
        assert backend.resident == {order.model_id}

    def test_the_seed_determines_the_image(self, order):
        """The same seed gives the same image of the ordered size; another seed gives another image."""
        backend = ScriptedBackend()
        first, again, other = (
            draw(backend, replace(order, seed=seed, width_px=528, height_px=784))[0].image
            for seed in (7, 7, 8)
        )
        assert first.size == (528, 784)
        assert first.tobytes() == again.tobytes() != other.tobytes()

    def test_it_fails_on_cue(self, order):
        """The scripted error is raised at its step, after the reports of the previous steps."""
        backend = ScriptedBackend(Script(fail_at=2, failure=OutOfMemory("cuda:0")))
        reports = []
        with pytest.raises(OutOfMemory, match="cuda:0"):
            backend.generate(order, reports.append)
        assert reports[-1] == Progress(Phase.STEP, 1, 3)

    def test_a_batch_is_drawn_step_by_step(self, order):
        """Rows hear of each step by turns; one whose report raises ends alone."""
        told = []

        def report(progress):
            told.append(progress)

        def stop(progress):
            told.append(progress)
            raise OutOfMemory("cuda:0")

        backend = ScriptedBackend()
        backend.warm_up(order.model_id, order.revision, None)
        outcomes = backend.generate_batch([BatchRow(order, report), BatchRow(order, stop)])
        assert [type(outcome) for outcome in outcomes] == [Picture, OutOfMemory]
        assert told[:3] == [Progress(Phase.ENCODE), Progress(Phase.ENCODE), Progress(Phase.STEP, 1, 3)]

    def test_a_seed_fails_on_cue(self, order):
        """A failure of one seed fails every batch that it is in, and nothing else."""
        backend = ScriptedBackend(Script(fail_at=1, failure=OutOfMemory("cuda:0"), fail_seed=2))
        good, bad = (BatchRow(replace(order, seed=seed), lambda _: None) for seed in (1, 2))
        assert isinstance(backend.generate_batch([good])[0], Picture)
        for rows in ([bad], [good, bad]):
            with pytest.raises(OutOfMemory):
                backend.generate_batch(rows)

    def test_it_stalls_on_cue(self, order):
        """A stall and the steps take the time that the script sets."""
        began = time.monotonic()
        draw(ScriptedBackend(Script(stall_at=2, stall_s=0.1, step_s=0.05)), order)
        assert time.monotonic() - began >= 0.1 + 3 * 0.05

    def test_it_dies_on_cue(self, order):
        """A scripted kill ends the process with SIGKILL."""
        process = multiprocessing.get_context("spawn").Process(target=drawn_until_killed, args=(order,))
        process.start()
        process.join(60)
        assert process.exitcode == -signal.SIGKILL
