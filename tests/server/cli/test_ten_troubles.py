"""What `doctor` and `/readyz` say in ten troubles: the table in docs/operations.md, and its exit codes.

`WRITE_TROUBLES=1` writes the table anew.
"""

import os
import re
import sys
import threading
from contextlib import ExitStack
from pathlib import Path

import pytest
from huggingface_hub import constants
from huggingface_hub.errors import LocalEntryNotFoundError
from sqlalchemy import delete, text

from inference.hosted import errors
from inference.local import devices
from inference.scripted import ScriptedBackend
from inference.weights.locations import translate_load_errors
from server.cli import doctor
from server.db.engine import open_engine
from server.db.migrate import newest_revision
from server.db.unit_of_work import UnitOfWork
from server.entries.tables import CatalogEntry
from server.images import store
from server.images.store import ImageStore
from server.observability.readiness import readiness
from server.scheduling.claim_policy import HOSTED, LOCAL
from server.scheduling.registry import WorkerRegistry, retire
from server.scheduling.wakeups import WakeUps
from server.settings import Settings
from server.supervisor.heartbeat import Beat, Heartbeat
from server.supervisor.watchdog import Watchdog
from server.worker.backends import make_backend
from server.worker.process import run_worker
from tests.inference.hosted.box import open_box

DOCUMENT = Path(__file__).parents[3] / "docs" / "operations.md"
BEGIN, END = "<!-- what a test has seen: WRITE_TROUBLES=1 writes it anew -->\n", "<!-- end -->\n"
AWAY = "127.0.0.1:1"
CRASHING = """
import os, sys, time
os.write(int(sys.argv[2]), b"ready\\n")
time.sleep(0.5)  # a busy watchdog sees it ready, too
sys.exit(1)
"""


class Unloadable(ScriptedBackend):
    """A backend whose weights are in no folder, and not on a hub that answers."""

    def warm_up(self, model_id, revision, adapter):
        """Fail as the loading of a pipeline does."""
        with translate_load_errors(model_id):
            raise LocalEntryNotFoundError(f"{model_id} is in no cache")


class Troubles:
    """Makes troubles on one database and data folder, and asks what is said of them."""

    def __init__(self, cli, uow, settings, monkeypatch):
        self.cli, self.uow, self.settings, self.monkeypatch = cli, uow, settings, monkeypatch
        self.environ: dict[str, str] = {}

    def set(self, **environ):
        """Set environment variables."""
        self.environ |= environ
        own = {"DATABASE_URL": self.settings.database.url, "REDIS_URL": self.settings.redis.url}
        self.settings = Settings.from_environment(self.settings.server.data_dir, own | self.environ)

    def worker_ends(self, backend, factory=make_backend):
        """Let a worker start and end, as its watchdog sees it."""
        self.monkeypatch.setattr("server.worker.process._stop_on_signals", lambda _: None)
        reading, writing = os.pipe()
        with pytest.raises(SystemExit):
            run_worker(self.settings, "gpu-one", Heartbeat(writing), backend, factory)
        os.close(writing)
        with os.fdopen(reading, "rb") as lines:
            cause = Beat.decode(lines.readlines()[-1]).cause
        retire(self.uow, backend, "gpu-one", was_ready=False, cause=cause)

    def worker_is_ready(self, backend=LOCAL, last_error=None):
        """Let a worker be there."""
        with self.uow.begin() as tx:
            WorkerRegistry(tx).record_heartbeat("gpu-one", backend, accepts=True, last_error=last_error)

    def sql(self, statement):
        """Change the database by hand."""
        with self.uow.begin() as tx:
            tx.session.execute(statement)

    def doctor(self):
        """Return what is missing, in words; the exit code says so too."""
        said = self.cli("doctor", **self.environ)
        assert "Traceback" not in said.output
        lines = said.stdout.splitlines()
        absent = [line.removeprefix("missing ") for line in lines if line.startswith("missing ")]
        assert said.exit_code == 1
        assert absent
        return absent

    def ready(self):
        """Return the status of /readyz, and the sentence on each part that is not well."""
        uow = UnitOfWork(open_engine(self.settings.database.url))
        images = ImageStore(self.settings.server.images_dir)
        found = readiness(uow, WakeUps(self.settings), images, self.settings)
        uow.close()
        words = [f"{part}: {words}" for part, words in found.checks.items() if words != "ok"]
        return [f"{200 if found.accepts else 503} {found.status}", *words]


@pytest.fixture
def troubles(cli, uow, settings, monkeypatch):
    """Troubles on a database of the test's own."""
    settings.server.data_dir.mkdir(mode=0o700)
    with ExitStack() as resources:
        made = Troubles(cli, uow, settings, monkeypatch)
        made.resources = resources
        yield made


def no_weights(it):
    """MODEL_PROFILE=full on a card, and no weights."""
    it.monkeypatch.setattr(devices, "require_fit", lambda *_, **__: None)
    it.set(MODEL_PROFILE="full")
    it.worker_ends(LOCAL, lambda *_: Unloadable())


def no_device(it):
    """DEVICE=cuda without a card."""
    it.monkeypatch.setattr(devices, "_failure_of", lambda _: "Found no NVIDIA driver on your system")
    it.set(DEVICE="cuda")
    it.worker_ends(LOCAL)


def wrong_device(it):
    """DEVICE=gpu, which is none."""
    it.set(DEVICE="gpu")
    it.worker_ends(LOCAL)


def crash_loop(it):
    """A worker that ends as soon as it is ready, again and again."""
    it.monkeypatch.setattr("server.supervisor.watchdog.RESTART_PAUSE_S", (0.0,))
    it.monkeypatch.setattr("server.supervisor.device_circuit.PAUSE_S", 3600.0)
    deaths, stopped = [], threading.Event()

    def bury(*death):
        retire(it.uow, LOCAL, *death)
        deaths.append(death)
        if len(deaths) == 3:
            stopped.set()

    Watchdog(it.settings, bury, LOCAL, [sys.executable, "-c", CRASHING]).run(stopped)


def no_redis(it):
    """Nothing listens at REDIS_URL."""
    it.worker_is_ready()
    it.set(REDIS_URL=f"redis://{AWAY}/0")


def no_database(it):
    """Nothing listens at DATABASE_URL."""
    it.set(DATABASE_URL=f"postgresql://me@{AWAY}/db")


def no_catalogue(it):
    """The catalogue has no entry."""
    it.worker_is_ready()
    it.sql(delete(CatalogEntry))


def no_key(it):
    """INFERENCE_BACKEND=huggingface without HUGGINGFACE_API_KEY."""
    it.set(INFERENCE_BACKEND="huggingface")
    it.worker_ends(HOSTED)


def wrong_key(it):
    """A HUGGINGFACE_API_KEY that was revoked, once a generation has failed for it."""
    hub = it.resources.enter_context(open_box())
    it.monkeypatch.setattr(constants, "ENDPOINT", hub.url)
    it.set(INFERENCE_BACKEND="huggingface", HUGGINGFACE_API_KEY="hf_revoked")
    refused = errors.KeyRejected("fal-ai", "answered with HTTP 401: check HUGGINGFACE_API_KEY")
    it.worker_is_ready(HOSTED, str(refused))


def full_disk(it):
    """Too little room for one image."""
    it.worker_is_ready()
    it.monkeypatch.setattr(store, "ROOM_BYTES", 2**60)
    it.monkeypatch.setattr(doctor, "ROOM_BYTES", 2**60)


def old_migration(it):
    """The database of an earlier release."""
    it.worker_is_ready()
    it.sql(text("UPDATE alembic_version SET version_num = '0010'"))


TROUBLES = (
    no_weights,
    no_device,
    wrong_device,
    crash_loop,
    no_redis,
    no_database,
    no_catalogue,
    no_key,
    wrong_key,
    full_disk,
    old_migration,
)


def documented():
    """Return the table of the documentation."""
    return DOCUMENT.read_text("utf-8").partition(BEGIN)[2].partition(END)[0]


def row_of(trouble, doctor_says, readyz_says):
    """Return the row of a trouble, without the megabytes of this machine and the revision of this release."""
    cells = (trouble.__doc__, "<br>".join(doctor_says), "<br>".join(readyz_says))
    row = re.sub(r"\d+ MB", "N MB", f"| {' | '.join(cells)} |\n")
    return row.replace(newest_revision(), "NNNN")


class TestTroubles:
    @pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
    @pytest.mark.parametrize("trouble", TROUBLES)
    def test_what_is_said(self, troubles, trouble):
        """The doctor finds each trouble, with the exit code 1, and the documentation has its words."""
        trouble(troubles)
        row = row_of(trouble, troubles.doctor(), troubles.ready())
        if "WRITE_TROUBLES" in os.environ:
            write(trouble, row)
        assert row in documented()

    def test_the_documentation_has_no_other(self):
        """The table has a row for each trouble, and no more."""
        assert len(documented().splitlines()) == 2 + len(TROUBLES)


def write(trouble, row):
    """Write a row into the table, in the order of the troubles."""
    before, _, rest = DOCUMENT.read_text("utf-8").partition(BEGIN)
    table, _, after = rest.partition(END)
    head, rows = table.splitlines(keepends=True)[:2], table.splitlines(keepends=True)[2:]
    by_trouble = {one.split("|")[1].strip(): one for one in rows} | {trouble.__doc__: row}
    ordered = [by_trouble[each.__doc__] for each in TROUBLES if each.__doc__ in by_trouble]
    DOCUMENT.write_text(before + BEGIN + "".join([*head, *ordered]) + END + after, "utf-8")
