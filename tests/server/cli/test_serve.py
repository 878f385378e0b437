"""`avatar-creator worker --check`, by which a container says whether its worker is well."""

from server.scheduling.registry import WorkerRegistry
from server.supervisor.watchdog import host


class TestCheck:
    def test_a_worker_of_this_host_that_is_ready(self, cli, uow):
        """The exit code is 0 while a worker of this host tells that it takes work, and only then."""
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
