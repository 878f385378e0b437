"""One backend, driven bare and by the worker's loop: the child process of `benchmark.saturation`."""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from benchmark.filling import LIMITS, new_user, request_in
from benchmark.overhead import PROMPT
from benchmark.random_backend import open_backend
from benchmark.running import assert_that
from benchmark.saturation import BARE, ENTRY, IMAGES, MODES
from catalog.entries import APP_ID, shipped_entries
from catalog.orders import Order
from catalog.selection import Wish
from catalog.tiers import Tier
from inference.backend import Backend
from server.db.engine import open_database
from server.db.unit_of_work import UnitOfWork
from server.generations.repository import Generations
from server.generations.states import Status
from server.generations.submission import submit
from server.images.encoding import encode
from server.images.store import ImageStore
from server.logs import configure_logs
from server.settings import Settings
from server.supervisor.heartbeat import Heartbeat
from server.worker.backends import make_policy
from server.worker.context import WorkerContext
from server.worker.lease_guard import StopRequest
from server.worker.registration import registered
from server.worker.runner import Runner
from server.worker.storage_room import StorageRoom


class Saturation:
    """One backend, driven bare and by the worker's loop on a real database."""

    def __init__(self, settings: Settings, backend: Backend, uow: UnitOfWork) -> None:
        """Take a backend and a database in which nothing waits, and add a user to it."""
        self._settings = settings
        self._backend = backend
        self._uow = uow
        self._images = ImageStore(settings.server.images_dir)
        caller, self._project_id = new_user(uow, "saturation")
        self._caller = replace(caller, tier=Tier.ENTERPRISE)  # every entry, at no price

    def draw(self, mode: str) -> dict[str, Any]:
        """Draw the images of a turn; return the seconds, and those of this process on all processors."""
        self._submit(0 if mode == BARE else IMAGES)
        began, processor_began = time.perf_counter(), time.process_time()
        if mode == BARE:
            self._bare()
        else:
            self._served(mode)
        spent_s, processor_s = time.perf_counter() - began, time.process_time() - processor_began
        self._check()
        return {"seconds": spent_s, "processor_s": processor_s}

    def _bare(self) -> None:
        entry = next(entry for entry in shipped_entries() if entry.short_key == ENTRY)
        order = Order.of_entry(entry, PROMPT, seed=7)
        for _ in range(IMAGES):
            picture = self._backend.generate(order, lambda _: None)
            self._images.put(encode(picture.image, self._settings.batches.png_level))

    def _served(self, mode: str) -> None:
        with self._worker(mode) as run_next:
            while run_next():
                pass

    def _submit(self, count: int) -> None:
        request = replace(request_in(self._project_id), wish=Wish(model_key=f"{APP_ID}:{ENTRY}"))
        for _ in range(count):
            submit(self._uow, lambda _: None, self._caller, request, LIMITS)

    def _check(self) -> None:
        """Check that everything is delivered."""
        with self._uow.read() as tx:
            statuses = {one.status for one in Generations(tx).newest_of(self._caller.user_id, IMAGES)}
        assert_that(statuses <= {Status.COMPLETED}, f"all are delivered: {statuses}")

    @contextmanager
    def _worker(self, mode: str) -> Iterator[Callable[[], bool]]:
        """Run the worker's loop; at the end all is delivered."""
        settings = self._settings.changed(overlap=MODES[mode][0])
        backend = self._backend if mode == "batches" else cast("Backend", _Alone(self._backend))
        with open(os.devnull, "wb") as nobody:  # noqa: PTH123 - beats are written, and nobody reads them
            context = WorkerContext(
                worker="saturation",
                uow=self._uow,
                backend=backend,
                images=self._images,
                room=StorageRoom(self._images),
                settings=settings,
                heartbeat=Heartbeat(nobody.fileno()),
                stop=StopRequest(settings.worker.shutdown_grace_s),
                policy=make_policy(settings, "local"),
            )
            with registered(context), closing(Runner(context)) as runner:
                yield runner.run_next


class _Alone:
    """A backend that is the same in all but this: it draws no batches."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def __getattr__(self, name: str) -> Any:
        return getattr(self._backend, name)

    def largest_batch(self, order: Order) -> int:
        """Return one, whatever the order."""
        del order
        return 1


def run_turns(kind: str, lines: Iterator[dict[str, Any]], answer: Callable[..., None]) -> None:
    """Answer each command `draw`, whose value is the mode, with the seconds of a turn."""
    settings = Settings.from_environment()
    configure_logs("benchmark", "warning")  # to standard error: standard output is for answers
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        backend = open_backend(kind, Path(folder), settings)
        stack.callback(backend.close)
        uow = stack.enter_context(closing(UnitOfWork(open_database(settings.database))))
        saturation = Saturation(settings, backend, uow)
        answer(ready=True)
        for command in lines:
            answer(**saturation.draw(command["draw"]))
