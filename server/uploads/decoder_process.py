"""The process that decodes uploads: `python -m server.uploads.decoder_process SOCKET MAX_PIXELS CPU_S`.

It waits with Pillow loaded and forks for each upload, so that no file reaches the next user's. A fork has
bounds on its memory, processor time and files, no secret in its environment, and ends with its upload.

An upload comes over the socket as one byte with four descriptors: the file, two files to write the image and
its thumbnail to, and a pipe for the answer, one JSON object: `{"width", "height"}`, `{"refused": cause}`, or
`{"exit": status}` of a fork that died (negative: its signal).
"""

import contextlib
import errno
import gc
import json
import os
import resource
import signal
import socket
import sys
import warnings
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, Final

from PIL import ExifTags, Image

from server.images.encoding import write_full, write_thumbnail
from server.uploads.decoding import FORMATS, decode
from server.uploads.errors import NO_ROOM, ImageRefused

JOB: Final = b"1"
DESCRIPTORS: Final = 4

BASE_BYTES: Final = 300 * 2**20  # of address space: Python, Pillow and a file of 10 MB
BYTES_A_PIXEL: Final = (
    24  # WebP: two canvases, the frame and the picture, then a transposed or flattened copy
)
OUTPUT_BYTES_A_PIXEL: Final = 5  # RGBA that does not compress, and a filter byte for each row of one pixel
OUTPUT_BASE_BYTES: Final = 2**20


def main(arguments: Sequence[str]) -> None:
    """Decode what comes over the socket until its other end closes."""
    descriptor, max_pixels, cpu_s = map(int, arguments)
    # Pillow refuses more than twice this before it allocates a canvas; `decode` checks exactly.
    Image.MAX_IMAGE_PIXELS = (max_pixels + 1) // 2
    signal.signal(
        signal.SIGINT, signal.SIG_DFL
    )  # a stop is a stop: as an exception it would be the file's fault
    warnings.simplefilter("ignore")  # what Pillow says of damaged files would flood the logs
    _warm_up()
    with contextlib.suppress(OSError):  # Linux: where memory ends, this process is killed and not the API
        Path("/proc/self/oom_score_adj").write_text("1000", "ascii")
    gc.freeze()  # the forks share these objects
    with socket.socket(fileno=descriptor) as jobs:
        while True:
            message, descriptors, _, _ = socket.recv_fds(jobs, len(JOB), DESCRIPTORS)
            if not message:
                return
            _fork(jobs, descriptors, max_pixels, cpu_s)


def _warm_up() -> None:
    """Decode and encode a picture of each format, so that no fork has to load a module for it."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    for name in FORMATS:
        file = BytesIO()
        Image.new("RGB", (1, 1)).save(file, name, exif=exif.tobytes())
        picture = decode(file, max_pixels=1)
        write_full(picture, BytesIO(), fast=True)
        write_thumbnail(picture, BytesIO())


def _fork(jobs: socket.socket, descriptors: Sequence[int], max_pixels: int, cpu_s: int) -> None:
    """Decode one upload in a process of its own, and wait for it."""
    *files, answer = descriptors
    child = os.fork()
    if child == 0:
        status = 1
        try:
            jobs.close()
            _limit(max_pixels, cpu_s)
            os.write(answer, json.dumps(_decode(files, max_pixels)).encode())
            status = 0
        except OSError as error:
            status = NO_ROOM if error.errno in (errno.ENOSPC, errno.EDQUOT) else 1
        finally:
            os._exit(status)
    _, waited = os.waitpid(child, 0)
    exit_status = os.waitstatus_to_exitcode(waited)
    if exit_status != 0:
        with contextlib.suppress(BrokenPipeError):  # the API died: this process ends when its socket does
            os.write(answer, json.dumps({"exit": exit_status}).encode())
    for descriptor in descriptors:
        os.close(descriptor)


def _decode(files: Sequence[int], max_pixels: int) -> dict[str, Any]:
    source, full, thumbnail = files
    try:
        with os.fdopen(source, "rb") as file:
            picture = decode(file, max_pixels)
        with os.fdopen(full, "wb") as file:
            write_full(picture, file, fast=True)
        with os.fdopen(thumbnail, "wb") as file:
            write_thumbnail(picture, file)
    except ImageRefused as refusal:
        return {"refused": refusal.cause}
    return {"width": picture.width, "height": picture.height}


def _limit(max_pixels: int, cpu_s: int) -> None:
    """Bound what decoding one upload may take of the machine."""
    for limit, value in (
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, OUTPUT_BASE_BYTES + OUTPUT_BYTES_A_PIXEL * max_pixels),
        (resource.RLIMIT_AS, BASE_BYTES + BYTES_A_PIXEL * max_pixels),
    ):
        with contextlib.suppress(ValueError, OSError):  # macOS has no limit of address space
            resource.setrlimit(limit, (value, value))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_s, cpu_s + 1))  # SIGXCPU first, then SIGKILL


if __name__ == "__main__":
    main(sys.argv[1:])
