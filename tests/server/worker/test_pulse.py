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
