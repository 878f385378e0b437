"""The files that the catalogue needs from the hub: names, revisions, sizes and hashes."""

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
from inference.weights.hub_errors import translate_hub_errors

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
"""The files that FluxPipeline reads.

The repositories also have the transformer and the VAE in one file each, 24 GB, which are not needed.
"""

_READ_BYTES: Final = 2**22


@dataclass(frozen=True)
class RequiredFiles:
    """Required files of a repository, by patterns. revision: None for the hub's current one."""

    model_id: str
    revision: str | None
    patterns: tuple[str, ...]


@dataclass(frozen=True)
class RemoteFile:
    """A file on the hub. digest: SHA-256, or git's SHA-1 for a small file, since the hub has no other."""

    model_id: str
    revision: str
    name: str
    size_bytes: int
    digest: str

    @property
    def path(self) -> Path:
        """Its path relative to the folder of all models."""
        return Path(self.model_id, *PurePosixPath(self.name).parts)

    def digest_of(self, path: Path, on_progress: Callable[[int], object] = lambda _: None) -> str:
        """Compute the same kind of digest of a local file; `on_progress` receives the bytes of each read."""
        digest = hashlib.sha256() if len(self.digest) == hashlib.sha256().digest_size * 2 else _git_blob(path)
        with path.open("rb") as file:
            while block := file.read(_READ_BYTES):
                digest.update(block)
                on_progress(len(block))
        return digest.hexdigest()


def required_files(entries: Iterable[Entry]) -> list[RequiredFiles]:
    """Return the files that these entries need, each model and adapter once.

    Raises:
        RevisionsConflict: two entries need different revisions of one model.

    """
    by_model: dict[str, RequiredFiles] = {}
    for entry in entries:
        of_entry = [RequiredFiles(entry.model_id, entry.revision, _PIPELINE)]
        if adapter := entry.adapter:
            of_entry.append(RequiredFiles(adapter.model_id, adapter.revision, (adapter.weight_name,)))
        for files in of_entry:
            earlier = by_model.setdefault(files.model_id, files)
            if earlier.revision != files.revision:
                raise RevisionsConflict(files.model_id, (str(earlier.revision), str(files.revision)))
    return list(by_model.values())


def list_remote_files(hub: HfApi, required: Iterable[RequiredFiles]) -> list[RemoteFile]:
    """List the required files on the hub, and check that the token may read them.

    Raises:
        LicenceNotAccepted: a repository is gated, and its licence was not accepted.
        TokenRejected: no token is set, or the hub does not know it.
        NotOnHub: a repository, revision or file does not exist.
        HubUnavailable: any other error of the hub or the network.

    """
    remote_files = []
    for files in required:
        with translate_hub_errors(files.model_id, hub.token):
            hub.auth_check(files.model_id)
            info = hub.model_info(files.model_id, revision=files.revision, files_metadata=True)
        matching = [file for file in info.siblings or () if _matches(file.rfilename, files.patterns)]
        for pattern in files.patterns:
            if not any(fnmatchcase(file.rfilename, pattern) for file in matching):
                raise NotOnHub(files.model_id, pattern)
        remote_files += [_remote_file(files.model_id, str(info.sha), file) for file in matching]
    return remote_files


def _matches(name: str, patterns: tuple[str, ...]) -> bool:
    inside = not name.startswith("/") and ".." not in PurePosixPath(name).parts
    return inside and any(fnmatchcase(name, pattern) for pattern in patterns)


def _remote_file(model_id: str, revision: str, file: Any) -> RemoteFile:
    digest = file.lfs.sha256 if file.lfs else file.blob_id
    return RemoteFile(model_id, revision, file.rfilename, file.size, digest)


def _git_blob(path: Path) -> Any:
    """Return git's hash object of a file, to which the file's bytes are still to be added.

    Git hashes a header with the length before the bytes.
    """
    return hashlib.sha1(f"blob {os.stat(path).st_size}\0".encode(), usedforsecurity=False)  # noqa: PTH116
