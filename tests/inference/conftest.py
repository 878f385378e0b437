"""Shared fixtures of the inference tests: one miniature, one backend per process, and fast orders."""

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
    """Return the worker's order for an entry, with changes."""
    return replace(Order.of_entry(entry, PROMPT, seed=7), **changes)


@pytest.fixture(scope="session", autouse=True)
def _one_core_a_process() -> None:
    """Limit torch to one thread in each of pytest's processes, since there are as many as cores."""
    if "PYTEST_XDIST_WORKER" in os.environ:
        import torch  # noqa: PLC0415 - the tests without torch should not pay for it

        torch.set_num_threads(1)


@pytest.fixture(scope="session", name="order_of")
def _order_of() -> Callable[..., Order]:
    """A function that returns the order for an entry, with changes."""
    return order_of


@pytest.fixture(scope="session")
def realism() -> Adapter:
    adapter = REALISM.adapter
    assert adapter is not None
    return adapter


@pytest.fixture(scope="session")
def order() -> Order:
    """An order of a base image with few steps and tokens, which takes a fraction of a second."""
    return order_of(BASE, steps=3, max_text_tokens=64)


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder for the miniature, shared by all of pytest's processes."""
    root = tmp_path_factory.getbasetemp()
    return (root.parent if "PYTEST_XDIST_WORKER" in os.environ else root) / "models"


@pytest.fixture(scope="session")
def miniature(models_dir: Path) -> Path:
    """The folder of the built miniature."""
    from inference.miniature.building import build_miniature  # noqa: PLC0415 - it imports torch

    return build_miniature(models_dir)


@pytest.fixture(scope="session")
def make_backend(models_dir: Path, miniature: Path) -> Callable[..., Any]:
    """A function that makes a miniature backend with no resident pipeline."""
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
    """An empty folder for the adapter, in a MODELS_DIR that has the miniature's base models."""
    (tmp_path / "black-forest-labs").symlink_to(miniature / "black-forest-labs")
    folder = tmp_path / "XLabs-AI" / "flux-RealismLora"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def float32(monkeypatch: pytest.MonkeyPatch) -> None:
    """Draw with the full profile in 32 bits: in 16 bits, a decode takes ten seconds on a CPU without bf16."""
    import torch  # noqa: PLC0415 - the tests without torch should not pay for it

    monkeypatch.setattr("inference.local.devices.choose_dtype", lambda *_, **__: torch.float32)
