import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import psutil
import pytest

from server.images.store import ImageStore
from server.scheduling.reaper import Reaper
from server.scheduling.registry import retire
from server.supervisor.embedded_redis import EmbeddedRedis
from server.supervisor.watchdog import Watchdog
from tests.databases import ONE_DATABASE

pytestmark = pytest.mark.usefixtures("books_that_balance")

WORKER = str(Path(__file__).parents[1] / "worker" / "scripted_worker.py")
PATIENCE_S = 60


def until(condition, what):
    """Wait until a condition returns something truthy, and return that; fail after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.02)
    raise AssertionError(f"not within {PATIENCE_S} seconds: {what}")


@pytest.fixture
def watched(uow, settings, monkeypatch):
    """Run a scripted worker under a watchdog, with a reaper beside it, as `avatar-creator worker` does."""

    @contextmanager
    def run(script, **environment):
        monkeypatch.setenv("DATABASE_URL", settings.database.url)
        monkeypatch.setenv("REDIS_URL", settings.redis.url)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        quick = settings.changed(reaper_period_s=0.1)
        watchdog = Watchdog(
            quick, partial(retire, uow, "local"), "local", [sys.executable, WORKER, repr(script)]
        )
        reaper = Reaper(uow, ImageStore(quick.server.images_dir), quick)
        stopped = threading.Event()
        threads = [threading.Thread(target=part.run, args=(stopped,)) for part in (watchdog, reaper)]
        for thread in threads:
            thread.start()
        try:
            until(watchdog.ready.is_set, "the worker")
            yield watchdog
        finally:
            stopped.set()
            for thread in threads:
                thread.join()

    return run


class TestWatchdog:
    def test_a_worker_draws_and_stops(self, watched, make_account, submit_one, generation_of):
        """A watched worker takes a wake-up, and ends with its watchdog."""
        with watched({}) as watchdog:
            pid = watchdog.pid
            generation = submit_one(make_account())
            until(lambda: generation_of(generation.id).status == "completed", "the avatar")
        assert not psutil.pid_exists(pid)

    def test_a_killed_worker(self, watched, make_account, submit_one, generation_of, balance_of):
        """A generation whose worker is killed with -9 is drawn by the next worker, and charged once."""
        account = make_account(credits=20)
        with watched({"step_s": 0.1}) as watchdog:
            generation = submit_one(account)
            until(lambda: generation_of(generation.id).status == "processing", "the drawing")
            os.kill(watchdog.pid, signal.SIGKILL)
            ended = until(
                lambda: (found := generation_of(generation.id)).status == "completed" and found, "the avatar"
            )
        assert (ended.attempt, ended.losses) == (2, 1)
        assert balance_of(account) == 12

    def test_a_worker_that_hangs(self, watched, make_account, submit_one, generation_of, balance_of):
        """A worker whose steps stall is killed; after three attempts its generation fails at no cost."""
        account = make_account(credits=20)
        with watched({"stall_at": 2}, PHASE_TIMEOUT_S="1") as watchdog:
            watchdog._settings = watchdog._settings.changed(phase_timeout_s=1)
            generation = submit_one(account)
            ended = until(
                lambda: (found := generation_of(generation.id)).status == "failed" and found, "the failure"
            )
        assert (ended.error_code, ended.losses) == ("INTERNAL_ERROR", 3)
        assert balance_of(account) == 20

    def test_a_worker_whose_storing_hangs(self, watched, make_account, submit_one, generation_of, balance_of):
        """It is killed although it draws on meanwhile; after three attempts both fail at no cost."""
        account = make_account(credits=20)
        script = {"step_s": 0.05, "stall_storing_s": 3600}
        with watched(script, PHASE_TIMEOUT_S="1") as watchdog:
            watchdog._settings = watchdog._settings.changed(phase_timeout_s=1)
            both = [submit_one(account) for _ in range(2)]
            until(lambda: all(generation_of(one.id).status == "failed" for one in both), "the failures")
        assert [generation_of(one.id).losses for one in both] == [3, 3]
        assert balance_of(account) == 20

    def test_a_broken_device(
        self, watched, make_account, submit_one, generation_of, balance_of, tmp_path, capfd
    ):
        """A worker whose device has failed claims nothing more; the next one draws all, charged once."""
        account, broken = make_account(credits=40), tmp_path / "broken"
        with watched({"step_s": 0.05, "break_file": str(broken)}) as watchdog:
            first = watchdog.pid
            generations = [submit_one(account) for _ in range(4)]
            until(lambda: generation_of(generations[0].id).status == "processing", "the drawing")
            broken.touch()
            until(lambda: all(generation_of(each.id).status == "completed" for each in generations), "all")
            assert watchdog.pid != first
        assert sum(generation_of(each.id).losses for each in generations) == 1
        assert balance_of(account) == 40 - 4 * 8
        logged = capfd.readouterr()
        assert (logged.out + logged.err).count("worker.device_broken") == 1

    @ONE_DATABASE
    @pytest.mark.parametrize(
        ("end", "why"),
        [
            ("os.abort()", "It crashed: Aborted"),
            ("time.sleep(60)", "It hung: no progress within 0.2 s"),
            ("tell('failed 9 cuda:0 has failed')", "cuda:0 has failed"),
            ("sys.exit(3)", "It ended by itself with status 3: see its log"),
        ],
    )
    def test_three_deaths_open_the_circuit(self, settings, monkeypatch, tmp_path, end, why):
        """The third death of the device says why, and the next try waits; a kill from outside is none."""
        monkeypatch.setattr("server.supervisor.device_circuit.PAUSE_S", 1234.0)
        monkeypatch.setattr("server.supervisor.watchdog.RESTART_PAUSE_S", (0.0,))
        program = f"""
import os, pathlib, signal, sys, time
def tell(line): os.write(int(sys.argv[2]), line.encode() + b"\\n")
tell("ready")
tell("busy 0.2")
if (killed := pathlib.Path({str(tmp_path / "killed")!r})).exists():
    {end}
else:
    killed.touch()
    os.kill(os.getpid(), signal.SIGKILL)
"""
        told, stopped = [], threading.Event()
        watchdog = Watchdog(
            settings, lambda _name, *death: told.append(death), "local", [sys.executable, "-c", program]
        )
        thread = threading.Thread(target=watchdog.run, args=(stopped,))
        thread.start()
        until(lambda: len(told) == 4, "the deaths")
        time.sleep(0.5)
        stopped.set()
        thread.join(PATIENCE_S)
        assert told == [(True, None)] * 3 + [(True, why)]

    def test_a_worker_that_does_not_die(self, watched, make_account, submit_one, generation_of, monkeypatch):
        """A worker that survives SIGKILL, stuck in a driver, does not keep the next one from starting."""
        monkeypatch.setattr("server.supervisor.watchdog.KILL_TIMEOUT_S", 0.2)
        immortal = []
        kill = subprocess.Popen.kill

        def kill_all_but_the_first(child):
            immortal.append(child) if not immortal else kill(child)

        monkeypatch.setattr(subprocess.Popen, "kill", kill_all_but_the_first)
        with watched({"stall_at": 2}, PHASE_TIMEOUT_S="1") as watchdog:
            watchdog._settings = watchdog._settings.changed(phase_timeout_s=1)
            generation = submit_one(make_account())
            until(lambda: immortal and watchdog.pid not in {None, immortal[0].pid}, "the next worker")
            assert immortal[0].poll() is None
            assert generation_of(generation.id).losses == 1
        kill(immortal[0])
        immortal[0].wait()

    def test_a_stop_lets_it_finish(self, watched, make_account, submit_one, generation_of):
        """A watchdog that is stopped lets its worker finish the generation that it draws."""
        with watched({"step_s": 0.05}):
            generation = submit_one(make_account())
            until(lambda: generation_of(generation.id).status == "processing", "the drawing")
        assert generation_of(generation.id).status == "completed"

    def test_a_stop_without_grace_releases(self, watched, make_account, submit_one, generation_of):
        """A worker whose grace is over returns its generation to the queue before it ends."""
        with watched({"step_s": 0.2}, SHUTDOWN_GRACE_S="0"):
            generation = submit_one(make_account())
            until(lambda: generation_of(generation.id).status == "processing", "the drawing")
        returned = generation_of(generation.id)
        assert (returned.status, returned.losses) == ("pending", 0)


class TestRedisAway:
    @pytest.fixture
    def redis_server(self, tmp_path):
        """A Redis that only this test uses, and ends."""
        server = EmbeddedRedis(tmp_path / "redis.url")
        server.start()
        yield server
        server.stop()

    def test_a_stop_lets_it_finish(self, watched, make_account, submit_one, generation_of, redis_server):
        """Stopped just after Redis, as when both are restarted, a worker finishes what it draws."""
        with watched({"step_s": 0.1}):
            generation = submit_one(make_account())
            until(lambda: generation_of(generation.id).status == "processing", "the drawing")
            redis_server.stop()
        ended = generation_of(generation.id)
        assert (ended.status, ended.attempt, ended.error_message) == ("completed", 1, None)


@ONE_DATABASE
class TestFaults:
    def test_a_worker_that_cannot_be_started(self, settings, monkeypatch):
        """A watchdog that cannot start a worker leaves no descriptor open, and tries again when it can."""
        watchdog = Watchdog(settings, lambda *_: None, "local", ["/nowhere/at/all"])
        me = psutil.Process()
        before = me.num_fds()
        for _ in range(3):
            with pytest.raises(OSError, match="nowhere"):
                watchdog.run(threading.Event())
        assert me.num_fds() == before

    def test_a_worker_on_its_own_device(self, settings, tmp_path):
        """A worker draws on the device that its watchdog was given, whatever DEVICE says."""
        told = tmp_path / "told"
        program = f"import os; open({str(told)!r}, 'a').write(os.environ['DEVICE'] + ' ')"
        command, stopped = [sys.executable, "-c", program], threading.Event()
        watchdog = Watchdog(settings, lambda *_: stopped.set(), "local", command, device="cuda:1")
        watchdog.run(stopped)
        assert told.read_text() == "cuda:1 "

    def test_work_that_cannot_be_returned(self, settings):
        """A database that only reads, or any other fault, keeps no watchdog from the next worker."""

        def read_only(*_):
            raise RuntimeError("cannot execute UPDATE in a read-only transaction")

        stopped = threading.Event()
        watchdog = Watchdog(settings, read_only, "local", ["/bin/true"])
        thread = threading.Thread(target=watchdog.run, args=(stopped,))
        thread.start()
        time.sleep(1)
        assert thread.is_alive()
        stopped.set()
        thread.join(10)
