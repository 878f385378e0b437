"""The models that pipelines share: of T5, CLIP and the VAE, each content is in memory once."""

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from weakref import WeakValueDictionary

from diffusers import FluxPipeline
from torch import nn

SHARED: Final = ("text_encoder", "text_encoder_2", "vae")
"""The components, by their folders' names: CLIP, T5 and the VAE."""

_OF_A_SAVE: Final = ("_", "transformers_version")
"""The beginnings of a config's keys that say where or by what it was saved."""

_SHA256_DIGITS: Final = 64


class SharedParts:
    """The parts in memory, by component and digest, for as long as a pipeline uses them."""

    def __init__(self, place: Callable[[str, nn.Module], None]) -> None:
        """place: called once for each part that is new, with its component's name; puts it where it stays."""
        self._place = place
        self._parts: WeakValueDictionary[tuple[str, str], nn.Module] = WeakValueDictionary()

    def found(self, digests: Mapping[str, str]) -> dict[str, nn.Module]:
        """Return the parts that are in memory. digests: by component."""
        return {name: self._parts[name, d] for name, d in digests.items() if (name, d) in self._parts}

    def share(self, pipeline: FluxPipeline, digests: Mapping[str, str]) -> None:
        """Give a pipeline the parts that are in memory, and keep those that are new for others."""
        pipeline.register_modules(**self.found(digests))
        for key in digests.items():
            if key not in self._parts:
                part = getattr(pipeline, key[0])
                self._place(key[0], part)
                self._parts[key] = part


def digests_of(folder: Path) -> dict[str, str]:
    """Return the digest of each shared component in a pipeline's folder: of its config and weights.

    Raises:
        OSError: a config is missing or no JSON.

    """
    return {name: _digest(folder / name) for name in SHARED}


def _digest(folder: Path) -> str:
    digest = hashlib.sha256(json.dumps(_config(folder / "config.json"), sort_keys=True).encode())
    for file in sorted(folder.glob("*.safetensors")):
        digest.update(file.name.encode() + _sha256(file).encode())
    return digest.hexdigest()


def _config(file: Path) -> dict[str, Any]:
    try:
        config = json.loads(file.read_bytes())
    except ValueError as error:
        raise OSError(f"{file.name} is not JSON") from error
    return {key: value for key, value in config.items() if not key.startswith(_OF_A_SAVE)}


def _sha256(file: Path) -> str:
    """Return a file's SHA-256. In the hub's cache, a file of weights is a link to a blob of that name."""
    blob = file.resolve()
    if blob.parent.name == "blobs" and len(blob.name) == _SHA256_DIGITS:
        return blob.name
    with blob.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()
