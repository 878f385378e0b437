"""What the tests of the worker share: a runner on a scripted backend."""

import os
from dataclasses import replace

import pytest

from inference.scripted import Script, ScriptedBackend
from server.failover.duty import Duty
from server.images.store import ImageStore
from server.worker.leash import StopSign
from server.worker.pulse import Pulse
from server.worker.runner import Runner

RUNNER = "worker-1"


@pytest.fixture
def images(settings):
    """An empty image store."""
    return ImageStore(settings.images_dir)


@pytest.fixture
def pulse():
    """A pulse, and what it has told so far."""
    reading, writing = os.pipe()
    os.set_blocking(reading, False)

    class Heard(Pulse):
        def lines(self):
            try:
                return os.read(reading, 65_536).decode().splitlines()
            except BlockingIOError:
                return []

    yield Heard(writing)
    os.close(reading)
    os.close(writing)


@pytest.fixture
def make_runner(uow, images, settings, pulse):
    """Make a runner whose backend follows a script; settings can be changed by name."""

    def make(script=None, *, backend=None, stop_sign=None, unit=None, duty=None, **changed):
        changed_settings = replace(settings, **changed)
        return Runner(
            RUNNER,
            unit or uow,
            backend or ScriptedBackend(script or Script()),
            images,
            changed_settings,
            pulse,
            stop_sign or StopSign(changed_settings.shutdown_grace_s),
            duty or Duty(changed_settings.inference_backend),
        )

    return make
