"""Fixtures of the worker's tests: a runner on a scripted backend."""

import os

import pytest

from inference.scripted import Script, ScriptedBackend
from server.images.store import ImageStore
from server.scheduling.claim_policy import ClaimPolicy
from server.scheduling.swap_budget import SwapBudget
from server.supervisor.heartbeat import Heartbeat
from server.worker.context import WorkerContext
from server.worker.lease_guard import StopRequest
from server.worker.runner import Runner
from server.worker.storage_room import StorageRoom

RUNNER = "worker-1"


@pytest.fixture
def images(settings):
    """An empty image store."""
    return ImageStore(settings.server.images_dir)


@pytest.fixture
def heartbeat():
    """A heartbeat whose written lines can be read."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    class ReadableHeartbeat(Heartbeat):
        def lines(self):
            try:
                return os.read(reading, 65_536).decode().splitlines()
            except BlockingIOError:
                return []

    yield ReadableHeartbeat(writing)
    os.close(reading)
    os.close(writing)


@pytest.fixture
def make_runner(uow, images, settings, heartbeat):
    """Make a runner whose backend follows a script; settings can be changed by name.

    Without overlap, so that what was drawn is delivered when `run_next` returns.
    """
    runners = []

    def make(script=None, *, backend=None, stop=None, unit=None, policy=None, swaps=None, **changed):
        changed_settings = settings.changed(**{"overlap": "off", **changed})
        runner = Runner(
            WorkerContext(
                worker=RUNNER,
                uow=unit or uow,
                backend=backend or ScriptedBackend(script or Script()),
                images=images,
                room=StorageRoom(images),
                settings=changed_settings,
                heartbeat=heartbeat,
                stop=stop or StopRequest(changed_settings.worker.shutdown_grace_s),
                policy=policy or ClaimPolicy(changed_settings.worker.inference_backend),
                swaps=swaps or SwapBudget(),
            )
        )
        runners.append(runner)
        return runner

    yield make
    for runner in runners:
        runner.close()


@pytest.fixture
def ends(generation_of):
    """Read how generations have ended, or that they have not."""

    def read(generations):
        rows = [generation_of(generation.id) for generation in generations]
        return [row.error_code or row.status for row in rows]

    return read
