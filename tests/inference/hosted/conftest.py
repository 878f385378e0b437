import time

import pytest

from inference.hosted.backend import HostedBackend, HostedConfig
from tests.inference.hosted.box import KEY, open_box


@pytest.fixture
def box():
    """A provider in a box."""
    with open_box() as opened:
        yield opened


@pytest.fixture
def backend_at(box):
    """Make backends that reach their providers in the box, and hardly wait between two rounds."""
    made = []

    def make(*providers, timeout_s=20.0, gateway=None):
        config = HostedConfig(KEY, providers, timeout_s=timeout_s, gateway=gateway or box.url)
        made.append(HostedBackend(config, wait=lambda _: time.sleep(0.01)))
        return made[-1]

    yield make
    for backend in made:
        backend.close()
