"""`avatar-creator worker`, and `--check`, the health check of its container."""

import pytest

from server.scheduling.registry import WorkerRegistry
from server.supervisor.watchdog import Watchdog, host


class TestWorkers:
    @pytest.mark.parametrize(
        ("options", "environ", "devices"),
        [
            ([], {}, ["auto"]),
            ([], {"DEVICE": "cpu", "GPU_IDS": ""}, ["cpu"]),
            ([], {"GPU_IDS": "2, 5,7"}, ["cuda:0", "cuda:1", "cuda:2"]),
            (["--reserve"], {"GPU_IDS": "0,1", "INFERENCE_BACKEND": "auto"}, [None]),
        ],
    )
    def test_one_for_each_card(self, cli, monkeypatch, options, environ, devices):
        """Each card that the container is given has a worker; a hosted one needs none."""
        run = []
        monkeypatch.setattr(Watchdog, "run", lambda watchdog, _stopped: run.append(watchdog._device))
        assert cli("worker", *options, **environ).exit_code == 0
        assert sorted(run, key=str) == devices


class TestCheck:
    def test_a_worker_of_this_host_that_is_ready(self, cli, uow):
        """The exit code is 0 only while a worker of this host is registered as accepting work."""
        assert cli("worker", "--check").exit_code == 1
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat("elsewhere-0123456789ab", "local", accepts=True)
            WorkerRegistry(tx).record_heartbeat(f"{host()}-2-0123456789ab", "local", accepts=True)
            WorkerRegistry(tx).record_heartbeat(f"{host()}-0123456789ab", "local", accepts=False)
        assert cli("worker", "--check").exit_code == 1
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat(f"{host()}-0123456789ab", "local", accepts=True)
        assert cli("worker", "--check").exit_code == 0
        with uow.begin() as tx:
            WorkerRegistry(tx).remove(f"{host()}-0123456789ab")
        assert cli("worker", "--check").exit_code == 1
