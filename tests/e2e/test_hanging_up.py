"""Clients that leave in the middle of something: no fault of the server, and nothing is charged."""

import contextlib
import socket
import struct
import time

import pytest

from tests.e2e.edge import running_edge
from tests.e2e.program import wait_for

pytestmark = pytest.mark.e2e

FORM = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + b"\0" * 2**18
EXPECT = "Expect: 100-continue"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """An API process that logs everything."""
    with running_edge(tmp_path_factory.mktemp("hanging-up"), LOG_LEVEL="debug") as running:
        yield running


def leave(connection, how):
    """Close a connection, or reset it as a client does that was killed."""
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


@pytest.fixture(params=["close", "reset"])
def left(api, request):
    """Send something, leave, and return the lines that the log has of it."""

    def act(*sent, wait_s=0.1, count=5):
        before = len(api.lines())
        for _ in range(count):
            connection = api.connect()
            for piece in sent:
                connection.sendall(piece)
                time.sleep(0.02)
            time.sleep(wait_s)
            with contextlib.suppress(OSError):
                leave(connection, request.param)
        api.quiet()
        wait_for("each request is logged", lambda: len(answered(api, before)) >= count, 30)
        return answered(api, before)

    yield act
    assert [line.get("exception", line) for line in api.faults()] == []
    assert api.spent() == 0


def answered(api, before):
    """Return the lines of requests since then."""
    lines = [line for line in api.lines()[before:] if line.get("route") != "/readyz"]
    assert {line["event"] for line in lines} <= {"request.answered", "request.client_gone"}
    return lines


class TestBodies:
    @pytest.mark.parametrize("more", [(), (EXPECT,)], ids=["", "expect"])
    def test_json(self, api, left, more):
        """A client that leaves in the middle of its JSON has one line in the log each time."""
        kind = ("Content-Type: application/json", "Content-Length: 1000", *more)
        assert len(left(api.head("POST", f"{api.project}/avatars/generate", *kind), b'{"name": "A')) == 5

    def test_chunks(self, api, left):
        """A client that leaves in the middle of a chunk has one line in the log each time."""
        kind = ("Content-Type: application/json", "Transfer-Encoding: chunked")
        assert len(left(api.head("POST", f"{api.project}/avatars/generate", *kind), b"100\r\n{")) == 5

    @pytest.mark.parametrize("more", [(), (EXPECT,)], ids=["", "expect"])
    def test_upload(self, api, left, more):
        """A client that leaves in the middle of its image has one line in the log each time."""
        kind = ("Content-Type: multipart/form-data; boundary=b", "Content-Length: 5000000", *more)
        assert len(left(api.head("POST", f"{api.project}/avatars/upload", *kind), FORM)) == 5

    def test_before_the_answer(self, api, left):
        """A client that has sent everything but does not wait has one line in the log each time."""
        assert len(left(api.head("GET", "/api/avatar-creator/projects"), wait_s=0)) == 5

    def test_without_a_route(self, api, left):
        """A client that leaves in a body that nobody reads has one line in the log each time."""
        assert len(left(api.head("POST", "/nowhere", "Content-Length: 1000"), b"half")) == 5


class TestStreams:
    def test_events(self, api, left):
        """A client that leaves its stream of events has one line in the log each time."""
        assert len(left(api.head("GET", "/api/avatar-creator/events"))) == 5

    def test_waiting(self, api, left):
        """A client that leaves while it waits for its generation has one line in the log each time."""
        with api.client() as client:
            body = {"name": "Ada", "prompt": "portrait of a woman"}
            made = client.post(f"{api.project}/avatars/generate", json=body).json()["generation"]["id"]
        lines = left(api.head("GET", f"/api/avatar-creator/generations/{made}?wait=30"))
        with api.client() as client:
            client.post(f"/api/avatar-creator/generations/{made}/cancel")
        assert sum(line["method"] == "GET" for line in lines) == 5

    def test_a_stream_with_a_request_behind_it(self, api, left):
        """A client that sent a second request behind its stream and leaves gives the stream free."""
        second = api.head("GET", "/api/avatar-creator/presets")
        lines = left(api.head("GET", "/api/avatar-creator/events"), second, second)
        assert len(lines) == 5
