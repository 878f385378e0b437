"""The processes that decode uploads, as the API sees them: few, warm, and replaced when they die."""

import asyncio
import contextlib
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Final

from server.images.store import Variant
from server.logs import get_log
from server.uploads.errors import DAMAGED, NO_ROOM, TOO_SLOW, DecodersBusy, ImageRefused

log = get_log(__name__)

OTHERS_S: Final = 30  # on the clock, beside the processor time of an upload: other programs run, too
STOP_S: Final = 5.0
JOB: Final = b"1"
ANSWER_BYTES: Final = 4096
STOPS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGKILL)
"""What ends a decoding from outside, as when the service is stopped or the machine has no memory left."""
KEPT_VARIABLES: Final = ("PATH", "LD_LIBRARY_PATH", "LANG")
"""What a decoder inherits of the environment. The rest may be secrets."""


@dataclass(frozen=True)
class Bounds:
    """What decoding uploads may take of the machine. `UploadSettings` describes the fields."""

    max_pixels: int
    decoders: int
    wait_s: float
    cpu_s: int


@dataclass(frozen=True)
class Picture:
    """A decoded upload, and its files as an image has them, each at its beginning."""

    width_px: int
    height_px: int
    files: Mapping[Variant, BinaryIO]


class DecoderLost(Exception):
    """A decoder process died or was stopped before it answered."""


class Decoders:
    """A pool of decoder processes. A process is started when an upload finds none idle."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._turns = asyncio.Semaphore(bounds.decoders)
        self._idle: list[_Decoder] = []

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait until fewer uploads are being decoded than may be. No thread waits meanwhile.

        Raises:
            DecodersBusy: the wait is too long.

        """
        try:
            async with asyncio.timeout(self._bounds.wait_s):
                await self._turns.acquire()
        except TimeoutError:
            raise DecodersBusy from None
        try:
            yield
        finally:
            self._turns.release()

    @contextmanager
    def decoded(self, source: BinaryIO) -> Iterator[Picture]:
        """Decode an uploaded file; the files of the result are gone at the end.

        Raises:
            ImageRefused: it cannot be an avatar's image.
            DecodersBusy: the machine was too busy or too short of memory to find out.

        """
        source.flush()
        with ExitStack() as stack:
            files = {variant: stack.enter_context(tempfile.TemporaryFile()) for variant in Variant}
            answer = self._ask([source.fileno(), *(files[variant].fileno() for variant in Variant)])
            if "refused" in answer:
                raise ImageRefused(answer["refused"])
            if "exit" in answer:
                raise _cause_of_death(answer["exit"])
            for file in files.values():
                file.seek(0)
            yield Picture(answer["width"], answer["height"], files)

    def close(self) -> None:
        """Stop the idle processes."""
        while self._idle:
            self._idle.pop().stop()

    def _ask(self, descriptors: Sequence[int]) -> dict[str, Any]:
        decoder = self._living()
        try:
            answer = decoder.ask(descriptors)
        except (DecoderLost, OSError) as error:
            decoder.stop()
            log.error("upload.decoder_lost", cause=repr(error))  # noqa: TRY400  # nothing to trace
            raise DecodersBusy from error
        self._idle.append(decoder)
        return answer

    def _living(self) -> "_Decoder":
        """Return a process that is idle and alive, or a new one."""
        with contextlib.suppress(IndexError):  # no more idle ones; other threads take from them, too
            while not (decoder := self._idle.pop()).alive:
                decoder.stop()
            return decoder
        return _Decoder(self._bounds)


class _Decoder:
    """One decoder process: `server.uploads.decoder_process`."""

    def __init__(self, bounds: Bounds) -> None:
        self._timeout_s = OTHERS_S + bounds.cpu_s
        self._jobs, theirs = socket.socketpair()
        command = [sys.executable, "-P", "-m", "server.uploads.decoder_process"]
        limits = [str(bounds.max_pixels), str(bounds.cpu_s)]
        kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
        with theirs:
            self._process = subprocess.Popen(  # noqa: S603  # our own module
                [*command, str(theirs.fileno()), *limits],
                env=kept | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                pass_fds=[theirs.fileno()],
                start_new_session=True,  # a group of its own, which dies as one
            )

    @property
    def alive(self) -> bool:
        """Whether the process has not ended."""
        return self._process.poll() is None

    def ask(self, descriptors: Sequence[int]) -> dict[str, Any]:
        """Have one upload decoded and return the answer.

        Raises:
            DecoderLost, OSError: the process died, or its time ran out.

        """
        reading, writing = os.pipe()
        try:
            try:
                socket.send_fds(self._jobs, [JOB], [*descriptors, writing])
            finally:
                os.close(writing)
            return self._answer(reading)
        finally:
            os.close(reading)

    def _answer(self, reading: int) -> dict[str, Any]:
        """Read until every process that holds the pipe has closed it."""
        deadline, text = time.monotonic() + self._timeout_s, b""
        poll = select.poll()
        poll.register(reading, select.POLLIN)
        while True:
            left_s = deadline - time.monotonic()
            if left_s <= 0:
                raise DecoderLost(f"no answer in {self._timeout_s} s")
            if poll.poll(left_s * 1000):
                received = os.read(reading, ANSWER_BYTES)
                if not received:
                    break
                text += received
                if len(text) > ANSWER_BYTES:
                    raise DecoderLost("an answer too long to be ours")
        if not text:
            raise DecoderLost("the process died")
        try:
            answer: dict[str, Any] = json.loads(text)
        except ValueError as error:
            raise DecoderLost("an answer that is not ours") from error
        return answer

    def stop(self) -> None:
        """End the process, and what it decodes, at once."""
        self._jobs.close()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(STOP_S)


def _cause_of_death(status: int) -> ImageRefused | DecodersBusy:
    """Return why decoding ended without an answer. status: negative, the signal."""
    log.warning("upload.decoding_died", status=status)
    if status == -signal.SIGXCPU:
        return ImageRefused(TOO_SLOW)
    if status == NO_ROOM or -status in STOPS:
        return DecodersBusy()
    return ImageRefused(DAMAGED)
