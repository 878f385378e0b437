import os
from concurrent.futures import ThreadPoolExecutor

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


@pytest.fixture
def clock():
    """A clock that a test moves."""
    return [0.0]


@pytest.fixture
def written(clock):
    """A heartbeat by that clock, and what it has written since the last look."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    def lines():
        try:
            return os.read(reading, 1000).decode().splitlines()
        except BlockingIOError:
            return []

    yield Heartbeat(writing, lambda: clock[0]), lines
    os.close(reading)
    os.close(writing)


@pytest.fixture
def in_thread():
    """Run a function in a second thread, always the same."""
    with ThreadPoolExecutor(1) as thread:
        yield lambda act: thread.submit(act).result()


class TestTwoThreads:
    def test_the_time_that_ends_first_is_told(self, written, clock, in_thread):
        """Each thread has its own time; a beat names what is left of the shorter one."""
        heartbeat, lines = written
        in_thread(lambda: heartbeat.busy(60))
        clock[0] = 20.0
        heartbeat.busy(900)
        assert lines() == ["busy 60", "busy 40.0"]
        clock[0] = 21.0
        in_thread(heartbeat.idle)
        assert lines() == ["busy 899.0"]
        heartbeat.idle()
        assert lines() == ["idle"]

    def test_one_that_hangs_is_not_hidden_by_the_other(self, written, clock, in_thread):
        """After its time no beat of the other one follows, until it goes on."""
        heartbeat, lines = written
        in_thread(lambda: heartbeat.busy(60))
        lines()
        clock[0] = 60.0
        heartbeat.busy(60)
        heartbeat.idle()
        assert lines() == []
        in_thread(lambda: heartbeat.busy(60))
        assert lines() == ["busy 60"]
