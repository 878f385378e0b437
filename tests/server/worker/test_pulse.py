import os

import pytest

from server.worker.pulse import Beat, Pulse


@pytest.mark.parametrize("beat", [Beat("ready"), Beat("idle"), Beat("busy", 12.5)])
def test_a_beat_survives_the_pipe(beat):
    """What is read from a line is what was written to it."""
    assert Beat.decode(beat.encode()) == beat


def test_a_worker_without_a_watchdog():
    """A pulse that nobody reads is no error."""
    Pulse(None).busy(1)


def test_a_watchdog_that_is_gone():
    """A pulse whose reader has closed its end is no error."""
    reading, writing = os.pipe()
    os.close(reading)
    pulse = Pulse(writing)
    pulse.busy(1)
    pulse.idle()
    os.close(writing)


def test_quick_steps_do_not_wake_the_watchdog():
    """The same beat is told again only after a while, another one at once."""
    reading, writing = os.pipe()
    moments = iter([0.0, 1.0, 1.1, 1.2, 1.7, 1.8])
    pulse = Pulse(writing, lambda: next(moments))
    pulse.busy(60)
    pulse.busy(60)
    pulse.busy(900)
    pulse.busy(900)
    pulse.idle()
    told = os.read(reading, 1000).decode().splitlines()
    os.close(reading)
    os.close(writing)
    assert told == ["busy 60", "busy 900", "busy 900", "idle"]
