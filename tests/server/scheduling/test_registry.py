from server.scheduling.claim_policy import HOSTED, LOCAL
from server.scheduling.registry import NEVER_READY, WorkerRegistry, is_ready_on, retire


class TestRetire:
    def test_work_and_registration_go(self, uow, make_account, submit_one, claim, generation_of):
        """What a dead worker held waits again at once, and the worker is no longer in the registry."""
        generation = submit_one(make_account())
        claim("gpu-one")
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat("gpu-one", LOCAL, accepts=True)
            WorkerRegistry(tx).record_heartbeat("gpu-two", LOCAL, accepts=True)
        retire(uow, "local", "gpu-one", was_ready=True)
        returned = generation_of(generation.id)
        assert (returned.status, returned.losses) == ("pending", 1)
        with uow.read() as tx:
            assert [worker.name for worker in WorkerRegistry(tx).ready(LOCAL)] == ["gpu-two"]

    def test_the_work_of_others_stays(self, uow, make_account, submit_one, claim, generation_of):
        """Only what the dead worker held returns to the queue."""
        generation = submit_one(make_account())
        claim("gpu-two")
        retire(uow, "local", "gpu-one", was_ready=True)
        assert generation_of(generation.id).status == "processing"


class TestIsReadyOn:
    def test_a_host_by_its_whole_name(self, uow):
        """A host is ready by its own worker, not by that of a host whose name begins alike."""
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat("gpu-2-abc", LOCAL, accepts=True)
        assert is_ready_on(uow, "gpu-2")
        assert not is_ready_on(uow, "gpu")


class TestNoneReady:
    def test_there_was_never_a_worker(self, uow):
        """Where there was never a worker, none is ready."""
        assert self.none_ready(uow)

    def test_one_that_takes_generations_suffices(self, uow):
        """Beside a worker that is ready, those that are gone do not count."""
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat("gpu-one", LOCAL, accepts=False)
            assert WorkerRegistry(tx).none_ready()
            WorkerRegistry(tx).record_heartbeat("gpu-two", LOCAL, accepts=True)
            assert not WorkerRegistry(tx).none_ready()

    def test_workers_that_never_get_ready(self, uow):
        """Of a worker that ended before it was ready it is known why, and not of one that was stopped."""
        retire(uow, LOCAL, "gpu-one", was_ready=True)
        with uow.read() as tx:
            assert WorkerRegistry(tx).why_gone(LOCAL) is None
        retire(uow, LOCAL, "gpu-one", was_ready=False)
        assert self.none_ready(uow)
        with uow.read() as tx:
            assert WorkerRegistry(tx).last_errors(LOCAL) == [NEVER_READY]

    def test_a_cause_is_kept(self, uow):
        """Of workers that are gone it is known why the last of a backend was the last."""
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat("gpu-three", LOCAL, accepts=True, last_error="a broken LoRA")
        retire(uow, LOCAL, "gpu-one", was_ready=False)
        retire(uow, LOCAL, "gpu-two", was_ready=True, cause="The driver is too old")
        with uow.read() as tx:
            assert WorkerRegistry(tx).why_gone(LOCAL, HOSTED) == "The driver is too old"
            assert WorkerRegistry(tx).why_gone(HOSTED) is None

    def none_ready(self, uow):
        """Return what the registry says."""
        with uow.read() as tx:
            return WorkerRegistry(tx).none_ready()
