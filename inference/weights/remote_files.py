"""What the catalogue needs of the hub: which files of which revisions, how large, with which hashes."""

import hashlib
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, Final

from huggingface_hub import HfApi

from catalog.entries import Entry
from inference.weights.errors import NotOnHub, RevisionsConflict
from inference.weights.hub_errors import hub_errors_named

_PIPELINE: Final = (
    "model_index.json",
    *(
        f"{part}/*"
        for part in (
            "scheduler",
            "text_encoder",
            "text_encoder_2",
            "tokenizer",
            "tokenizer_2",
            "transformer",
            "vae",
        )
    ),
)
"""What FluxPipeline reads. The repositories also hold the transformer and the VAE in one file each, 24 GB."""

_READ_BYTES: Final = 2**22


@dataclass(frozen=True)
class Wanted:
    """Files of a repository, by patterns. revision: None takes what the hub serves now."""

    model_id: str
    revision: str | None
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class RemoteFile:
    """A file of the hub. digest: its SHA-256, or git's SHA-1 of a small file, which has no other."""

    model_id: str
    revision: str
    name: str
    size_bytes: int
    digest: str

    @property
    def path(self) -> Path:
        """Where it lies below the folder of all models."""
        return Path(self.model_id, *PurePosixPath(self.name).parts)

    def digest_of(self, path: Path, tell: Callable[[int], object] = lambda _: None) -> str:
        """Compute the same digest of a file on this machine; `tell` is given the bytes as they are read."""
        digest = hashlib.sha256() if len(self.digest) == hashlib.sha256().digest_size * 2 else _git_blob(path)
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
                tell(len(block))
        return digest.hexdigest()


def wanted(entries: Iterable[Entry]) -> list[Wanted]:
    """Return what these entries draw with, each model and adapter once.

    Raises:
        RevisionsConflict: two entries want different revisions of one model.

    """
    found: dict[str, Wanted] = {}
    for entry in entries:
        needs = [Wanted(entry.model_id, entry.revision, _PIPELINE)]
        if entry.adapter:
            needs.append(Wanted(entry.adapter.model_id, entry.adapter.revision, (entry.adapter.weight_name,)))
        for need in needs:
            known = found.setdefault(need.model_id, need)
            if known.revision != need.revision:
                raise RevisionsConflict(need.model_id, (str(known.revision), str(need.revision)))
    return list(found.values())


def survey(hub: HfApi, needs: Iterable[Wanted]) -> list[RemoteFile]:
    """Ask the hub which files there are, and whether this token may have them.

    Raises:
        LicenceNotAccepted: a repository is gated, and its licence was not accepted.
        TokenRejected: there is no token, or a wrong one.
        NotOnHub: there is no such repository, revision or file.
        HubAway: it does not answer.

    """
    files = []
    for need in needs:
        with hub_errors_named(need.model_id, hub.token):
            hub.auth_check(need.model_id)
            info = hub.model_info(need.model_id, revision=need.revision, files_metadata=True)
        chosen = [file for file in info.siblings or () if _matches(file.rfilename, need.patterns)]
        for pattern in need.patterns:
            if not any(fnmatchcase(file.rfilename, pattern) for file in chosen):
                raise NotOnHub(need.model_id, pattern)
        files += [_remote(need.model_id, str(info.sha), file) for file in chosen]
    return files


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    inside = not name.startswith("/") and ".." not in PurePosixPath(name).parts
    return inside and any(fnmatchcase(name, pattern) for pattern in patterns)


def _remote(model_id: str, revision: str, file: Any) -> RemoteFile:
    digest = file.lfs.sha256 if file.lfs else file.blob_id
    return RemoteFile(model_id, revision, file.rfilename, file.size, digest)


def _git_blob(path: Path) -> Any:
    """Begin git's hash of a file, which is that of its length and its bytes."""
    return hashlib.sha1(f"blob {os.stat(path).st_size}\0".encode(), usedforsecurity=False)  # noqa: PTH116
