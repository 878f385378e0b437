"""Fetching files one after the other: each resumed where it stopped, checked, and kept once.

Not `hf_hub_download`: that of huggingface_hub 2.4 begins a file anew in each process, and a shard of FLUX.1
is 10 GB.
"""

import errno
import io
import json
import logging
import os
import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from httpx2 import RemoteProtocolError
from huggingface_hub import HfApi, get_hf_file_metadata, hf_hub_url
from huggingface_hub.file_download import http_get
from huggingface_hub.utils._headers import build_hf_headers
from huggingface_hub.utils.tqdm import disable_progress_bars

from inference.weights.errors import FileDamaged, FileTruncated, NoSpace
from inference.weights.hub_errors import hub_errors_named
from inference.weights.remote_files import RemoteFile, Wanted

Tell = Callable[[int], object]
"""Is given the bytes of each step; negative where some are read again."""

_FETCH_TIMEOUT_S: Final = 30.0


def nothing(_: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True)
class Standing:
    """What is on this machine of what is wanted. twins: files that equal one that comes before them."""

    complete: list[RemoteFile]
    lacking: list[RemoteFile]
    twins: list[tuple[RemoteFile, RemoteFile]]
    partial_bytes: int

    @property
    def bytes_to_fetch(self) -> int:
        """How many bytes are still to come."""
        return sum(file.size_bytes for file in self.lacking) - self.partial_bytes


@dataclass(frozen=True)
class Store:
    """The folder of all models, `ORG/NAME` below it, with a record of what they are."""

    folder: Path

    @property
    def record_file(self) -> Path:
        """The record: each model's revision and the digests of its files."""
        return self.folder / "weights.json"

    def recorded(self, needs: Iterable[Wanted]) -> list[Wanted]:
        """Give what has no revision the one that was fetched before: two days shall not differ."""
        known = self._record()
        return [
            need
            if need.revision
            else Wanted(need.model_id, known.get(need.model_id, {}).get("revision"), need.patterns)
            for need in needs
        ]

    def inspect(self, files: Iterable[RemoteFile], tell: Tell = nothing) -> Standing:
        """Look which files are here and whole, by their digests."""
        standing = Standing([], [], [], 0)
        first: dict[str, RemoteFile] = {}
        partial_bytes = 0
        for file in files:
            if self._is_whole(file, tell):
                standing.complete.append(file)
            elif file.digest in first:
                standing.twins.append((file, first[file.digest]))
                continue
            else:
                standing.lacking.append(file)
                partial_bytes += min(_size(self._part(file)), file.size_bytes)
            first.setdefault(file.digest, file)
        return Standing(standing.complete, standing.lacking, standing.twins, partial_bytes)

    def free_bytes(self) -> int:
        """How much the disk can take."""
        folder = next(path for path in (self.folder, *self.folder.parents) if path.exists())
        return shutil.disk_usage(folder).free

    def check_space(self, standing: Standing) -> None:
        """Refuse to begin what cannot end.

        Raises:
            NoSpace: the disk does not hold it.

        """
        if standing.bytes_to_fetch > (free := self.free_bytes()):
            raise NoSpace(self.folder, standing.bytes_to_fetch, free)

    def fetch(self, hub: HfApi, standing: Standing, tell: Tell = nothing) -> None:
        """Fetch what is lacking, and write down what is there then.

        Raises:
            DownloadFailed: by its cause; what is complete stays, and what came of a file, too.

        """
        disable_progress_bars("huggingface_hub.http_get")
        logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # its warnings quote signed addresses
        try:
            for file in standing.lacking:
                self._fetch(hub, file, tell)
            for twin, original in standing.twins:
                self._link(twin, original)
            files = [*standing.complete, *standing.lacking, *(twin for twin, _ in standing.twins)]
            self._write_record(files)
        except OSError as error:
            if error.errno not in {errno.ENOSPC, errno.EDQUOT}:
                raise
            still = self.inspect([*standing.lacking, *(twin for twin, _ in standing.twins)])
            raise NoSpace(self.folder, still.bytes_to_fetch, self.free_bytes()) from error

    def _fetch(self, hub: HfApi, file: RemoteFile, tell: Tell) -> None:
        part = self._part(file)
        part.parent.mkdir(parents=True, exist_ok=True)
        begun_bytes = _size(part)
        if begun_bytes > file.size_bytes:
            part.unlink()
            begun_bytes = 0
        tell(begun_bytes)
        with hub_errors_named(file.model_id, hub.token):
            url = hf_hub_url(file.model_id, file.name, revision=file.revision, endpoint=hub.endpoint)
            where = get_hf_file_metadata(url, token=hub.token, timeout=_FETCH_TIMEOUT_S)
            same_host = urlsplit(where.location).netloc == urlsplit(url).netloc
            # The token is the hub's: a file's own host gets a signed address instead.
            headers = build_hf_headers(token=hub.token if same_host else False)
            try:
                with _Told(part, tell) as target:
                    http_get(
                        where.location,
                        target,
                        resume_size=begun_bytes,
                        headers=headers,
                        expected_size=file.size_bytes,
                    )
            except (OSError, RemoteProtocolError) as error:
                if isinstance(error, OSError) and error.errno is not None:
                    raise  # the disk's; without a number it is http_get's own word for too few bytes
                raise FileTruncated(file.model_id, file.name, file.size_bytes, _size(part)) from error
        found = file.digest_of(part)
        if found != file.digest:
            part.unlink()
            raise FileDamaged(file.model_id, file.name, file.digest, found)
        part.replace(self.folder / file.path)

    def _link(self, twin: RemoteFile, original: RemoteFile) -> None:
        """Give a file a second name; where the disk knows no such thing, copy it."""
        target = self.folder / twin.path
        target.parent.mkdir(parents=True, exist_ok=True)
        draft = target.with_name(target.name + ".part")
        draft.unlink(missing_ok=True)
        try:
            os.link(self.folder / original.path, draft)
        except OSError:
            shutil.copyfile(self.folder / original.path, draft)
        draft.replace(target)

    def _is_whole(self, file: RemoteFile, tell: Tell) -> bool:
        path = self.folder / file.path
        return _size(path) == file.size_bytes and file.digest_of(path, tell) == file.digest

    def _part(self, file: RemoteFile) -> Path:
        """Where a file grows. Its digest is in the name: the rest of another revision is not appended."""
        path = self.folder / file.path
        return path.with_name(f".{path.name}.{file.digest[:12]}.part")

    def _record(self) -> dict[str, Any]:
        try:
            known: dict[str, Any] = json.loads(self.record_file.read_text("utf-8"))
        except FileNotFoundError:
            return {}
        return known

    def _write_record(self, files: Iterable[RemoteFile]) -> None:
        known = self._record()
        for file in files:
            model = known.setdefault(file.model_id, {})
            if model.get("revision") != file.revision:
                model.clear()
            model.setdefault("revision", file.revision)
            model.setdefault("files", {})[file.name] = file.digest
        draft = self.record_file.with_suffix(".part")
        draft.write_text(json.dumps(known, indent=1, sort_keys=True) + "\n", "utf-8")
        draft.replace(self.record_file)


class _Told(io.BufferedRandom):
    """A file that tells what is written to it."""

    def __init__(self, path: Path, tell: Tell) -> None:
        super().__init__(path.open("ab+", buffering=0))
        self._report = tell

    def write(self, data: Any, /) -> int:
        written = super().write(data)
        self._report(written)
        return written


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
