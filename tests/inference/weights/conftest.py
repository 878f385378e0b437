import pytest

from tests.inference.weights.hub import TOKEN, open_hub
from tests.inference.weights.repositories import repositories


@pytest.fixture
def hub():
    """A hub with small versions of FLUX.1's two repositories and the adapter's."""
    with open_hub(repositories()) as opened:
        yield opened


@pytest.fixture
def token():
    """A valid token of the hub."""
    return TOKEN
