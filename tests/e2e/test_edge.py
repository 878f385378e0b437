"""What a client without a key can cost a real API process: neither its memory nor its descriptors."""

import contextlib
import json
import os
import select
import time

import pytest
from PIL import Image

from tests.e2e.edge import ATTACKER, MAX_MIB, MIB, Bystander, read_all, running_edge
from tests.e2e.program import wait_for
from tests.server.uploads.files import saved

pytestmark = pytest.mark.e2e

START = b"GET /api/avatar-creator/presets HTTP/1.1\r\nHost: x\r\n"


@pytest.fixture(scope="module")
def api(tmp_path_factory):
    """An API process with 256 descriptors and short deadlines."""
    deadlines = {"HTTP_HEADER_TIMEOUT_S": "2", "HTTP_STALL_TIMEOUT_S": "2", "LOG_LEVEL": "debug"}
    with running_edge(tmp_path_factory.mktemp("edge"), **deadlines) as running:
        yield running


@pytest.fixture
def beside(api, record_property, request):
    """A client that behaves well beside the attack of a test, and is answered all the time."""
    with Bystander(api) as bystander:
        yield bystander
        api.hang_up()
    figure = f"p99 beside it {bystander.p99_ms:.0f} ms, peak {api.peak_mib():.0f} MiB"
    record_property("figure", f"edge, {request.node.name}: {figure}")
    assert bystander.failures == []
    assert api.peak_mib() < MAX_MIB
    api.quiet()


def flood(connection, piece, total_bytes):
    """Send a piece again and again until so much is sent or the server has had enough; return the answer."""
    with contextlib.suppress(ConnectionError):
        for _ in range(total_bytes // len(piece)):
            connection.sendall(piece)
    return read_all(connection)


class TestHeads:
    def test_headers_without_end(self, api, beside):
        """80 MB of headers are refused with 431 in the contract's shape."""
        with api.connect() as connection:
            answer = flood(connection, START + b"x-a: " + b"a" * 1024 + b"\r\n", 2 * len(START) + 1100)
        with api.connect() as connection:
            connection.sendall(START)
            answer = flood(connection, (b"x-a: " + b"a" * 1017 + b"\r\n") * 64, 80 * MIB)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 431 ")
        assert b"connection: close" in head
        error = json.loads(body)
        assert (error["success"], error["error"]["statusCode"]) == (False, 431)
        assert error["message"] == error["error"]["message"]

    @pytest.mark.parametrize("piece", [b"a", b"\r\n", b" "], ids=["value", "empty lines", "blanks"])
    def test_one_header_without_end(self, api, beside, piece):
        """One header of 300 MB is never held, whatever it consists of."""
        with api.connect() as connection:
            connection.sendall(START + b"x-a: " if piece != b"\r\n" else b"")
            flood(connection, piece * (MIB // len(piece)), 300 * MIB)

    def test_a_target_without_end(self, api, beside):
        """A request line of 100 MB is never held."""
        with api.connect() as connection:
            connection.sendall(b"GET /")
            assert flood(connection, b"a" * MIB, 100 * MIB)[:12] in (b"HTTP/1.1 431", b"")

    def test_many_small_headers(self, api, beside):
        """More than 100 headers are refused, however short they are."""
        with api.connect() as connection:
            connection.sendall(START + b"a: b\r\n" * 100 + b"\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 431 ")
        with api.connect() as connection:
            connection.sendall(START + b"a: b\r\n" * 98 + b"connection: close\r\n\r\n")
            assert read_all(connection).startswith(b"HTTP/1.1 200 ")

    def test_trailers_and_chunk_extensions_without_end(self, api, beside):
        """What stands beside the data of a chunked body is bounded, too, and trailers become no headers."""
        chunked = api.head("POST", f"{api.project}/avatars/generate", "Transfer-Encoding: chunked")
        for beside_data in (b"0\r\nx-a: ", b"1;a="):
            with api.connect() as connection:
                connection.sendall(chunked + beside_data)
                flood(connection, b"a" * MIB, 100 * MIB)

    def test_a_head_that_dribbles(self, api, beside):
        """A head that is not complete within the deadline is answered 408, though each byte comes in time."""
        with api.connect() as connection:
            connection.sendall(START)
            sent = 0
            with contextlib.suppress(ConnectionError):
                while not closing(connection) and sent < 200:
                    connection.sendall(b"x-a: a\r\n"[sent % 8 :][:1])
                    sent += 1
                    time.sleep(0.1)
            assert read_all(connection)[:13] in (b"HTTP/1.1 408 ", b"")
        assert sent < 200


class TestConnections:
    def test_half_open(self, api, beside):
        """400 half-open connections leave descriptors for others, and are closed."""
        opened = []
        for number in range(400):
            with contextlib.suppress(ConnectionError):
                opened.append(api.connect(f"127.0.0.{2 + number % 8}"))
                opened[-1].sendall(START)
        wait_for("all are closed", lambda: all(closed(each) for each in opened), 30)

    def test_silent(self, api, beside):
        """Connections that never send anything are closed without an answer."""
        opened = [api.connect() for _ in range(40)]
        assert [read_all(each) for each in opened] == [b""] * len(opened)

    def test_one_address(self, tmp_path):
        """One address has its share of connections, and a trusted proxy any number."""
        shares = {"HTTP_MAX_CONNECTIONS_PER_ADDRESS": "20", "TRUSTED_PROXIES": "127.0.0.3"}
        with running_edge(tmp_path, **shares) as api:
            opened = [api.connect() for _ in range(20)]
            for each in opened:
                each.sendall(START)
            with api.connect() as one_more:
                assert read_all(one_more).startswith(b"HTTP/1.1 429 ")
            with api.client() as other:
                assert other.get("/api/credits/balance").status_code == 200
            opened += [api.connect("127.0.0.3") for _ in range(30)]
            opened[-1].sendall(START + b"\r\n")
            assert opened[-1].recv(12) == b"HTTP/1.1 200"

    def test_the_soft_limit_of_descriptors_is_raised(self, tmp_path):
        """Where the system allows more descriptors than it gives, the API takes them."""
        with running_edge(tmp_path, descriptors="-Sn 256", HTTP_MAX_CONNECTIONS="300") as api:
            opened = [api.connect(f"127.0.0.{2 + number % 8}") for number in range(280)]
            for each in opened:
                each.sendall(START)
            with api.client() as other:
                assert other.get("/api/credits/balance").status_code == 200
            assert api.process.num_fds() > 280


class TestStalled:
    @pytest.mark.parametrize("route", ["generate", "upload"])
    def test_a_body_that_dribbles(self, api, beside, route):
        """A body that comes too slowly is ended, and nothing is charged."""
        kind = "application/json" if route == "generate" else "multipart/form-data; boundary=b"
        head = ("Content-Length: 60000", f"Content-Type: {kind}")
        sent = 0
        with api.connect() as connection:
            connection.sendall(api.head("POST", f"{api.project}/avatars/{route}", *head))
            with contextlib.suppress(ConnectionError):
                while not closing(connection) and sent < 200:
                    connection.sendall(b" ")
                    sent += 1
                    time.sleep(0.1)
            assert read_all(connection)[:13] in (b"HTTP/1.1 408 ", b"")
        assert sent < 200
        assert api.spent() == 0

    def test_a_reader_that_reads_nothing(self, api, beside):
        """A client that asks for an image and reads nothing is dropped, whatever it read at first."""
        with api.client() as client:
            noise = Image.frombytes("RGB", (1700, 1700), os.urandom(3 * 1700**2))
            form = {"files": {"image": ("a.jpg", saved(noise, "JPEG", quality=50))}, "data": {"name": "Ada"}}
            avatar = client.post(f"{api.project}/avatars/upload", **form).json()["avatar"]
        for _ in range(8):
            api.connect().sendall(api.head("GET", avatar["baseImageUrl"]) * 3)
        wait_for("the answers have begun", api.connections)
        wait_for("all are dropped", lambda: all(each.raddr.ip != ATTACKER for each in api.connections()), 30)


def closing(connection):
    """Whether the server has answered or closed a connection."""
    return bool(select.select([connection], [], [], 0)[0])


def closed(connection):
    """Whether the server has closed or reset a connection."""
    if connection.fileno() < 0:
        return True
    connection.setblocking(False)  # noqa: FBT003  # the library's name
    try:
        while connection.recv(65_536):
            pass
    except BlockingIOError:
        return False
    except ConnectionError:
        pass
    connection.close()
    return True
