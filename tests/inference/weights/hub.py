"""A fake hub on loopback for huggingface_hub's real client, with faults on demand."""

import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

TOKEN = "hf_reader"  # noqa: S105 - valid for this hub only
COMMIT = "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21"
LARGE_BYTES = 2**16
"""Files from this size on are stored as with Git LFS: identified by SHA-256 and served by another host."""

_FILE = re.compile(r"/(?P<model>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_API = re.compile(
    r"/api/models/(?P<model>[^/]+/[^/?]+)(/(?P<check>auth-check)|/revision/(?P<revision>[^?]+))?(\?.*)?"
)


@dataclass
class Hub:
    """The hub's repositories, access rights, faults, and a log of its requests."""

    repositories: Mapping[str, Mapping[str, bytes]]
    url: str = ""
    licences_accepted: bool = True
    gated: bool = True
    revisions: set[str] = field(default_factory=lambda: {COMMIT})
    cuts: dict[str, list[int]] = field(default_factory=dict)
    """For each file, the positions at which its next responses break off."""

    corrupted: set[str] = field(default_factory=set)
    """Files that are served with bytes that do not match their hash."""

    lengthened: set[str] = field(default_factory=set)
    """Files that are served with more bytes than the hub lists."""

    stalls: dict[str, int] = field(default_factory=dict)
    """For each file, the number of bytes after which its response stalls."""

    downloads: Counter[str] = field(default_factory=Counter)
    range_starts: dict[str, list[int]] = field(default_factory=dict)
    """For each file, the first byte of each of its responses."""

    tokens_at_file_host: list[str] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)


class Conversation(BaseHTTPRequestHandler):
    """One connection to the hub, or to the host of its large files."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        """Send a file's metadata."""
        self._route()

    def do_GET(self) -> None:
        """Send a file, or the metadata of a repository."""
        self._route()

    def _route(self) -> None:
        if match := re.fullmatch(r"/blobs/(?P<model>[^/]+/[^/]+)/(?P<name>.+)", self.path):
            self.hub.tokens_at_file_host += filter(None, [self.headers["Authorization"]])
            self._send_file(match["model"], match["name"])
        elif match := _API.fullmatch(self.path):
            self._repository(match["model"], match["revision"], check=bool(match["check"]))
        elif match := _FILE.fullmatch(self.path):
            self._file(match["model"], match["revision"], match["name"])
        else:
            self._refuse(404, "EntryNotFound")

    def _repository(self, model: str, revision: str | None, *, check: bool) -> None:
        if not self._authorise(model, gate=check):
            return
        if revision is not None and revision not in self.hub.revisions:
            self._refuse(404, "RevisionNotFound")
            return
        files = self.hub.repositories[model]
        siblings = [_sibling(name, content) for name, content in files.items()]
        content = {} if check else {"id": model, "sha": COMMIT, "siblings": siblings}
        self._respond(200, {"Content-Type": "application/json"}, json.dumps(content).encode())

    def _file(self, model: str, revision: str, name: str) -> None:
        if not self._authorise(model, gate=True):
            return
        files = self.hub.repositories[model]
        if revision not in self.hub.revisions or name not in files:
            self._refuse(404, "EntryNotFound")
            return
        metadata = _sibling(name, files[name])
        headers = {"X-Repo-Commit": COMMIT, "ETag": f'"{metadata["blobId"]}"'}
        if "lfs" not in metadata:
            self._send_file(model, name, headers)
            return
        file_host = self.hub.url.replace("127.0.0.1", "localhost")
        self._respond(
            302,
            headers
            | {
                "X-Linked-ETag": f'"{metadata["lfs"]["sha256"]}"',
                "X-Linked-Size": str(metadata["size"]),
                "Location": f"{file_host}/blobs/{model}/{name}",
            },
            b"",
        )

    def _send_file(self, model: str, name: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a file, or the requested range of it, with the file's faults."""
        content = self.hub.repositories[model][name]
        if name in self.hub.corrupted:
            content = content[:-1] + bytes([content[-1] ^ 1])
        if name in self.hub.lengthened:
            content += bytes(50_000_000)
        range_header = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        begin = int(range_header[1]) if range_header else 0
        self.send_response(206 if range_header else 200)
        if range_header:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        for key, text in (headers or {}).items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.downloads[f"{model}/{name}"] += 1
        self.hub.range_starts.setdefault(name, []).append(begin)
        end = len(content)
        if cuts := self.hub.cuts.get(name):
            end = cuts.pop(0)
        if name in self.hub.stalls:
            end = self.hub.stalls[name]
        self.wfile.write(content[begin : max(begin, end)])
        if name in self.hub.stalls:
            self.hub.stalled.set()
            self.hub.closing.wait()
        if end < len(content):
            self.close_connection = True

    def _authorise(self, model: str, *, gate: bool) -> bool:
        """Return whether the request may read a repository; if not, send the refusal."""
        authorization = self.headers["Authorization"]
        if authorization not in {None, f"Bearer {TOKEN}"}:
            headers = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self._respond(401, headers, b"{}")
        elif model not in self.hub.repositories:
            self._refuse(404 if authorization else 401, "RepoNotFound")
        elif gate and self.hub.gated and not (authorization and self.hub.licences_accepted):
            self._refuse(403 if authorization else 401, "GatedRepo")
        else:
            return True
        return False

    def _refuse(self, status: int, code: str) -> None:
        self._respond(status, {"X-Error-Code": code}, b"{}")

    def _respond(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, text in headers.items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    """Return a file's metadata as in the hub's API."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    metadata: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if len(content) >= LARGE_BYTES:
        sha256 = hashlib.sha256(content).hexdigest()
        metadata["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 135}
    return metadata


@contextmanager
def open_hub(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """Serve repositories until the body ends. repositories: each model's files by their names."""
    hub = Hub(repositories)
    handler = type("Conversation", (Conversation,), {"hub": hub})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        hub.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield hub
        finally:
            hub.closing.set()
            server.shutdown()
            thread.join()
