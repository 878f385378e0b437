"""What the transport of a connection sends."""

import asyncio
import socket

import pytest
import uvloop

from server.http.bounded_protocol import MAX_UNSENT_BYTES, _Guarded

HEAD, BODY = b"h" * 400, b"b" * 1000


class Answering(asyncio.Protocol):
    """Answers whatever comes with a head and a body, and closes the connection if it is told to."""

    def connection_made(self, transport):
        """Guard the transport, as the server does."""
        self.guarded = _Guarded(transport, asyncio.get_running_loop())

    def data_received(self, data):
        """Answer."""
        self.guarded.write(HEAD)
        self.guarded.write(BODY)
        assert self.guarded.get_write_buffer_size() == len(HEAD + BODY)
        if data == b"close":
            self.guarded.close()
        if data == b"much":
            self.guarded.write(b"m" * MAX_UNSENT_BYTES)


async def asked(question: bytes) -> list[bytes]:
    """Return what each read gets of the answer, until it ends or a moment has passed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(Answering, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()

    def read() -> list[bytes]:
        with socket.create_connection(address) as client:
            client.settimeout(1)
            client.sendall(question)
            parts = [client.recv(4 * MAX_UNSENT_BYTES)]
            while parts[-1]:
                try:
                    parts.append(client.recv(4 * MAX_UNSENT_BYTES))
                except TimeoutError:
                    break
            return parts

    parts = await loop.run_in_executor(None, read)
    server.close()
    return parts


@pytest.mark.parametrize("run", [uvloop.run, asyncio.run])
class TestGuarded:
    def test_head_and_body_are_one_packet(self, run):
        """What is written in one turn of the loop arrives together."""
        assert run(asked(b"ask")) == [HEAD + BODY]

    def test_what_is_written_before_the_end_is_sent(self, run):
        """An answer that closes its connection arrives whole."""
        assert run(asked(b"close")) == [HEAD + BODY, b""]

    def test_much_is_sent_at_once(self, run):
        """Beyond a bound nothing is held back, and nothing is lost."""
        assert b"".join(run(asked(b"much"))) == HEAD + BODY + b"m" * MAX_UNSENT_BYTES
