"""A soak: everything that clients do, for as long as SOAK_S says, and what it leaves in the processes."""

import json
import os
import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import httpx
import pytest

from server.credits.service import audit
from tests.e2e.program import PROMPT, User, wait_for
from tests.endurance.watching import watching
from tests.server.uploads.files import picture, saved

SOAK_S = float(os.environ.get("SOAK_S", "6"))
LONG_S = 1200
"""From here on the memory is judged: before, pools and caches are still filling."""
MAX_GROWTH = 0.02
PAGES_MIB = 0.5
"""Less is a few pages, which are many per cent of a small process such as Redis."""
POOLED = 3
"""Descriptors of one more connection to SQLite, which a pool keeps once it was needed."""
CLIENTS = 4
REST_S = 0.15  # between two requests of a client
CREDITS = 10_000_000

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(SOAK_S + 300)]


class Client:
    """A client that does everything, in an order that its seed draws."""

    def __init__(self, user: User, seed: int) -> None:
        self.user = user
        self.http = httpx.Client(
            base_url=f"{user.client.base_url}", headers=user.client.headers, timeout=60, trust_env=False
        )
        self.chance = random.Random(seed)
        self.statuses: Counter[int] = Counter()
        self.generations: list[str] = []
        self.image = saved(picture(size=(600, 400)), "JPEG")
        self.doing = {
            self.generate: 6,
            self.wait: 6,
            self.look: 12,
            self.follow: 3,
            self.upload: 3,
            self.cancel: 1,
            self.clear: 2,
            self.mistake: 3,
            self.change_keys: 1,
            self.hang_up: 2,
        }

    def run(self, until: float) -> None:
        """Act until a moment of the monotonic clock."""
        acts, weights = list(self.doing), list(self.doing.values())
        while time.monotonic() < until:
            self.chance.choices(acts, weights)[0]()
            time.sleep(REST_S)
        self.http.close()

    def ask(self, method: str, path: str, **content) -> httpx.Response:
        """Send a request and count its status."""
        answer = self.http.request(method, f"/api/avatar-creator/{path}", **content)
        self.statuses[answer.status_code] += 1
        return answer

    def generate(self) -> None:
        """Request an avatar, as long as few wait."""
        if len(self.generations) < 3:
            body = {"name": "Ada", "prompt": PROMPT, "modelKey": "flux-schnell-fast"}
            path = f"projects/{self.user.project_id}/avatars/generate"
            headers = {"Idempotency-Key": str(self.chance.random())}
            for _ in range(2):
                answer = self.ask("POST", path, json=body, headers=headers)
            self.generations.append(answer.json()["generation"]["id"])

    def wait(self) -> None:
        """Wait for the oldest avatar, and fetch its images."""
        if self.generations:
            row = self.ask("GET", f"generations/{self.generations.pop(0)}?wait=20").json()["generation"]
            for name in ("imageUrl", "thumbnailUrl"):
                if row.get(name):
                    self.statuses[self.http.get(row[name]).status_code] += 1

    def look(self) -> None:
        """Read a list."""
        paths = ("projects", "generations", "avatars", "stats", "catalogue", "presets", "models")
        self.ask("GET", self.chance.choice(paths))
        self.statuses[self.http.get("/api/credits/history").status_code] += 1

    def follow(self) -> None:
        """Read the stream of events for a moment."""
        with (
            suppress(httpx.ReadTimeout),
            self.http.stream("GET", "/api/avatar-creator/events", timeout=0.5) as answer,
        ):
            self.statuses[answer.status_code] += 1
            next(answer.iter_lines(), None)

    def upload(self) -> None:
        """Upload an image."""
        files = {"image": ("a.jpg", self.image)}
        self.ask("POST", f"projects/{self.user.project_id}/avatars/upload", files=files, data={"name": "Me"})

    def cancel(self) -> None:
        """Cancel the newest generation."""
        if self.generations:
            self.ask("POST", f"generations/{self.generations.pop()}/cancel")

    def clear(self) -> None:
        """Delete all avatars but a few."""
        for avatar in self.ask("GET", "avatars?limit=50").json()["avatars"][5:]:
            self.ask("DELETE", f"avatars/{avatar['id']}")

    def mistake(self) -> None:
        """Send what is refused."""
        self.ask("POST", "projects", json={"name": ""})
        self.ask("GET", "generations/none")
        self.ask("POST", f"projects/{self.user.project_id}/avatars/upload", files={"image": ("a", b"x")})
        self.http.get("/api/avatar-creator/projects", headers={"Authorization": "Bearer ac_wrong"})

    def change_keys(self) -> None:
        """Issue a key and revoke it."""
        key = self.http.post("/api/keys", json={"label": "soak"}).json()["key"]
        self.http.delete(f"/api/keys/{key['id']}")

    def hang_up(self) -> None:
        """Leave in the middle of a body."""

        def half():
            yield b"{"
            raise httpx.ReadError("left")

        with suppress(httpx.HTTPError):
            self.http.post("/api/avatar-creator/projects", content=half())


@pytest.fixture(scope="class")
def soaked(launch):
    """A program after the soak, its clients and what was seen of its processes."""
    program = launch()
    program.start_json()
    clients = [Client(program.new_user("pro", CREDITS), seed) for seed in range(CLIENTS)]
    # The worker has loaded everything before the time that counts.
    clients[0].user.drawn(modelKey="flux-schnell-fast")
    with watching(program.pid) as watch, ThreadPoolExecutor(CLIENTS) as threads:
        for done in [threads.submit(client.run, time.monotonic() + SOAK_S) for client in clients]:
            done.result()
    yield program, clients, watch
    program.stop()


class TestSoak:
    def test_answers(self, soaked, record_property):
        """Clients get what they ask for, or an error that is theirs."""
        _, clients, _ = soaked
        statuses = sum((client.statuses for client in clients), Counter())
        record_property("figure", f"soak of {SOAK_S:g} s: answers {json.dumps(statuses, sort_keys=True)}")
        assert set(statuses) <= {200, 400, 404, 409}

    def test_all_ends(self, soaked):
        """Everything that was requested ends, and the ledger balances."""
        program, clients, _ = soaked

        def unfinished():
            return [
                row
                for client in clients
                for status in ("pending", "processing")
                for row in client.user.get(f"generations?status={status}")["generations"]
            ]

        wait_for("nothing is left", lambda: not unfinished())
        assert audit(program.uow).passed

    def test_no_process_grows(self, soaked, record_property):
        """No process was restarted; in a long soak none has grown by more than 2 % or opened more files."""
        _, _, watch = soaked
        changes = watch.changes(SOAK_S / 4)
        for change in changes:
            record_property("figure", f"soak of {SOAK_S:g} s: {change}")
        processes = Counter(part for part, _ in watch.samples if part != "decoder")  # that one forks
        assert processes == dict.fromkeys(("API", "Redis", "up", "worker"), 1)
        if SOAK_S >= LONG_S:
            grown = [
                change for change in changes if change.growth > MAX_GROWTH and change.growth_mib > PAGES_MIB
            ]
            assert [str(change) for change in grown] == []
            leaks = [change for change in changes if change.descriptors[1] > change.descriptors[0] + POOLED]
            assert [str(change) for change in leaks] == []
