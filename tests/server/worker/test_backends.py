"""What a worker tells the others of its backend before it has drawn anything."""

import pytest

from server.db.unit_of_work import UnitOfWork
from server.observability.readiness import readiness
from server.scheduling.claim_policy import HOSTED, LOCAL
from server.scheduling.registry import WorkerRegistry
from server.scheduling.wakeups import WakeUps
from server.worker.backends import NO_KEY, make_policy


class TestPolicyOfAHostedWorker:
    @pytest.mark.parametrize("backend", ["huggingface", "auto"])
    def test_without_a_key_it_says_so(self, settings, backend):
        """Alone or in reserve, a hosted worker without a key names that as what an operator has to mend."""
        settings = settings.changed(inference_backend=backend, huggingface_api_key=None)
        assert make_policy(settings, HOSTED).last_error == NO_KEY
        assert make_policy(settings.changed(huggingface_api_key="hf_x"), HOSTED).last_error is None

    def test_a_local_worker_needs_none(self, settings):
        """A local worker has nothing to say about the key."""
        settings = settings.changed(inference_backend="auto", huggingface_api_key=None)
        assert make_policy(settings, LOCAL).last_error is None

    def test_readiness_has_it_from_the_worker(self, settings, uow: UnitOfWork, images):
        """The API is given no key: what it says about the key is what the hosted worker has registered."""
        settings = settings.changed(inference_backend="huggingface", huggingface_api_key=None)
        wakeups = WakeUps(settings)
        assert readiness(uow, wakeups, images, settings).checks["hosted"] == "ok"
        policy = make_policy(settings, HOSTED)
        with uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat("one", HOSTED, accepts=True, last_error=policy.last_error)
        assert readiness(uow, wakeups, images, settings).checks["hosted"] == NO_KEY
