"""What the tests of inference share: one miniature, one backend a process, and orders that take a moment."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import inference  # first: it sets what torch reads when it is imported
from catalog.entries import Adapter, Entry, shipped_entries
from catalog.orders import Order

BASE, REALISM, *_ = shipped_entries()
PROMPT = "portrait of a young woman with red hair"

assert inference.LIBRARY_SETTINGS


def order_of(entry: Entry, **changes: Any) -> Order:
    """Return what the worker orders for an entry, with changes."""
    return replace(Order.of_entry(entry, PROMPT, seed=7), **changes)


@pytest.fixture(scope="session", autouse=True)
def _one_core_a_process() -> None:
    """Leave each of pytest's processes one thread: they are as many as the cores."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch  # noqa: PLC0415 - the tests without torch should not pay for it

        torch.set_num_threads(1)


@pytest.fixture(scope="session", name="order_of")
def _order_of() -> Callable[..., Order]:
    """The function that orders an entry, with changes."""
    return order_of


@pytest.fixture(scope="session")
def realism() -> Adapter:
    adapter = REALISM.adapter
    assert adapter is not None
    return adapter


@pytest.fixture(scope="session")
def order() -> Order:
    """Order a base image of few steps and tokens, so that it takes a fraction of a second."""
    return order_of(BASE, steps=3, max_text_tokens=64)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that all of pytest's processes build the miniature in."""
    root = tmp_path_factory.getbasetemp()
    return (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "models"


@pytest.fixture(scope="session")
def miniature(models_dir: Path) -> Path:
    """The miniature's own folder."""
    from inference.miniature.building import build_miniature  # noqa: PLC0415 - it imports torch

    return build_miniature(models_dir)


@pytest.fixture(scope="session")
def make_backend(models_dir: Path, miniature: Path) -> Callable[..., Any]:
    """Make a miniature backend with nothing resident."""
    from inference.local.backend import LocalBackend, LocalConfig  # noqa: PLC0415 - it imports torch

    def make(**changes: Any) -> LocalBackend:
        return LocalBackend(replace(LocalConfig("miniature", models_dir, device="cpu"), **changes))

    return make


@pytest.fixture(scope="session")
def backend(make_backend: Callable[..., Any]) -> Iterator[Any]:
    """A miniature backend that the tests share."""
    shared = make_backend()
    yield shared
    shared.close()


@pytest.fixture
def adapter_dir(tmp_path: Path, miniature: Path) -> Path:
    """A MODELS_DIR with the miniature's base models, whose adapter the test writes itself."""
    (tmp_path / "black-forest-labs").symlink_to(miniature / "black-forest-labs")
    folder = tmp_path / "XLabs-AI" / "flux-RealismLora"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw with the full profile in 32 bits: on a CPU without bf16, one decode takes ten seconds in 16."""
    import torch  # noqa: PLC0415 - the tests without torch should not pay for it

    monkeypatch.setattr("inference.local.devices.choose_dtype", lambda *_, **__: torch.float32)
