import time

import pytest

from inference.hosted.backend import HostedBackend, HostedConfig
from outbound.addresses import AddressPolicy
from tests.inference.hosted.box import KEY, open_box


@pytest.fixture
def box():
    """The fake router with its providers."""
    with open_box() as opened:
        yield opened


@pytest.fixture
def backend_at(box):
    """Make backends whose providers are in the box, with hardly any wait between retries."""
    made = []

    def make(*providers, timeout_s=20.0, gateway=None, networks=("127.0.0.0/8",)):
        config = HostedConfig(
            KEY,
            providers,
            timeout_s=timeout_s,
            gateway=gateway or box.url,
            policy=AddressPolicy.of(networks),
        )
        made.append(HostedBackend(config, sleep=lambda _: time.sleep(0.01)))
        return made[-1]

    yield make
    for backend in made:
        backend.close()
