import pytest

from tests.inference.weights.hub import TOKEN, open_hub
from tests.inference.weights.repositories import repositories


@pytest.fixture
def hub():
    """A hub with FLUX.1's two repositories in small, and the adapter's."""
    with open_hub(repositories()) as opened:
        yield opened


@pytest.fixture
def token():
    """A token that the hub knows."""
    return TOKEN
