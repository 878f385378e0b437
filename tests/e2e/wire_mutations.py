"""Requests as no good client sends them, drawn at random from a seed."""

from collections.abc import Callable, Iterator
from random import Random

Build = Callable[[Random, bytes, str], bytes]
"""Makes the bytes of one connection from chance, a valid line of authorization and a project's path."""

METHODS = (
    b"GET",
    b"POST",
    b"PUT",
    b"DELETE",
    b"HEAD",
    b"OPTIONS",
    b"PATCH",
    b"TRACE",
    b"CONNECT",
    b"PRI",
    b"BREW",
)
VERSIONS = (b"HTTP/1.1", b"HTTP/1.0", b"HTTP/0.9", b"HTTP/2.0", b"HTTP/1.", b"http/1.1", b"HTTP/1.1 x", b"")
TARGETS = (
    b"/api/avatar-creator/presets",
    b"/api/avatar-creator/projects",
    b"/api/credits/balance?limit=%00",
    b"/healthz",
    b"/uploads/avatar-creator/../../etc/passwd",
    b"/api/avatar-creator/avatars/%2e%2e%2f%2e%2e",
    b"http://other.example/healthz",
    b"https://x:99999999/healthz",
    b"other.example:443",
    b"*",
    b"//healthz",
    b"/%",
    b"/\xff\xfe",
    b"/?" + b"a=b&" * 500,
    b"/" + b"a" * 40_000,
    b"",
)
NUMBERS = (
    b"0",
    b"1",
    b"10",
    b"-1",
    b"+5",
    b"5, 5",
    b"0x10",
    b"1e3",
    b"9" * 19,
    b"9" * 400,
    b" ",
    b"5\x00",
    b"",
)
CODINGS = (
    b"chunked",
    b"gzip, chunked",
    b"chunked, gzip",
    b"identity",
    b"xchunked",
    b"chunked\x00",
    b" chunked",
)
CHUNK_SIZES = (b"0", b"5", b"ffffffffffffffff", b"-1", b"5;a=" + b"b" * 50_000, b"0x5", b"", b"5 ", b"g")
ENDS = (b"\r\n", b"\n", b"\r", b"\r\r\n", b"\n\r")
BODY = b'{"name": "Ada", "prompt": "portrait of a woman"}'
HEADERS = (
    b"Connection: keep-alive",
    b"Connection: close",
    b"Connection: upgrade, close",
    b"Upgrade: websocket",
    b"Upgrade: h2c",
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
    b"Expect: 100-continue",
    b"Expect: 200-ok",
    b"Host: ",
    b"Host: a, b",
    b"Host: [::1",
    b"X-Forwarded-For: 1.2.3.4, " + b"9" * 300,
    b"X-Request-Id: a\tb",
    b"Range: bytes=0-,1-,2-",
    b"Accept-Encoding: gzip;q=x",
    b"Cookie: " + b"a=b; " * 2000,
    b"Origin: null",
    b"Access-Control-Request-Method: GET",
    b"Content-Type: multipart/form-data",
    b"Content-Type: application/json; charset=utf-7",
    b"Idempotency-Key: " + b"k" * 300,
    b"Last-Event-ID: -5",
    b"Transfer-Encoding : chunked",
    b"Content-Length : 5",
    b" folded: value",
    b"no colon",
    b": no name",
    b"a\x00b: c",
    b"a: b\x00c",
    b"a: \xff\xfe",
    b"x" * 9000 + b": y",
)


def connections(seed: int, authorization: bytes, project: str) -> Iterator[tuple[str, bytes]]:
    """Yield kinds of malformed traffic and the bytes of one connection each, without end."""
    chance = Random(seed)
    builders: tuple[Build, ...] = (_request, _smuggling, _chunks, _pipelined, _damaged, _noise)
    while True:
        build = chance.choice(builders)
        yield build.__name__.lstrip("_"), build(chance, authorization, project)


def _head(chance: Random, authorization: bytes, *lines: bytes, target: bytes | None = None) -> bytes:
    """Return a head with few or many faults."""
    chosen = chance.choice(TARGETS) if target is None else target
    first = b" ".join(
        [
            chance.choices(METHODS, (20, 20, *[1] * 9))[0],
            chosen,
            chance.choices(VERSIONS, (20, 4, *[1] * 6))[0],
        ]
    )
    others = chance.sample(HEADERS, chance.choice((0, 1, 2, 5)))
    kept = [line for line in (b"Host: x", authorization) if chance.random() < 0.9]
    end = chance.choices(ENDS, (20, 3, 1, 1, 1))[0]
    return end.join([first, *kept, *others, *lines, b"", b""])


def _request(chance: Random, authorization: bytes, project: str) -> bytes:
    length = b"Content-Length: " + chance.choice((*NUMBERS, str(len(BODY)).encode()))
    return _head(chance, authorization, length) + BODY


def _smuggling(chance: Random, authorization: bytes, project: str) -> bytes:
    """Two lengths of one body: a server that believes the wrong one takes the rest for a request."""
    lines = [b"Content-Length: " + chance.choice(NUMBERS) for _ in range(chance.choice((1, 2)))]
    lines += [b"Transfer-Encoding: " + chance.choice(CODINGS) for _ in range(chance.choice((0, 1, 2)))]
    chance.shuffle(lines)
    hidden = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    target = project.encode() + b"/avatars/generate"
    return _head(chance, authorization, *lines, target=target) + b"0\r\n\r\n" + hidden


def _chunks(chance: Random, authorization: bytes, project: str) -> bytes:
    target = project.encode() + chance.choice((b"/avatars/generate", b"/avatars/upload", b""))
    head = _head(chance, authorization, b"Transfer-Encoding: chunked", target=target)
    for _ in range(chance.choice((1, 2, 20))):
        head += chance.choice(CHUNK_SIZES) + chance.choice(ENDS) + BODY[:5] + chance.choice(ENDS)
    return head + chance.choice((b"0\r\n\r\n", b"0\r\nTrailer: " + b"t" * 500 + b"\r\n\r\n", b""))


def _pipelined(chance: Random, authorization: bytes, project: str) -> bytes:
    good = b"\r\n".join([b"GET /api/credits/balance HTTP/1.1", b"Host: x", authorization, b"", b""])
    stream = b"\r\n".join([b"GET /api/avatar-creator/events HTTP/1.1", b"Host: x", authorization, b"", b""])
    parts = [good * chance.choice((1, 3, 400)), _request(chance, authorization, project), stream]
    chance.shuffle(parts)
    return b"".join(parts)


def _damaged(chance: Random, authorization: bytes, project: str) -> bytes:
    """Change, cut or repeat some bytes of something that was nearly valid."""
    made = bytearray(_request(chance, authorization, project))
    for _ in range(chance.choice((1, 3, 30))):
        at = chance.randrange(len(made))
        match chance.randrange(3):
            case 0:
                made[at] = chance.choice((0, 9, 10, 13, 32, 58, 127, 128, 255))
            case 1:
                del made[at : at + chance.randrange(20)]
                made += b" "
            case _:
                made[at:at] = made[at : at + chance.randrange(200)]
    return bytes(made)


def _noise(chance: Random, authorization: bytes, project: str) -> bytes:
    return chance.choice(
        (
            chance.randbytes(chance.choice((1, 100, 40_000))),
            b"\r\n" * chance.choice((1, 30_000)),
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + chance.randbytes(500),  # TLS
            b"\x00" * 1000,
        )
    )
