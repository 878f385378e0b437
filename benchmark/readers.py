"""Clients that read streams of events, all in one thread: a process of the benchmark."""

import asyncio
import sys
from collections.abc import Callable
from typing import Any

Answer = Callable[..., None]


def read_all(plan: dict[str, Any], answer: Answer) -> None:
    """Open the streams, say so, and read until standard input ends; then say how many events came."""
    asyncio.run(_read_all(plan, answer))


async def _read_all(plan: dict[str, Any], answer: Answer) -> None:
    counts: list[int] = []
    opened = [await _open(plan, stream) for stream in plan["streams"]]
    reading = [
        asyncio.create_task(_count(reader, counts))
        for (reader, _), stream in zip(opened, plan["streams"], strict=True)
        if not stream["slow"]
    ]
    answer(open=len(opened))
    await asyncio.to_thread(sys.stdin.read)
    for task in reading:
        task.cancel()
    ended = sum(task.done() and not task.cancelled() for task in reading)
    answer(events=len(counts), ended=ended)
    for _, writer in opened:
        writer.close()


async def _open(
    plan: dict[str, Any], stream: dict[str, Any]
) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    reader, writer = await asyncio.open_connection(plan["host"], plan["port"])
    request = (
        f"GET /api/avatar-creator/{stream['path']} HTTP/1.1\r\nHost: {plan['host']}\r\n"
        f"Authorization: Bearer {stream['token']}\r\n\r\n"
    )
    writer.write(request.encode())
    status = await reader.readuntil(b"\r\n")
    if b" 200 " not in status:
        raise RuntimeError(f"the stream was refused: {status!r}")
    await reader.readuntil(b"\r\n\r\n")
    return reader, writer


async def _count(reader: asyncio.StreamReader, counts: list[int]) -> None:
    while line := await reader.readline():
        if line.startswith(b"event:"):
            counts.append(1)
