"""Measures the lists of a user who has a thousand avatars."""

import json
import statistics
import time
from http.client import HTTPConnection
from typing import Any, Final
from uuid import uuid4

from benchmark.plan import Advance, Plan
from benchmark.record import Figure
from benchmark.running import TIMEOUT_S, assert_that, database, prepared_folder, running_api
from benchmark.serving import MIB, new_client
from server.avatars.repository import Avatars
from server.avatars.tables import Avatar
from server.db.unit_of_work import UnitOfWork

AVATARS: Final = 1_000
RUNS: Final = 30
PATHS: Final = {"avatars": "all avatars", "avatars?limit=50": "50 avatars", "projects": "its project"}


def measure_lists(plan: Plan, advance: Advance) -> list[Figure]:
    """Read each list many times, one after another."""
    figures = []
    with prepared_folder() as data_dir, database(data_dir) as uow:
        client = new_client(uow)
        _add_avatars(uow, client)
        with running_api(data_dir, plan.weights) as (process, port):
            for path, title in PATHS.items():
                advance(f"listing {title}")
                _read(port, client, path)
                seconds, sizes = zip(*(_read(port, client, path) for _ in range(RUNS)), strict=True)
                name = f"lists: {title} of {AVATARS}"
                figures += [
                    Figure(f"{name}, p50", statistics.median(seconds) * 1000, "ms"),
                    Figure(f"{name}, answer", max(sizes) / 1024, "KiB"),
                ]
            figures.append(
                Figure(
                    "lists: resident memory afterwards", process.memory_info().rss / MIB, "MiB", at_most=250
                )
            )
    return figures


def _add_avatars(uow: UnitOfWork, client: dict[str, Any]) -> None:
    with uow.begin() as tx:
        for _ in range(AVATARS):
            avatar = Avatar(
                id=str(uuid4()),
                user_id=client["user_id"],
                project_id=client["project_id"],
                name="Ada",
                image_key=uuid4().hex,
                image_sha256="0" * 64,
                source_type="text_to_image",
                persona_name="Ada Lovelace",
                persona_background="A mathematician who writes the first programs. " * 4,
                generation_prompt="portrait of a woman with long red hair, " * 4,
            )
            Avatars(tx).add(avatar)


def _read(port: int, client: dict[str, Any], path: str) -> tuple[float, int]:
    """Read a list; return the seconds from connecting to the decoded answer, and its bytes."""
    began = time.perf_counter()
    connection = HTTPConnection("127.0.0.1", port, timeout=TIMEOUT_S)
    headers = {"Authorization": f"Bearer {client['token']}"}
    connection.request("GET", f"/api/avatar-creator/{path}", headers=headers)
    body = connection.getresponse().read()
    listed = json.loads(body)
    seconds = time.perf_counter() - began
    connection.close()
    avatars = listed["projects"][0]["avatars"] if path == "projects" else listed["avatars"]
    assert_that(len(avatars) == (50 if "limit" in path else AVATARS), f"{path} lists every avatar")
    return seconds, len(body)
