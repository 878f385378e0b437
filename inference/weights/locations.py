"""Where weights are: in the miniature, in MODELS_DIR or on the Hugging Face hub."""

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

# Where the parts of the miniature lie in its folder: as the real repositories are named.
DEV: Final = "black-forest-labs/FLUX.1-dev"
SCHNELL: Final = "black-forest-labs/FLUX.1-schnell"
ADAPTER_FILE: Final = "XLabs-AI/flux-RealismLora/lora.safetensors"

_FETCH: Final = "fetch it with avatar-creator weights download, or set MODELS_DIR"

# The first that fits is said: the more special come first.
_SENTENCES: Final[tuple[tuple[type[BaseException], str], ...]] = (
    (
        GatedRepoError,
        "the repository is gated: accept its licence on its page and set HUGGINGFACE_API_KEY",
    ),
    (RevisionNotFoundError, "the repository has no such revision"),
    (
        RepositoryNotFoundError,  # the hub's answer to a wrong token, too
        "the hub shows no such repository: HUGGINGFACE_API_KEY is missing or wrong, or there is none",
    ),
    (LocalEntryNotFoundError, f"it is not on this machine and the hub cannot be reached: {_FETCH}"),
    (OfflineModeIsEnabled, f"it is not on this machine and HF_HUB_OFFLINE is set: {_FETCH}"),
    (EntryNotFoundError, "the repository lacks a file that is needed"),
    (HfHubHTTPError, "the hub refused ({error.response.status_code}): is HUGGINGFACE_API_KEY right?"),
    (SafetensorError, "a weights file is damaged: {error}"),
    (HTTPError, f"the hub cannot be reached ({{kind}}): {_FETCH}"),
)


@dataclass(frozen=True)
class PipelineWeights:
    """What `from_pretrained` is given: a folder, or a hub id with its revision and a token."""

    source: str
    revision: str | None = None
    token: str | None = field(default=None, repr=False)


class WeightSource(Protocol):
    """What knows where weights are."""

    def pipeline(self, model_id: str, revision: str | None) -> PipelineWeights:
        """Return where a pipeline is loaded from."""
        ...

    def adapter_file(self, adapter: Adapter) -> Path:
        """Return an adapter's file on this machine, fetching it if need be.

        Raises:
            WeightsMissing: it is nowhere to be had.

        """
        ...


@dataclass(frozen=True)
class MiniatureWeights:
    """The miniature's folder, in which every model id finds a miniature of its kind.

    An id that names schnell is served the miniature of schnell, any other the miniature of dev: whoever
    replaced the dev model by FLUX_MODEL still has a miniature of it. Every adapter is the one there is.
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
    """The real weights: `MODELS_DIR/ORG/NAME` where that exists, else the hub through its local cache.

    A folder in MODELS_DIR is taken as it is: what revision it holds is the affair of whoever filled it.
    """

    models_dir: Path | None
    token: str | None = field(default=None, repr=False)

    def pipeline(self, model_id: str, revision: str | None) -> PipelineWeights:
        """Return the model's folder in MODELS_DIR, else its id on the hub."""
        if self.models_dir is not None and (folder := self.models_dir / model_id).is_dir():
            return PipelineWeights(str(folder))
        return PipelineWeights(model_id, revision, self.token)

    def adapter_file(self, adapter: Adapter) -> Path:
        """Return the adapter's file in MODELS_DIR, else in the hub's cache, downloaded if need be."""
        if self.models_dir is not None:
            file = self.models_dir / adapter.model_id / adapter.weight_name
            if file.is_file():
                return file
        with missing_weights_named(adapter.model_id):
            return Path(
                hf_hub_download(
                    adapter.model_id, adapter.weight_name, revision=adapter.revision, token=self.token
                )
            )


@contextmanager
def missing_weights_named(model_id: str) -> Iterator[None]:
    """Turn the libraries' many ways of not finding weights into one.

    Raises:
        WeightsMissing: with a sentence that says what to do.

    """
    try:
        yield
    except (OSError, HTTPError, EntryNotFoundError, SafetensorError) as error:
        raise WeightsMissing(model_id, _sentence(error)) from error


def _sentence(error: BaseException) -> str:
    for link in _chain(error):
        for kind, sentence in _SENTENCES:
            if isinstance(link, kind):
                return sentence.format(error=link, kind=type(link).__name__)
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes: diffusers wraps what the hub said, and that says more."""
    link: BaseException | None = error
    while link is not None:
        yield link
        link = link.__cause__
