"""Damaged image files without end, the same for the same seed."""

import os
import random
import struct
import zlib
from collections.abc import Iterator
from typing import Final

from tests.server.uploads import files

DEEP: Final = os.environ.get("DEEP") == "1"
MAX_CHANGES: Final = 6
EXTREMES: Final = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0x8000, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)


def mutants(seed: int, count: int) -> Iterator[bytes]:
    """Yield damaged files, made of those that are accepted and of small ones that are not."""
    rng = random.Random(seed)
    accepted = list(files.valid().values())
    corpus = accepted + [content for content, _ in files.refused().values() if len(content) < 4096]
    for _ in range(count):
        content = bytearray(rng.choice(corpus if rng.random() < 0.2 else accepted))
        for _ in range(rng.randint(1, MAX_CHANGES)):
            rng.choice(CHANGES)(rng, content, corpus)
        # Pillow checks these first: with right ones the damage reaches the code behind them.
        yield with_right_checksums(content) if rng.random() < 0.5 else bytes(content)


def _flip(rng, content, _corpus):
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _set_number(rng, content, _corpus):
    number = struct.pack(rng.choice("<>") + "I", rng.choice(EXTREMES))[-rng.choice((1, 2, 4)) :]
    start = rng.randrange(len(content) + 1)
    content[start : start + len(number)] = number


def _cut(rng, content, _corpus):
    del content[rng.randrange(len(content) + 1) :]


def _remove(rng, content, _corpus):
    start = rng.randrange(len(content) + 1)
    del content[start : start + rng.randint(1, 64)]


def _repeat(rng, content, _corpus):
    start = rng.randrange(len(content) + 1)
    content[start:start] = content[start : start + rng.randint(1, 256)] * rng.randint(1, 20)


def _insert(rng, content, _corpus):
    start = rng.randrange(len(content) + 1)
    content[start:start] = rng.randbytes(rng.randint(1, 64))


def _splice(rng, content, corpus):
    other = rng.choice(corpus)
    start, end = sorted(rng.randrange(len(other) + 1) for _ in range(2))
    at = rng.randrange(len(content) + 1)
    content[at : at + rng.choice((0, end - start))] = other[start:end]


CHANGES: Final = (_flip, _flip, _set_number, _set_number, _cut, _remove, _repeat, _insert, _splice)


def with_right_checksums(content: bytearray) -> bytes:
    """Return a file whose PNG chunks have the checksums of what is in them; another file as it is."""
    if not content.startswith(files.SIGNATURE):
        return bytes(content)
    fixed, start = bytearray(files.SIGNATURE), len(files.SIGNATURE)
    while start + 12 <= len(content):
        (length,) = struct.unpack_from(">I", content, start)
        end = start + 8 + length
        if end + 4 > len(content):
            break
        fixed += content[start:end] + struct.pack(">I", zlib.crc32(content[start + 4 : end]))
        start = end + 4
    return bytes(fixed + content[start:])
