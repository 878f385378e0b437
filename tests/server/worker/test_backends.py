"""What a worker's backend is made from, and what it tells the others before it has drawn anything."""

import os

import pytest

from server.db.unit_of_work import UnitOfWork
from server.observability.readiness import readiness
from server.scheduling.claim_policy import HOSTED, LOCAL
from server.scheduling.registry import WorkerRegistry
from server.scheduling.wakeups import WakeUps
from server.worker.backends import NO_KEY, make_backend, make_policy


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


class TestLocalBackend:
    @pytest.fixture
    def local(self, settings, monkeypatch, tmp_path_factory):
        """Settings of a CPU, with one miniature for all tests, while no variable of a cache is set."""
        headers = "TORCHINDUCTOR_CPP_CACHE_PRECOMPILE_HEADERS"
        for name in ("TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", headers):
            monkeypatch.setenv(name, "")  # so that what the test sets is unset after it
            monkeypatch.delenv(name)
        return settings.changed(device="cpu", models_dir=tmp_path_factory.getbasetemp() / "miniature")

    def test_what_is_compiled_is_kept_in_the_data_folder(self, local):
        """Torch and Triton keep what they compile in folders of DATA_DIR."""
        make_backend(local, LOCAL).close()
        folder = local.server.data_dir / "compiled"
        assert os.environ["TORCHINDUCTOR_CACHE_DIR"] == str(folder / "inductor")
        assert os.environ["TRITON_CACHE_DIR"] == str(folder / "triton")

    def test_it_is_as_the_operator_has_set(self, local, monkeypatch):
        """DRAW_PROFILE reaches the backend, and a folder that is set already is not changed."""
        monkeypatch.setenv("TRITON_CACHE_DIR", "/mine")
        assert make_backend(local, LOCAL).profile == "exact"  # auto, on a CPU
        assert make_backend(local.changed(draw_profile="draft"), LOCAL).profile == "draft"
        assert os.environ["TRITON_CACHE_DIR"] == "/mine"
