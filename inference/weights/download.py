"""Downloads files one after the other. Each is resumed after an interruption, checked, and stored once.

This module does not use `hf_hub_download`: in huggingface_hub 2.4 that restarts a file in each process, and a
shard of FLUX.1 is 10 GB.
"""

import errno
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from httpx2 import RemoteProtocolError
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils.tqdm import disable_progress_bars

from inference.weights.errors import FileDamaged, FileTooLong, FileTruncated, NoSpace
from inference.weights.hub_errors import translate_hub_errors
from inference.weights.remote_files import RemoteFile, RequiredFiles

ProgressCallback = Callable[[int], object]
"""Receives the number of bytes of each step."""

_FETCH_TIMEOUT_S: Final = 30.0


def ignore_progress(_: int) -> None:
    """Do nothing."""


@dataclass(frozen=True)
class Inventory:
    """The required files, sorted by their state on this machine.

    duplicates: files with the same content as an earlier file, each with that file.
    partial_bytes: bytes of the missing files that an earlier run has downloaded.
    """

    complete: list[RemoteFile]
    missing: list[RemoteFile]
    duplicates: list[tuple[RemoteFile, RemoteFile]]
    partial_bytes: int

    @property
    def bytes_to_fetch(self) -> int:
        """The number of bytes that are still to be downloaded."""
        return sum(file.size_bytes for file in self.missing) - self.partial_bytes


@dataclass(frozen=True)
class Store:
    """The folder of all models, as `ORG/NAME`, with a record of their revisions and files."""

    folder: Path

    @property
    def record_file(self) -> Path:
        """The record: each model's revision and the digests of its files."""
        return self.folder / "weights.json"

    def with_recorded_revisions(self, required: Iterable[RequiredFiles]) -> list[RequiredFiles]:
        """Pin each unpinned model to the revision of its first download, so that later runs do not differ."""
        record = self._record()
        return [
            files
            if files.revision
            else RequiredFiles(files.model_id, record.get(files.model_id, {}).get("revision"), files.patterns)
            for files in required
        ]

    def inspect(
        self, files: Iterable[RemoteFile], on_progress: ProgressCallback = ignore_progress
    ) -> Inventory:
        """Return which files are complete, missing or duplicates, by the digests of the local files."""
        inventory = Inventory([], [], [], 0)
        first: dict[str, RemoteFile] = {}
        partial_bytes = 0
        for file in files:
            if self._is_complete(file, on_progress):
                inventory.complete.append(file)
            elif file.digest in first:
                inventory.duplicates.append((file, first[file.digest]))
                continue
            else:
                inventory.missing.append(file)
                partial_bytes += min(_size(self._partial_path(file)), file.size_bytes)
            first.setdefault(file.digest, file)
        return replace(inventory, partial_bytes=partial_bytes)

    def free_bytes(self) -> int:
        """Return the free space of the folder's disk."""
        folder = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        return shutil.disk_usage(folder).free

    def check_space(self, inventory: Inventory) -> None:
        """Check that the disk has room for the missing files.

        Raises:
            NoSpace: the free space is too small.

        """
        if inventory.bytes_to_fetch > (free := self.free_bytes()):
            raise NoSpace(self.folder, inventory.bytes_to_fetch, free)

    def fetch(
        self, hub: HfApi, inventory: Inventory, on_progress: ProgressCallback = ignore_progress
    ) -> None:
        """Download the missing files, and write the record of all files.

        Raises:
            DownloadFailed: one subclass per cause. Complete files and the parts of incomplete ones are kept.

        """
        disable_progress_bars("huggingface_hub.http_get")
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its warnings quote signed URLs
        duplicates = [duplicate for duplicate, _ in inventory.duplicates]
        try:
            for file in inventory.missing:
                self._fetch(hub, file, on_progress)
            for duplicate, original in inventory.duplicates:
                self._link(duplicate, original)
            self._write_record([*inventory.complete, *inventory.missing, *duplicates])
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            remaining = self.inspect([*inventory.missing, *duplicates])
            raise NoSpace(self.folder, remaining.bytes_to_fetch, self.free_bytes()) from error

    def _fetch(self, hub: HfApi, file: RemoteFile, on_progress: ProgressCallback) -> None:
        partial = self._partial_path(file)
        partial.parent.mkdir(parents=True, exist_ok=True)
        partial_bytes = _size(partial)
        if partial_bytes > file.size_bytes:
            partial.unlink()
            partial_bytes = 0
        on_progress(partial_bytes)
        with translate_hub_errors(file.model_id, hub.token):
            url = hf_hub_url(file.model_id, file.name, revision=file.revision, endpoint=hub.endpoint)
            metadata = get_hf_file_metadata(url, token=hub.token, timeout=_FETCH_TIMEOUT_S)
            same_host = urlsplit(metadata.location).netloc == urlsplit(url).netloc
            # Only the hub may receive the token. Another host serves the file by a signed URL instead.
            headers = build_hf_headers(token=hub.token if same_host else False)
            try:
                with _ProgressFile(partial, file, on_progress) as target:
                    http_get(
                        metadata.location,
                        target,
                        resume_size=partial_bytes,
                        headers=headers,
                        expected_size=file.size_bytes,
                    )
            except FileTooLong:
                partial.unlink()
                raise
            except (OSError, RemoteProtocolError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # an error of the disk; without errno it is http_get's error for too few bytes
                raise FileTruncated(file.model_id, file.name, file.size_bytes, _size(partial)) from error
        digest = file.digest_of(partial)
        if digest != file.digest:
            partial.unlink()
            raise FileDamaged(file.model_id, file.name, file.digest, digest)
        partial.replace(self.folder / file.path)

    def _link(self, duplicate: RemoteFile, original: RemoteFile) -> None:
        """Make a hard link to the original, or a copy where the file system has no hard links."""
        target = self.folder / duplicate.path
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = target.with_name(target.name + ".part")
        staging.unlink(missing_ok=True)
        try:
            os.link(self.folder / original.path, staging)
        except OSError:
            shutil.copyfile(self.folder / original.path, staging)
        staging.replace(target)

    def _is_complete(self, file: RemoteFile, on_progress: ProgressCallback) -> bool:
        path = self.folder / file.path
        return _size(path) == file.size_bytes and file.digest_of(path, on_progress) == file.digest

    def _partial_path(self, file: RemoteFile) -> Path:
        """Return the path of a partial download.

        It contains the digest, so that no download is resumed with the bytes of another revision.
        """
        path = self.folder / file.path
        return path.with_name(f".{path.name}.{file.digest[:12]}.part")

    def _record(self) -> dict[str, Any]:
        try:
            record: dict[str, Any] = json.loads(self.record_file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return record

    def _write_record(self, files: Iterable[RemoteFile]) -> None:
        record = self._record()
        for file in files:
            model = record.setdefault(file.model_id, {})
            if model.get("revision") != file.revision:
                model.clear()
            model.setdefault("revision", file.revision)
            model.setdefault("files", {})[file.name] = file.digest
        staging = self.record_file.with_suffix(".part")
        staging.write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", "utf-8")
        staging.replace(self.record_file)


class _ProgressFile(io.BufferedRandom):
    """A partial download that reports the bytes written to it and cannot exceed the listed size."""

    def __init__(self, path: Path, file: RemoteFile, on_progress: ProgressCallback) -> None:
        super().__init__(path.open("ab+", buffering=0))
        self._file = file
        self._on_progress = on_progress

    def write(self, data: Any, /) -> int:
        if self.tell() + len(data) > self._file.size_bytes:
            raise FileTooLong(self._file.model_id, self._file.name, self._file.size_bytes)
        written = super().write(data)
        self._on_progress(written)
        return written


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
