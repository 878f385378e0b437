"""What a worker's backend is made from."""

import os

import pytest

from server.scheduling.claim_policy import LOCAL
from server.worker.backends import make_backend


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
