"""A provider in a box: a server on loopback that speaks as the router does, with faults on demand."""

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from typing import Any

from PIL import Image, ImageOps

KEY = "hf_secret"
"""The key that the box knows."""

Answer = Callable[["Conversation"], None]


@dataclass(frozen=True)
class Seen:
    """A request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def provider(self) -> str:
        """Whom the router was asked for."""
        return self.path.split("/")[1]


@dataclass
class Box:
    """What the box has seen, and what it will answer next; by default it draws."""

    url: str = ""
    seen: list[Seen] = field(default_factory=list)
    faults: dict[str, deque[Answer]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def orders(self) -> list[Seen]:
        """The orders alone, without the fetching of images."""
        return [seen for seen in self.seen if seen.method == "POST"]

    def will(self, provider: str, *answers: Answer) -> None:
        """Let a provider answer its next orders so."""
        self.faults.setdefault(provider, deque()).extend(answers)


class Conversation(BaseHTTPRequestHandler):
    """One connection to the box."""

    protocol_version = "HTTP/1.1"
    box: Box

    def do_POST(self) -> None:
        """Take an order, and answer it as the provider's next fault says."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        seen = Seen("POST", self.path, {name.lower(): text for name, text in self.headers.items()}, body)
        self.order = seen
        self.box.seen.append(seen)
        waiting = self.box.faults.get(seen.provider)
        (waiting.popleft() if waiting else draw)(self)

    def do_GET(self) -> None:
        """Hand a file out."""
        self.box.seen.append(Seen("GET", self.path, dict(self.headers.items()), None))
        if self.path == "/api/whoami-v2":
            known = self.headers["Authorization"] == f"Bearer {KEY}"
            self.say(200 if known else 401, {"name": "me"} if known else {"error": "Invalid credentials"})
        elif self.path in self.box.files:
            self.reply(200, "image/png", self.box.files[self.path])
        else:
            self.reply(404, "text/html", b"<h1>Not found</h1>")

    def reply(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """Answer."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def say(self, status: int, told: Any, **headers: str) -> None:
        """Answer with JSON."""
        self.reply(status, "application/json", json.dumps(told).encode(), **headers)

    def offer(self, image: bytes) -> str:
        """Keep a file and return its address."""
        path = f"/files/{len(self.box.files)}.png"
        self.box.files[path] = image
        return self.box.url + path

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def size_of(order: Seen) -> tuple[int, int]:
    """Return what a provider draws for an order, by its own fields."""
    match order.provider:
        case "fal-ai":
            return order.body["image_size"]["width"], order.body["image_size"]["height"]
        case "replicate":
            side = {"0.25": 512, "1": 1024}[order.body["input"]["megapixels"]]
            return side, side
        case _:
            return order.body["parameters"]["width"], order.body["parameters"]["height"]


def picture(size: tuple[int, int], seed: int = 0) -> bytes:
    """Return a PNG that is not flat."""
    gradient = Image.linear_gradient("L").resize(size)
    return as_png(ImageOps.colorize(gradient, (seed & 255, 0, 0), (0, 255, seed >> 8 & 255)))


def as_png(image: Image.Image) -> bytes:
    """Return an image's file."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def deliver(conversation: Conversation, image: bytes, **told: Any) -> None:
    """Deliver an image as the order's provider does."""
    match conversation.order.provider:
        case "fal-ai":
            images = [{"url": conversation.offer(image), "content_type": "image/png"}]
            conversation.say(200, {"images": images, "has_nsfw_concepts": [False], "seed": 1} | told)
        case "replicate":
            output = [conversation.offer(image)]
            conversation.say(201, {"id": "p1", "status": "succeeded", "output": output, "error": None} | told)
        case _:
            conversation.reply(200, "image/png", image)


def draw(conversation: Conversation) -> None:
    """Deliver what was ordered."""
    deliver(conversation, picture(size_of(conversation.order)))


@contextmanager
def open_box() -> Iterator[Box]:
    """Run a box on a port of the system's choice."""
    box = Box()
    handler = type("Handler", (Conversation,), {"box": box})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        server.daemon_threads = True
        box.url = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield box
        finally:
            box.closing.set()
            server.shutdown()
            thread.join()
