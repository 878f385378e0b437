"""Multipart forms with one file, received within bounds: the file goes to the disk, texts stay in memory.

Litestar's own reader keeps every text whole in memory and every file on the disk before its handler is asked.
Here the handler decides when to receive, and only the fields that it names are kept.
"""

import asyncio
from collections.abc import AsyncIterator, Collection
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from litestar.concurrency import sync_to_thread
from litestar.connection import Request
from multipart import MultipartError, MultipartSegment, PushMultipartParser

from server.http.errors import BodyUnreadable, InputInvalid

if TYPE_CHECKING:
    from litestar.types import HTTPReceiveMessage

RECEIVE_TIMEOUT_S: Final = 300  # 10 MB at 300 kbit/s
MAX_PARTS: Final = 64  # four times what the contract names
MAX_TEXT_BYTES: Final = 64 * 2**10  # of all texts together, as for a body of JSON
MAX_BOUNDARY_CHARS: Final = 70  # Source: RFC 2046, section 5.1.1


@dataclass(frozen=True)
class FormRules:
    """What a form may hold. Fields that are not named here are skipped."""

    file: str
    max_file_bytes: int
    texts: Collection[str]

    @property
    def max_body_bytes(self) -> int:
        """The most that a whole body may have."""
        return self.max_file_bytes + MAX_TEXT_BYTES

    @property
    def file_too_large(self) -> InputInvalid:
        """The refusal of a larger file."""
        return _invalid(self.file, f"must have at most {self.max_file_bytes} bytes")


@dataclass
class Form:
    """A received form. file: at its beginning; it is gone when the request ends."""

    file: BinaryIO
    file_bytes: int = 0
    texts: dict[str, str] = field(default_factory=dict)


class Body:
    """The body of a request, received a piece at a time."""

    def __init__(self, request: Request[Any, Any, Any]) -> None:
        self.headers = request.headers
        self.content_type = request.content_type
        self._request = request
        self._complete = False

    async def pieces(self) -> AsyncIterator[bytes]:
        """Receive what is left.

        Raises:
            BodyUnreadable: the client has gone.

        """
        while not self._complete:
            message: HTTPReceiveMessage = await self._request.receive()  # type: ignore[assignment]  # no socket
            if message["type"] == "http.disconnect":
                self._complete = True
                raise BodyUnreadable("The request body ended early")
            self._complete = not message.get("more_body", False)
            if message["body"]:
                yield message["body"]


async def receive_form(body: Body, rules: FormRules, file: BinaryIO) -> Form:
    """Receive a form, and write its file to the given one.

    Raises:
        InputInvalid: the form breaks the rules, or is none.
        BodyUnreadable: it did not arrive.

    """
    reader = _FormReader(_boundary(body, rules), rules, Form(file))
    announced = body.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > rules.max_body_bytes:
        raise rules.file_too_large
    received = 0
    try:
        async with asyncio.timeout(RECEIVE_TIMEOUT_S):
            async for piece in body.pieces():
                received += len(piece)
                if received > rules.max_body_bytes:
                    raise rules.file_too_large
                await sync_to_thread(reader.feed, piece)
    except TimeoutError:
        raise BodyUnreadable(f"The request body did not arrive in {RECEIVE_TIMEOUT_S} seconds") from None
    return reader.finish()


def _boundary(body: Body, rules: FormRules) -> str:
    kind, options = body.content_type
    boundary = options.get("boundary", "")
    if kind != "multipart/form-data" or not 0 < len(boundary) <= MAX_BOUNDARY_CHARS:
        raise _invalid(rules.file, "must be sent as multipart/form-data with a boundary")
    return boundary


class _FormReader:
    """Feeds a parser and keeps what the rules name. The parser is Litestar's, used as a push parser."""

    def __init__(self, boundary: str, rules: FormRules, form: Form) -> None:
        self._rules = rules
        self._form = form
        self._parser = PushMultipartParser(boundary, max_segment_count=MAX_PARTS)
        self._name: str | None = None
        self._text = bytearray()
        self._text_bytes = 0
        self._seen: set[str] = set()

    def feed(self, piece: bytes) -> None:
        """Take the next piece of the body."""
        try:
            for event in self._parser.parse(piece):
                if isinstance(event, MultipartSegment):
                    self._begin(event)
                elif event is None:
                    self._end()
                else:
                    self._add(event)
        except MultipartError as error:
            raise self._unreadable from error

    def finish(self) -> Form:
        """Return the form, when all of it has come."""
        try:
            self._parser.close()
        except MultipartError as error:
            raise self._unreadable from error
        if self._rules.file not in self._seen:
            raise _invalid(self._rules.file, "is required")
        self._form.file.seek(0)
        return self._form

    @property
    def _unreadable(self) -> InputInvalid:
        return _invalid(
            self._rules.file, f"must be in a complete multipart form in UTF-8 of at most {MAX_PARTS} fields"
        )

    def _begin(self, segment: MultipartSegment) -> None:
        name, is_file = segment.name, segment.filename is not None
        self._name = name if name == self._rules.file or name in self._rules.texts else None
        if self._name is None:
            return
        if name in self._seen:
            raise _invalid(name, "must be sent once")
        if is_file != (name == self._rules.file):
            raise _invalid(name, "must be text and no file" if is_file else "must be a file and no text")
        self._seen.add(name)

    def _add(self, data: bytes) -> None:
        if self._name is None:
            return
        if self._name == self._rules.file:
            self._form.file_bytes += len(data)
            if self._form.file_bytes > self._rules.max_file_bytes:
                raise self._rules.file_too_large
            self._form.file.write(data)
            return
        self._text_bytes += len(data)
        if self._text_bytes > MAX_TEXT_BYTES:
            raise _invalid(self._name, f"must leave all texts together below {MAX_TEXT_BYTES} bytes")
        self._text += data

    def _end(self) -> None:
        if self._name is not None and self._name != self._rules.file:
            try:
                self._form.texts[self._name] = self._text.decode("utf-8")
            except UnicodeDecodeError as error:
                raise _invalid(self._name, "must be UTF-8") from error
            self._text = bytearray()
        self._name = None


def _invalid(name: str, rule: str) -> InputInvalid:
    return InputInvalid({name: [f"{name}: {rule}"]})
