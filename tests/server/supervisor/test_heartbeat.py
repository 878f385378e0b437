import os

import pytest

from server.supervisor.heartbeat import Beat, Heartbeat


@pytest.mark.parametrize(
    "beat",
    [Beat("ready"), Beat("idle"), Beat("busy", 12.5), Beat("failed", 20.0, "cuda: the driver is too old")],
)
def test_a_beat_survives_the_pipe(beat):
    """A beat that is decoded from a line is the one that was encoded."""
    assert Beat.decode(beat.encode()) == beat


def test_a_cause_is_one_line():
    """A cause of several lines arrives as one: lines are what separates beats."""
    line = Beat("failed", 1.0, "the driver\nis too old ").encode()
    assert (line.count(b"\n"), Beat.decode(line).cause) == (1, "the driver is too old")


def test_a_worker_without_a_watchdog():
    """A heartbeat that nobody reads is no error."""
    Heartbeat(None).busy(1)


def test_a_watchdog_that_is_gone():
    """A heartbeat whose reader has closed its end is no error."""
    reading, writing = os.pipe()
    os.close(reading)
    heartbeat = Heartbeat(writing)
    heartbeat.busy(1)
    heartbeat.idle()
    os.close(writing)


def test_quick_steps_do_not_wake_the_watchdog():
    """The same beat is written again only after a while, another one at once."""
    reading, writing = os.pipe()
    moments = iter([0.0, 1.0, 1.1, 1.2, 1.7, 1.8])
    heartbeat = Heartbeat(writing, lambda: next(moments))
    heartbeat.busy(60)
    heartbeat.busy(60)
    heartbeat.busy(900)
    heartbeat.busy(900)
    heartbeat.idle()
    written = os.read(reading, 1000).decode().splitlines()
    os.close(reading)
    os.close(writing)
    assert written == ["busy 60", "busy 900", "busy 900", "idle"]
