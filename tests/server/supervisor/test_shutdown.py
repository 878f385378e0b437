import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from server.supervisor.shutdown import in_thread

CHILD = """
import os, sys, time
from server.supervisor.shutdown import exit_with_parent
{extra}
exit_with_parent(grace_s=0.3)
print("ready", flush=True)
time.sleep(60)
"""

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(child.pid, flush=True)
time.sleep(60)
"""


def is_gone(pid):
    """Return whether no process has this id, or only a zombie that is not yet collected."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stat:  # noqa: PTH123  # a file of the kernel's
            return stat.read().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def wait_until_gone(pid, seconds):
    """Wait for the end of a process that is no child of this one; return whether it ended in time."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        if is_gone(pid):
            return True
        time.sleep(0.02)
    return False


@pytest.fixture
def family():
    """Start a parent and its child, which runs extra code; both are ended after the test."""
    parents, children = [], []

    def start(extra=""):
        command = [sys.executable, "-c", PARENT, CHILD.format(extra=extra)]
        parent = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        parents.append(parent)
        child = int(parent.stdout.readline())
        children.append(child)
        return parent, child

    yield start
    for parent in parents:
        parent.kill()
        parent.wait(10)
        parent.stdout.close()
    for child in children:
        if not is_gone(child):
            os.kill(child, signal.SIGKILL)


class TestExitWithParent:
    def test_a_child_stops_when_its_parent_is_killed(self, family):
        """A child ends when SIGKILL ends its parent, which cannot signal the child."""
        parent, child = family()
        parent.kill()
        assert wait_until_gone(child, 10)

    def test_a_child_that_does_not_stop_is_ended(self, family):
        """A child that ignores SIGTERM is ended after its grace."""
        parent, child = family("import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)")
        parent.kill()
        assert wait_until_gone(child, 10)

    def test_a_child_lives_as_long_as_its_parent(self, family):
        """A child keeps running while its parent runs."""
        _, child = family()
        assert not wait_until_gone(child, 0.5)


class TestInThread:
    def test_no_fault_ends_a_part_for_good(self, monkeypatch):
        """A part that raises begins again, whatever it raises, until it is stopped."""
        monkeypatch.setattr("server.supervisor.shutdown.RESTART_PAUSES_S", (0.01, 0.02))
        faults = [OSError(24, "Too many open files"), RuntimeError("read-only"), MemoryError()]
        begun = threading.Event()

        def run(stopped):
            if faults:
                raise faults.pop()
            begun.set()
            stopped.wait()

        with in_thread("part", run):
            assert begun.wait(10)
        assert not faults

    def test_a_part_that_fails_is_stopped_too(self):
        """Between two beginnings of a part that always fails, a stop is heard."""

        def fail(_stopped):
            raise RuntimeError

        began = time.monotonic()
        with in_thread("part", fail):
            pass
        assert time.monotonic() - began < 10
