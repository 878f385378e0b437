"""Measures what the APIs of others add to the native one, and what calls that wait cost those who submit."""

import json
import select
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from sqlalchemy import func
from sqlalchemy import select as select_rows

from benchmark.overhead import GENERATION_TIMEOUT_S, PROMPT, serving
from benchmark.plan import Advance, Plan
from benchmark.record import Figure, percentile
from benchmark.running import assert_that, database, prepared_folder, running_api, running_redis
from benchmark.serving import new_client
from benchmark.submits import load
from catalog.tiers import Tier
from server.db.unit_of_work import UnitOfWork
from server.generations.tables import Generation

PREFIX: Final = "/api/avatar-creator"
ENTRY: Final = "flux-schnell-fast"
WARM_UPS: Final = 2
WAITING: Final = 500
OF_ONE_USER: Final = 20  # Source: the server's limit of streams
ROUNDS: Final = 4
SETTLED_S: Final = 2.0
"""After the calls have come or gone: what is measured is that they wait, not that they come."""
ACCEPTED_S: Final = 120.0
NATIVE: Final = "native"
POLL_S: Final = "0.01"
"""Seconds between two looks for events: else the wait for the next one, which all share, hides the rest."""
LOOK_S: Final = 0.5
"""Source: the page, which asks for a preview so often."""

Drawing = Callable[[HTTPConnection, Mapping[str, str]], bytes]
"""Draws one image and returns what the client got, by an open connection and the line of `up --json`."""


def measure_dialects(plan: Plan, advance: Advance) -> list[Figure]:
    """Draw by each API in turn, and submit without and beside 500 calls that wait."""
    return [*_added(plan, advance), *_beside_waiting(plan, advance)]


def _added(plan: Plan, advance: Advance) -> list[Figure]:
    """Compare the time that each API takes beside its drawing, from the request to the image's last byte."""
    beside_ms: dict[str, list[float]] = {name: [] for name in _DRAWINGS}
    with (
        tempfile.TemporaryDirectory() as folder,
        serving(plan.weights, Path(folder), EVENTS_POLL_S=POLL_S) as (demo, uow),
    ):
        where = urlsplit(demo["url"])
        connection = HTTPConnection(where.hostname or "", where.port, timeout=GENERATION_TIMEOUT_S)
        for round_ in range(WARM_UPS + plan.effort.images):
            for name, draw in _DRAWINGS.items():
                advance(f"drawing by {name}")
                began = time.perf_counter()
                draw(connection, demo)
                took_s = time.perf_counter() - began
                if round_ >= WARM_UPS:
                    beside_ms[name].append((took_s - _newest_s(uow)) * 1000)
        looked_at = _looked_at(connection, demo, uow, plan, advance)
        connection.close()
    native_ms = statistics.median(beside_ms.pop(NATIVE))
    figures = [Figure("dialects: native, beside the drawing, p50", native_ms, "ms")]
    for name, taken in beside_ms.items():
        added_ms = statistics.median(taken) - native_ms
        figures.append(Figure(f"dialects: {name} adds to native, p50", added_ms, "ms", at_most=5))
    return [*figures, looked_at]


def _looked_at(
    connection: HTTPConnection, demo: Mapping[str, str], uow: UnitOfWork, plan: Plan, advance: Advance
) -> Figure:
    """Draw with somebody who looks at previews and without, in turn; compare the time to delivery."""
    seconds: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(plan.effort.images):
        for looks in (False, True):
            advance("drawing with previews" if looks else "drawing without previews")
            generation_id = _submitted(connection, demo, "flux-dev-base")
            ended = threading.Event()
            looking = threading.Thread(target=_look, args=(demo, generation_id, ended))
            if looks:
                looking.start()
            _delivered(connection, demo, generation_id)
            ended.set()
            if looks:
                looking.join()
            seconds[looks].append(_newest_s(uow))
    ratio = statistics.median(seconds[True]) / statistics.median(seconds[False])
    return Figure("dialects: drawing with previews to drawing without, p50", ratio, "", at_most=1.05)


def _look(demo: Mapping[str, str], generation_id: str, ended: threading.Event) -> None:
    """Ask for the preview of a generation as often as the page does, until told to stop."""
    where = urlsplit(demo["url"])
    connection = HTTPConnection(where.hostname or "", where.port, timeout=GENERATION_TIMEOUT_S)
    headers = {"Authorization": f"Bearer {demo['apiKey']}"}
    while not ended.wait(LOOK_S):
        connection.request("GET", f"{PREFIX}/generations/{generation_id}/preview", headers=headers)
        connection.getresponse().read()
    connection.close()


def _newest_s(uow: UnitOfWork) -> float:
    """Return the seconds from the acceptance of the newest generation to its delivery."""
    with uow.read() as tx:
        newest = tx.session.scalars(
            select_rows(Generation).order_by(Generation.created_at.desc()).limit(1)
        ).one()
    assert_that(newest.completed_at is not None, "the image is delivered")
    return (newest.completed_at - newest.created_at).total_seconds()  # type: ignore[operator]  # as checked


def _asked(
    connection: HTTPConnection,
    demo: Mapping[str, str],
    path: str,
    body: Mapping[str, Any] | None = None,
    **headers: str,
) -> bytes:
    """Send a request and return the body of its answer."""
    given = {"Authorization": f"Bearer {demo['apiKey']}", **headers}
    if body is None:
        connection.request("GET", path, headers=given)
    else:
        given["Content-Type"] = "application/json"
        connection.request("POST", path, json.dumps(body), given)
    answer = connection.getresponse()
    content = answer.read()
    assert_that(answer.status in {200, 201}, f"{path}: {answer.status} {content[:200]!r}")
    return content


def _native(connection: HTTPConnection, demo: Mapping[str, str]) -> bytes:
    return _delivered(connection, demo, _submitted(connection, demo, ENTRY))


def _submitted(connection: HTTPConnection, demo: Mapping[str, str], entry: str) -> str:
    path = f"{PREFIX}/projects/{demo['projectId']}/avatars/generate"
    body = {"name": "Ada", "prompt": PROMPT, "modelKey": entry}
    return str(json.loads(_asked(connection, demo, path, body))["generation"]["id"])


def _delivered(connection: HTTPConnection, demo: Mapping[str, str], generation_id: str) -> bytes:
    """Wait for an image by the native route, and fetch it."""
    while True:
        answer = _asked(connection, demo, f"{PREFIX}/generations/{generation_id}?wait=60")
        generation = json.loads(answer)["generation"]
        if generation["status"] == "completed":
            return _asked(connection, demo, generation["imageUrl"])
        assert_that(generation["status"] != "failed", "the image is drawn")


def _openai(connection: HTTPConnection, demo: Mapping[str, str]) -> bytes:
    body = {"prompt": PROMPT, "model": ENTRY, "response_format": "b64_json"}
    return _asked(connection, demo, "/v1/images/generations", body)


def _huggingface(connection: HTTPConnection, demo: Mapping[str, str]) -> bytes:
    return _asked(connection, demo, f"/models/{ENTRY}", {"inputs": PROMPT}, Accept="image/png")


def _replicate(connection: HTTPConnection, demo: Mapping[str, str]) -> bytes:
    path = f"/v1/models/avatar-creator/{ENTRY}/predictions"
    return _asked(connection, demo, path, {"input": {"prompt": PROMPT}}, Prefer="wait")


def _fal(connection: HTTPConnection, demo: Mapping[str, str]) -> bytes:
    path = f"/fal/run/avatar-creator/{ENTRY}"
    return _asked(connection, demo, path, {"prompt": PROMPT, "sync_mode": True})


def _a1111(connection: HTTPConnection, demo: Mapping[str, str]) -> bytes:
    body = {"prompt": PROMPT, "override_settings": {"sd_model_checkpoint": ENTRY}}
    return _asked(connection, demo, "/sdapi/v1/txt2img", body)


_DRAWINGS: Final[Mapping[str, Drawing]] = {
    NATIVE: _native,
    "OpenAI": _openai,
    "Hugging Face": _huggingface,
    "Replicate": _replicate,
    "fal": _fal,
    "A1111": _a1111,
}


def _beside_waiting(plan: Plan, advance: Advance) -> list[Figure]:
    """Submit without and beside 500 calls that wait, in turn, on one server without a worker."""
    latencies: dict[bool, list[float]] = {False: [], True: []}
    with prepared_folder() as data_dir, database(data_dir) as uow, running_redis(data_dir):
        clients = [new_client(uow) for _ in range(plan.effort.clients)]
        callers = [new_client(uow, Tier.BASIC) for _ in range(WAITING // OF_ONE_USER)]
        each = max(1, plan.effort.submits // ROUNDS // len(clients))
        changes = {"QUEUE_MAX_PER_USER": "1000000", "QUEUE_MAX_DEPTH": "1000000"}
        with running_api(data_dir, plan.weights, **changes) as (process, port):
            requests = [client | {"port": port, "requests": each} for client in clients]
            load(data_dir, plan.weights, [one | {"requests": 5} for one in requests])
            for round_ in range(ROUNDS):
                for beside in (False, True) if round_ % 2 else (True, False):
                    advance("submitting beside calls that wait" if beside else "submitting alone")
                    with _waiting(uow, port, callers if beside else []):
                        answer = load(data_dir, plan.weights, requests)
                    assert_that(set(answer["statuses"]) == {200}, "every submission is accepted")
                    latencies[beside] += answer["latencies_s"]
            threads = process.num_threads()
    p99_ms = {beside: percentile(latencies[beside], 99) * 1000 for beside in latencies}
    return [
        Figure("dialects: submit p99 alone", p99_ms[False], "ms"),
        Figure(f"dialects: submit p99 beside {WAITING} calls that wait", p99_ms[True], "ms"),
        Figure(
            "dialects: p99 beside waiting calls to p99 alone", p99_ms[True] / p99_ms[False], "", at_most=1.1
        ),
        Figure("dialects: threads of the API afterwards", threads, ""),
    ]


@contextmanager
def _waiting(uow: UnitOfWork, port: int, callers: list[dict[str, Any]]) -> Iterator[None]:
    """Keep calls of OpenAI's API waiting while the body runs, and check that none was answered."""
    before, calls = _generations(uow), []
    try:
        for number in range(WAITING if callers else 0):
            call = socket.create_connection(("127.0.0.1", port))
            call.sendall(_request(callers[number % len(callers)]["token"]))
            calls.append(call)
        until = time.monotonic() + ACCEPTED_S
        while _generations(uow) < before + len(calls):
            assert_that(time.monotonic() < until, "every call that waits is accepted")
            time.sleep(0.1)
        time.sleep(SETTLED_S)
        yield
        answered, _, _ = select.select(calls, [], [], 0)
        assert_that(not answered, "every call waits still")
    finally:
        for call in calls:
            with suppress(OSError):
                call.close()
        time.sleep(SETTLED_S if calls else 0)


def _request(token: str) -> bytes:
    body = json.dumps({"prompt": PROMPT, "model": "flux-dev-base"}).encode()
    head = (
        "POST /v1/images/generations HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
        f"Authorization: Bearer {token}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def _generations(uow: UnitOfWork) -> int:
    with uow.read() as tx:
        return tx.session.scalar(select_rows(func.count()).select_from(Generation)) or 0
