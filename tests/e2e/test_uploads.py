"""Uploads to the real API process: what attackers send costs it neither memory nor files."""

import os
import socket
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from PIL import Image

from benchmark.plan import Weights
from benchmark.running import database, prepared_folder, running_api
from benchmark.serving import new_client
from server.avatars.repository import Avatars
from server.credits.repository import Ledger
from tests.server.uploads import files
from tests.server.uploads.mutations import DEEP, mutants

pytestmark = [pytest.mark.e2e, pytest.mark.deep]

COUNT = 20_000 if DEEP else 200
CLIENTS = 8
MAX_MIB = 250
LIMIT = 10 * 2**20
ORIGIN = {"Origin": "http://localhost:5173"}


class RunningApi:
    """A running API process, its data folder and one user of it."""

    def __init__(self, process, port, data_dir, uow):
        self.process, self.port, self.uow = process, port, uow
        self.images = data_dir / "images" / "avatars"
        self.files_before = set(self.images.rglob("*"))
        self.user = new_client(uow)
        self.path = f"/api/avatar-creator/projects/{self.user['project_id']}/avatars/upload"
        self.headers = {"Authorization": f"Bearer {self.user['token']}"} | ORIGIN
        self.client = httpx.Client(
            base_url=f"http://127.0.0.1:{port}", headers=self.headers, timeout=240, trust_env=False
        )

    def upload(self, image):
        """Send an image and return the answer."""
        return self.client.post(self.path, files={"image": ("a.png", image)}, data={"name": "Ada"})

    def peak_mib(self):
        """Return the most memory that the process ever held."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        (line,) = (line for line in status.splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024

    def stored(self):
        """Return the files that the image store has since then, and of how many avatars they are."""
        with self.uow.read() as tx:
            project = self.user["project_id"]
            avatars = Avatars(tx).of_project(project, 100)
        stored = set(self.images.rglob("*")) - self.files_before
        return [path for path in stored if path.is_file()], len(avatars)

    def spent(self):
        """Return what the user spent."""
        with self.uow.read() as tx:
            return 10_000_000 - Ledger(tx).available(self.user["user_id"])


@pytest.fixture(scope="module")
def running(tmp_path_factory):
    """An API process with its files for the time of a request in a folder of its own, its data and that."""
    spool = tmp_path_factory.mktemp("spool")
    with pytest.MonkeyPatch.context() as environ:
        environ.setenv("TMPDIR", str(spool))
        environ.setenv("RATE_LIMITS", "off")
        environ.setenv("UPLOAD_WAIT_S", "240")
        with prepared_folder() as data_dir, database(data_dir) as uow:
            with running_api(data_dir, Weights("miniature")) as (process, port):
                yield process, port, data_dir, uow
            assert not list(spool.iterdir())


@pytest.fixture
def api(running):
    """The API process, with a user of the test's own."""
    api = RunningApi(*running)
    yield api
    api.client.close()


def photograph(size, quality):
    """Return a JPEG of noise, which no encoder makes small."""
    noise = Image.frombytes("RGB", (512, 512), os.urandom(512 * 512 * 3)).resize(
        size, Image.Resampling.BICUBIC
    )
    return files.saved(noise, "JPEG", quality=quality)


def test_damaged_files_cost_nothing(api, record_property):
    """Damaged files from many clients at once: every answer is a 200 or a 400, and only the 200s are kept."""
    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as threads:
        statuses = Counter(threads.map(lambda image: api.upload(image).status_code, mutants(13, COUNT)))
    seconds = time.monotonic() - began
    record_property(
        "figure", f"{COUNT} uploads: {dict(statuses)}, {COUNT / seconds:.0f}/s, peak {api.peak_mib():.0f} MiB"
    )
    assert set(statuses) == {200, 400}
    stored, avatars = api.stored()
    assert (len(stored), avatars, api.spent()) == (2 * statuses[200], statuses[200], 2 * statuses[200])
    assert api.peak_mib() < MAX_MIB


def test_the_largest_uploads_at_once(api, record_property):
    """The largest images at once, and bombs among them, are stored or refused within the API's memory."""
    large = photograph((7000, 5600), 50)
    assert len(large) <= LIMIT
    sent = [
        large,
        b"\0" * LIMIT,
        files.bomb(),
        large + b"\0" * (LIMIT - len(large)),
        b"\xff" * (2 * LIMIT),
    ] * 2
    with ThreadPoolExecutor(len(sent)) as threads:
        answers = list(threads.map(api.upload, sent))
    statuses = Counter(answer.status_code for answer in answers)
    assert statuses == {200: 4, 400: 6}
    for answer in answers:
        assert answer.headers["access-control-allow-origin"] == ORIGIN["Origin"]
        if answer.status_code == 200:
            image = api.client.get(answer.json()["avatar"]["baseImageUrl"])
            assert Image.open(BytesIO(image.content)).size == (7000, 5600)
    stored, avatars = api.stored()
    assert (len(stored), avatars) == (2 * statuses[200], statuses[200])
    record_property("figure", f"the largest uploads at once: peak {api.peak_mib():.0f} MiB")
    assert api.peak_mib() < MAX_MIB


class TestWire:
    """What a client sees that sends too much, too early or not to the end."""

    def send(self, api, head, body=b""):
        """Send a request over a connection of its own, and return all of the answer."""
        lines = [
            f"POST {api.path} HTTP/1.1",
            "Host: x",
            *(f"{k}: {v}" for k, v in api.headers.items()),
            *head,
        ]
        with socket.create_connection(("127.0.0.1", api.port), timeout=60) as connection:
            connection.sendall("\r\n".join([*lines, "", ""]).encode() + body)
            answer = b""
            while received := connection.recv(65_536):
                answer += received
        return answer

    def test_a_body_that_is_too_large_is_answered_after_it(self, api):
        """A client that sends 30 MB and then closes reads a 400 in JSON with CORS headers, and no reset."""
        body = b"\0" * (3 * LIMIT)
        kind = "Content-Type: multipart/form-data; boundary=b"
        answer = self.send(api, [kind, f"Content-Length: {len(body)}", "Connection: close"], body)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"access-control-allow-origin: http://localhost:5173" in answer
        assert b'"field": "image"' in answer

    def test_a_client_that_asks_first_need_not_send(self, api):
        """A client that expects 100 Continue and announces too much reads the refusal at once."""
        head = [
            "Content-Type: multipart/form-data; boundary=b",
            f"Content-Length: {3 * LIMIT}",
            "Expect: 100-continue",
            "Connection: close",
        ]
        answer = self.send(api, head)
        assert answer.startswith(b"HTTP/1.1 400")
        assert b"100 Continue" not in answer

    def test_a_client_that_goes_away_leaves_nothing(self, api):
        """A client that closes in the middle of its image costs nothing, and the API goes on."""
        body = b'--b\r\nContent-Disposition: form-data; name="image"; filename="a"\r\n\r\n' + b"\0" * 2**20
        with socket.create_connection(("127.0.0.1", api.port), timeout=60) as connection:
            head = f"POST {api.path} HTTP/1.1\r\nHost: x\r\nAuthorization: {api.headers['Authorization']}\r\n"
            head += f"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: {LIMIT}\r\n\r\n"
            connection.sendall(head.encode() + body)
        assert api.upload(files.valid()["PNG"]).status_code == 200
        assert api.spent() == 2
