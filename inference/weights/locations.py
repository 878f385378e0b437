"""Locates weights: in the miniature, in MODELS_DIR or on the Hugging Face hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from httpx2 import HTTPError
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import (
    EntryNotFoundError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from safetensors import SafetensorError

from catalog.entries import Adapter
from inference.errors import WeightsMissing
from outbound.errors import OutboundRefused

# The paths of the miniature's parts in its folder: the names of the real repositories.
DEV: Final = "black-forest-labs/FLUX.1-dev"
SCHNELL: Final = "black-forest-labs/FLUX.1-schnell"
ADAPTER_FILE: Final = "XLabs-AI/flux-RealismLora/lora.safetensors"

_FETCH: Final = "fetch it with avatar-creator weights download, or set MODELS_DIR"

# The first matching entry applies, so subclasses precede their base classes.
_CAUSES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (
        GatedRepoError,
        "the repository is gated: accept its licence on its page and set HUGGINGFACE_API_KEY",
    ),
    (RevisionNotFoundError, "the repository has no such revision"),
    (
        RepositoryNotFoundError,  # also the hub's response to a wrong token
        "the hub shows no such repository: HUGGINGFACE_API_KEY is missing or wrong, or there is none",
    ),
    (LocalEntryNotFoundError, f"it is not on this machine and the hub cannot be reached: {_FETCH}"),
    (OfflineModeIsEnabled, f"it is not on this machine and HF_HUB_OFFLINE is set: {_FETCH}"),
    (EntryNotFoundError, "the repository lacks a required file"),
    (HfHubHTTPError, "the hub refused ({error.response.status_code}): is HUGGINGFACE_API_KEY right?"),
    (SafetensorError, "a weights file is damaged: {error}"),
    (OutboundRefused, "the hub cannot be reached: {error}"),
    (HTTPError, f"the hub cannot be reached ({{kind}}): {_FETCH}"),
)


@dataclass(frozen=True)
class PipelineWeights:
    """The arguments of `from_pretrained`: a folder, or a hub id with its revision and a token."""

    source: str
    revision: str | None = None
    token: str | None = field(default=None, repr=False)


class WeightSource(Protocol):
    """Locates the weights of pipelines and adapters."""

    def pipeline(self, model_id: str, revision: str | None) -> PipelineWeights:
        """Return the location of a pipeline's weights."""
        ...

    def adapter_file(self, adapter: Adapter) -> Path:
        """Return an adapter's file on this machine; download it if it is missing.

        Raises:
            WeightsMissing: it is not on this machine and cannot be downloaded.

        """
        ...


@dataclass(frozen=True)
class MiniatureWeights:
    """The miniature's folder, which has weights for every model id and every adapter.

    An id that contains `schnell` maps to the miniature of schnell. Any other id maps to the miniature of dev,
    also a model that replaces dev by FLUX_MODEL. Every adapter maps to the miniature's only adapter.
    """

    folder: Path

    def pipeline(self, model_id: str, revision: str | None) -> PipelineWeights:  # noqa: ARG002 - one revision exists
        """Return the miniature's folder for a model id."""
        return PipelineWeights(str(self.folder / (SCHNELL if "schnell" in model_id.lower() else DEV)))

    def adapter_file(self, adapter: Adapter) -> Path:  # noqa: ARG002 - one adapter exists
        """Return the miniature's adapter."""
        return self.folder / ADAPTER_FILE


@dataclass(frozen=True)
class FullWeights:
    """The real weights: `MODELS_DIR/ORG/NAME` if that exists, else the hub through its local cache.

    The revision of a folder in MODELS_DIR is not checked.
    """

    models_dir: Path | None
    token: str | None = field(default=None, repr=False)

    def pipeline(self, model_id: str, revision: str | None) -> PipelineWeights:
        """Return the model's folder in MODELS_DIR, else its id on the hub."""
        if self.models_dir is not None and (folder := self.models_dir / model_id).is_dir():
            return PipelineWeights(str(folder))
        return PipelineWeights(model_id, revision, self.token)

    def adapter_file(self, adapter: Adapter) -> Path:
        """Return the adapter's file in MODELS_DIR, else in the hub's cache; download it if it is missing."""
        if self.models_dir is not None:
            file = self.models_dir / adapter.model_id / adapter.weight_name
            if file.is_file():
                return file
        with translate_load_errors(adapter.model_id):
            return Path(
                hf_hub_download(
                    adapter.model_id, adapter.weight_name, revision=adapter.revision, token=self.token
                )
            )


@contextmanager
def translate_load_errors(model_id: str) -> Iterator[None]:
    """Translate the libraries' errors about missing or damaged weights in the body into `WeightsMissing`.

    Raises:
        WeightsMissing: its message says what to do.

    """
    try:
        yield
    except (OSError, HTTPError, EntryNotFoundError, SafetensorError) as error:
        raise WeightsMissing(model_id, _cause(error)) from error


def _cause(error: BaseException) -> str:
    for link in _chain(error):
        for kind, cause in _CAUSES:
            if isinstance(link, kind):
                return cause.format(error=link, kind=type(link).__name__)
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, since diffusers wraps the more specific error of the hub."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__
