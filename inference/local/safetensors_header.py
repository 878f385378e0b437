"""Reads the header of a safetensors file and checks its limits before a library loads it. Needs no torch."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

MAX_HEADER_BYTES: Final = 1_000_000  # the library allows 100 MB: 1.7 M tensors, 5.6 s and 1.4 GB of memory
MAX_TENSORS: Final = 5_000  # the Realism LoRA has 152
_LENGTH_BYTES: Final = 8


class HeaderRejected(ValueError):
    """A file is not a safetensors file, or its header exceeds the limits of an adapter."""


@dataclass(frozen=True)
class TensorHeader:
    """A tensor as the header describes it; `dtype` is the name in safetensors, such as BF16."""

    dtype: str
    shape: tuple[int, ...]


def read_header(path: Path) -> dict[str, TensorHeader]:
    """Read the types and shapes of a file's tensors, but not their values.

    Raises:
        HeaderRejected: the file is not safetensors, or its header exceeds the limits above.

    Source: https://github.com/huggingface/safetensors, Format: 8 bytes of length, little-endian, then JSON.
    """
    with path.open("rb") as file:
        length = int.from_bytes(file.read(_LENGTH_BYTES), "little")
        if length > MAX_HEADER_BYTES:
            raise HeaderRejected(f"its header claims {length} bytes, of which {MAX_HEADER_BYTES} are allowed")
        text = file.read(length)
    if len(text) < length:
        raise HeaderRejected("the file ends within its header")
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise HeaderRejected("it is not a safetensors file") from error
    if not isinstance(header, dict):
        raise HeaderRejected("it is not a safetensors file")
    header.pop("__metadata__", None)
    if len(header) > MAX_TENSORS:
        raise HeaderRejected(f"it holds {len(header)} tensors, of which {MAX_TENSORS} are allowed")
    return {key: _tensor(key, described) for key, described in header.items()}


def _tensor(key: str, described: Any) -> TensorHeader:
    try:
        return TensorHeader(str(described["dtype"]), tuple(int(side) for side in described["shape"]))
    except (KeyError, TypeError, ValueError) as error:
        raise HeaderRejected(f"its header describes {key[:100]!r} wrongly") from error
