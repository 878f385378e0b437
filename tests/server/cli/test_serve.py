"""`avatar-creator worker --check`, the health check of a worker's container."""

from server.scheduling.registry import WorkerRegistry
from server.supervisor.watchdog import host


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
