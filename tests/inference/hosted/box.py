"""A fake of Hugging Face's router and its providers: a server on loopback, with faults on demand."""

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
"""The valid key."""

Response = Callable[["Conversation"], None]


@dataclass(frozen=True)
class ReceivedRequest:
    """An HTTP request to the fake router."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any

    @property
    def provider(self) -> str:
        """The provider in the request's path."""
        return self.path.split("/")[1]


@dataclass
class Box:
    """The received requests, and the next responses of each provider; by default a provider draws."""

    url: str = ""
    requests: list[ReceivedRequest] = field(default_factory=list)
    faults: dict[str, deque[Response]] = field(default_factory=dict)
    files: dict[str, bytes] = field(default_factory=dict)
    pages: dict[str, Response] = field(default_factory=dict)
    """What is answered at other paths."""

    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def orders(self) -> list[ReceivedRequest]:
        """The requests for images, without the downloads of images."""
        return [request for request in self.requests if request.method == "POST"]

    def will(self, provider: str, *responses: Response) -> None:
        """Set a provider's responses to its next orders."""
        self.faults.setdefault(provider, deque()).extend(responses)


class Conversation(BaseHTTPRequestHandler):
    """One connection to the server."""

    protocol_version = "HTTP/1.1"
    box: Box

    def do_POST(self) -> None:
        """Respond to an order with the provider's next fault, or with an image."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        headers = {name.lower(): text for name, text in self.headers.items()}
        request = ReceivedRequest("POST", self.path, headers, body)
        self.order = request
        self.box.requests.append(request)
        faults = self.box.faults.get(request.provider)
        (faults.popleft() if faults else draw)(self)

    def do_GET(self) -> None:
        """Send a file, or the owner of a key."""
        self.box.requests.append(ReceivedRequest("GET", self.path, dict(self.headers.items()), None))
        if self.path == "/api/whoami-v2":
            known = self.headers["Authorization"] == f"Bearer {KEY}"
            self.say(200 if known else 401, {"name": "me"} if known else {"error": "Invalid credentials"})
        elif self.path in self.box.files:
            self.reply(200, "image/png", self.box.files[self.path])
        elif self.path in self.box.pages:
            self.box.pages[self.path](self)
        else:
            self.reply(404, "text/html", b"<h1>Not found</h1>")

    def reply(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        """Send a response."""
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        for name, text in headers.items():
            self.send_header(name.replace("_", "-"), text)
        self.end_headers()
        self.wfile.write(body)

    def say(self, status: int, content: Any, **headers: str) -> None:
        """Send a JSON response."""
        self.reply(status, "application/json", json.dumps(content).encode(), **headers)

    def offer(self, image: bytes) -> str:
        """Store a file and return its URL."""
        path = f"/files/{len(self.box.files)}.png"
        self.box.files[path] = image
        return self.box.url + path

    def log_message(self, *_: object) -> None:
        """Log nothing."""


def size_of(order: ReceivedRequest) -> tuple[int, int]:
    """Return the size in pixels that a provider draws for an order."""
    match order.provider:
        case "fal-ai":
            return order.body["image_size"]["width"], order.body["image_size"]["height"]
        case "replicate":
            side = {"0.25": 512, "1": 1024}[order.body["input"]["megapixels"]]
            return side, side
        case _:
            return order.body["parameters"]["width"], order.body["parameters"]["height"]


def name_image(conversation: Conversation, url: str) -> None:
    """Respond with the URL of an image, in the format of the order's provider."""
    if conversation.order.provider == "fal-ai":
        conversation.say(200, {"images": [{"url": url}], "has_nsfw_concepts": [False]})
    else:
        conversation.say(201, {"id": "p1", "status": "succeeded", "output": [url], "error": None})


def picture(size: tuple[int, int], seed: int = 0) -> bytes:
    """Return a PNG that is not flat."""
    gradient = Image.linear_gradient("L").resize(size)
    return as_png(ImageOps.colorize(gradient, (seed & 255, 0, 0), (0, 255, seed >> 8 & 255)))


def as_png(image: Image.Image) -> bytes:
    """Return an image as PNG bytes."""
    file = BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def deliver(conversation: Conversation, image: bytes, **fields: Any) -> None:
    """Respond with an image in the format of the order's provider. fields: override its JSON."""
    match conversation.order.provider:
        case "fal-ai":
            images = [{"url": conversation.offer(image), "content_type": "image/png"}]
            conversation.say(200, {"images": images, "has_nsfw_concepts": [False], "seed": 1} | fields)
        case "replicate":
            output = [conversation.offer(image)]
            content = {"id": "p1", "status": "succeeded", "output": output, "error": None}
            conversation.say(201, content | fields)
        case _:
            conversation.reply(200, "image/png", image)


def draw(conversation: Conversation) -> None:
    """Respond with an image of the ordered size."""
    deliver(conversation, picture(size_of(conversation.order)))


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: Any) -> None:
        """Print nothing where a client hangs up in the middle of a flood."""


@contextmanager
def open_box() -> Iterator[Box]:
    """Run the server on a free port until the body ends."""
    box = Box()
    handler = type("Handler", (Conversation,), {"box": box})
    with _Server(("127.0.0.1", 0), handler) as server:
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
