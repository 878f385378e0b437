"""Answers to clients that are still sending, from a real server over real sockets."""

import json
import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.databases import ONE_DATABASE
from tests.server.http.serving import served

pytestmark = ONE_DATABASE

PREFIX = "/api/avatar-creator"
HOME = "http://localhost:5173"
LARGE = 20 * 2**20


@pytest.fixture
def address(settings):
    """The address of the application behind a real server."""
    with served(settings) as url:
        parts = urlsplit(url)
        yield parts.hostname, parts.port


def head(account, path, *headers):
    """Return the head of a POST request."""
    lines = [
        f"POST {PREFIX}{path} HTTP/1.1",
        "Host: localhost",
        f"Origin: {HOME}",
        f"Authorization: Bearer {account.token}",
        *headers,
    ]
    return "\r\n".join([*lines, "", ""]).encode()


def parsed(received):
    """Return status, headers in lower case and decoded body of an answer."""
    start, _, body = received.partition(b"\r\n\r\n")
    status, *headers = start.decode().lower().split("\r\n")
    return int(status.split()[1]), headers, json.loads(body)


def read_to_the_end(connection):
    received = b""
    while more := connection.recv(65_536):
        received += more
    return received


class TestLargeBodies:
    @pytest.mark.parametrize("path", ["/projects", "/nope"])
    def test_a_client_that_sends_all_before_it_reads_gets_the_answer(self, address, make_account, path):
        """A body of 20 MB on a connection that closes is refused in JSON, with CORS headers and no reset."""
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(head(make_account(), path, f"Content-Length: {LARGE}", "Connection: close"))
            for _ in range(LARGE // 65_536):
                connection.sendall(b"x" * 65_536)
            status, headers, body = parsed(read_to_the_end(connection))
        assert status == (404 if path == "/nope" else 400)
        assert body["error"]["message"] == body["message"]
        assert f"access-control-allow-origin: {HOME}" in headers
        assert any(header.startswith("x-request-id: ") for header in headers)

    def test_a_body_of_unknown_length_ends_its_connection(self, address, make_account):
        """A chunked body beyond the limit is refused, and the connection is not used again."""
        chunk = b"10000\r\n" + b"x" * 65_536 + b"\r\n"
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(head(make_account(), "/projects", "Transfer-Encoding: chunked"))
            for _ in range(100):
                connection.sendall(chunk)
            connection.sendall(b"0\r\n\r\n")
            status, headers, body = parsed(read_to_the_end(connection))
        assert (status, body["error"]["code"]) == (400, "VALIDATION_ERROR")
        assert "connection: close" in headers

    def test_a_client_that_waits_to_be_asked_is_answered_at_once(self, address, make_account):
        """To `Expect: 100-continue` with too large a body the refusal is the first and only answer."""
        with socket.create_connection(address, timeout=60) as connection:
            announced = (f"Content-Length: {LARGE}", "Expect: 100-continue")
            connection.sendall(head(make_account(), "/projects", *announced))
            received = connection.recv(65_536)
            connection.shutdown(socket.SHUT_WR)
            status, headers, body = parsed(received + read_to_the_end(connection))
        assert (status, body["error"]["code"]) == (400, "VALIDATION_ERROR")
        assert "connection: close" in headers

    def test_a_connection_goes_on_after_a_refusal(self, address, make_account):
        """A client that keeps its connection can use it again after a refused body."""
        account = make_account()
        url = f"http://{address[0]}:{address[1]}{PREFIX}/projects"
        with httpx.Client(timeout=60, headers=account.headers) as client:
            refused = client.post(url, content=b"x" * 2**20)
            assert (refused.status_code, refused.json()["error"]["code"]) == (400, "VALIDATION_ERROR")
            assert "connection" not in refused.headers
            assert client.post(url, json={"name": "Mine"}).status_code == 200


class TestWebSocket:
    def test_an_attempt_is_a_request_like_others(self, address, log_lines):
        """Who asks for a WebSocket gets the answer of the route, and the query is not logged."""
        upgrade = {
            "Connection": "Upgrade",
            "Upgrade": "websocket",
            "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==",
            "Sec-WebSocket-Version": "13",
        }
        with httpx.Client(timeout=60) as client:
            url = f"http://{address[0]}:{address[1]}/nope?hidden-query"
            assert client.get(url, headers=upgrade).json()["error"]["code"] == "ENDPOINT_NOT_FOUND"
        assert "hidden-query" not in json.dumps(log_lines())


class TestDisconnect:
    def test_a_client_that_leaves_is_no_bug(self, address, make_account, log_lines):
        """A connection that closes in the middle of a body is logged as a refusal, without a traceback."""
        with socket.create_connection(address, timeout=60) as connection:
            connection.sendall(head(make_account(), "/projects", "Content-Length: 100") + b"{")
        with httpx.Client(timeout=60) as client:
            while not (lines := [line for line in log_lines() if line.get("method") == "POST"]):
                client.get(f"http://{address[0]}:{address[1]}/healthz")
        assert lines[0]["status"] == 400
        assert not [line for line in log_lines() if "exception" in line]
