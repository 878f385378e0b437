"""Fixtures of the worker's tests: a runner on a scripted backend."""

import os

import pytest

from inference.scripted import Script, ScriptedBackend
from server.images.store import ImageStore
from server.scheduling.claim_policy import ClaimPolicy
from server.supervisor.heartbeat import Heartbeat
from server.worker.attempt import WorkerContext
from server.worker.lease_guard import StopRequest
from server.worker.runner import Runner

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
    """Make a runner whose backend follows a script; settings can be changed by name."""

    def make(script=None, *, backend=None, stop=None, unit=None, policy=None, **changed):
        changed_settings = settings.changed(**changed)
        return Runner(
            WorkerContext(
                worker=RUNNER,
                uow=unit or uow,
                backend=backend or ScriptedBackend(script or Script()),
                images=images,
                settings=changed_settings,
                heartbeat=heartbeat,
                stop=stop or StopRequest(changed_settings.worker.shutdown_grace_s),
                policy=policy or ClaimPolicy(changed_settings.worker.inference_backend),
            )
        )

    return make
