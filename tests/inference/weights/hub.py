"""A hub on loopback: it answers huggingface_hub's real client as the real one does, with faults on demand."""

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

TOKEN = "hf_reader"  # noqa: S105 - this hub's own
COMMIT = "3de623fc3c33e44ffbe2bad470d0f45bccf2eb21"
LARGE_BYTES = 2**16
"""Files from this size on are stored apart, as with Git LFS: found by SHA-256, served by another host."""

_FILE = re.compile(r"/(?P<model>[^/]+/[^/]+)/resolve/(?P<revision>[^/]+)/(?P<name>.+)")
_API = re.compile(
    r"/api/models/(?P<model>[^/]+/[^/?]+)(/(?P<check>auth-check)|/revision/(?P<revision>[^?]+))?(\?.*)?"
)


@dataclass
class Hub:
    """What the hub holds, whom it lets in, and what it has been asked for."""

    repositories: Mapping[str, Mapping[str, bytes]]
    url: str = ""
    licences_accepted: bool = True
    gated: bool = True
    revisions: set[str] = field(default_factory=lambda: {COMMIT})
    cuts: dict[str, list[int]] = field(default_factory=dict)
    """Where the next answers with a file break off, counted from the file's beginning."""

    spoilt: set[str] = field(default_factory=set)
    """Files that are served with other bytes than their hash says."""

    stalls: dict[str, int] = field(default_factory=dict)
    """After how many bytes of a file nothing comes any more."""

    downloads: Counter[str] = field(default_factory=Counter)
    begun_at: dict[str, list[int]] = field(default_factory=dict)
    tokens_elsewhere: list[str] = field(default_factory=list)
    stalled: threading.Event = field(default_factory=threading.Event)
    closing: threading.Event = field(default_factory=threading.Event)


class Conversation(BaseHTTPRequestHandler):
    """One connection to the hub, or to the host of its large files."""

    protocol_version = "HTTP/1.1"
    hub: Hub

    def do_HEAD(self) -> None:
        """Tell about a file."""
        self._answer()

    def do_GET(self) -> None:
        """Hand out a file, or what is known of a repository."""
        self._answer()

    def _answer(self) -> None:
        if found := re.fullmatch(r"/blobs/(?P<model>[^/]+/[^/]+)/(?P<name>.+)", self.path):
            self.hub.tokens_elsewhere += filter(None, [self.headers["Authorization"]])
            self._send(found["model"], found["name"])
        elif found := _API.fullmatch(self.path):
            self._repository(found["model"], found["revision"], check=bool(found["check"]))
        elif found := _FILE.fullmatch(self.path):
            self._file(found["model"], found["revision"], found["name"])
        else:
            self._refuse(404, "EntryNotFound")

    def _repository(self, model: str, revision: str | None, *, check: bool) -> None:
        if not self._lets_in(model, gate=check):
            return
        if revision is not None and revision not in self.hub.revisions:
            self._refuse(404, "RevisionNotFound")
            return
        files = self.hub.repositories[model]
        siblings = [_sibling(name, content) for name, content in files.items()]
        said = {} if check else {"id": model, "sha": COMMIT, "siblings": siblings}
        self._say(200, {"Content-Type": "application/json"}, json.dumps(said).encode())

    def _file(self, model: str, revision: str, name: str) -> None:
        if not self._lets_in(model, gate=True):
            return
        files = self.hub.repositories[model]
        if revision not in self.hub.revisions or name not in files:
            self._refuse(404, "EntryNotFound")
            return
        about = _sibling(name, files[name])
        known = {"X-Repo-Commit": COMMIT, "ETag": f'"{about["blobId"]}"'}
        if "lfs" not in about:
            self._send(model, name, known)
            return
        elsewhere = self.hub.url.replace("127.0.0.1", "localhost")
        self._say(
            302,
            known
            | {
                "X-Linked-ETag": f'"{about["lfs"]["sha256"]}"',
                "X-Linked-Size": str(about["size"]),
                "Location": f"{elsewhere}/blobs/{model}/{name}",
            },
            b"",
        )

    def _send(self, model: str, name: str, headers: Mapping[str, str] | None = None) -> None:
        """Send a file, or the rest of it that is asked for, as far as its faults let."""
        content = self.hub.repositories[model][name]
        if name in self.hub.spoilt:
            content = content[:-1] + bytes([content[-1] ^ 1])
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
        begin = int(asked[1]) if asked else 0
        self.send_response(206 if asked else 200)
        if asked:
            self.send_header("Content-Range", f"bytes {begin}-{len(content) - 1}/{len(content)}")
        for key, text in (headers or {}).items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(content) - begin))
        self.end_headers()
        if self.command == "HEAD":
            return
        self.hub.downloads[f"{model}/{name}"] += 1
        self.hub.begun_at.setdefault(name, []).append(begin)
        end = len(content)
        if waiting := self.hub.cuts.get(name):
            end = waiting.pop(0)
        if name in self.hub.stalls:
            end = self.hub.stalls[name]
        self.wfile.write(content[begin : max(begin, end)])
        if name in self.hub.stalls:
            self.hub.stalled.set()
            self.hub.closing.wait()
        if end < len(content):
            self.close_connection = True

    def _lets_in(self, model: str, *, gate: bool) -> bool:
        key = self.headers["Authorization"]
        if key not in {None, f"Bearer {TOKEN}"}:
            said = {"X-Error-Message": "Invalid credentials in Authorization header"}
            self._say(401, said, b"{}")
        elif model not in self.hub.repositories:
            self._refuse(404 if key else 401, "RepoNotFound")
        elif gate and self.hub.gated and not (key and self.hub.licences_accepted):
            self._refuse(403 if key else 401, "GatedRepo")
        else:
            return True
        return False

    def _refuse(self, status: int, code: str) -> None:
        self._say(status, {"X-Error-Code": code}, b"{}")

    def _say(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.send_response(status)
        for key, text in headers.items():
            self.send_header(key, text)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _sibling(name: str, content: bytes) -> dict[str, Any]:
    """What the hub's API says of a file."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False).hexdigest()
    about: dict[str, Any] = {"rfilename": name, "size": len(content), "blobId": blob}
    if len(content) >= LARGE_BYTES:
        sha256 = hashlib.sha256(content).hexdigest()
        about["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 135}
    return about


@contextmanager
def open_hub(repositories: Mapping[str, Mapping[str, bytes]]) -> Iterator[Hub]:
    """Serve repositories, given by their files, until the body ends."""
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
