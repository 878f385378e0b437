import pytest
from huggingface_hub import set_client_factory
from huggingface_hub.utils._http import default_client_factory

from tests.inference.downloading.hub import TOKEN, open_hub
from tests.inference.downloading.repositories import repositories


@pytest.fixture
def hub():
    """A hub with FLUX.1's two repositories in small, and the adapter's.

    The client's transport is its own: a hosted backend, of another test in this process, gives it another.
    """
    set_client_factory(default_client_factory)
    with open_hub(repositories()) as opened:
        yield opened


@pytest.fixture
def token():
    """A token that the hub knows."""
    return TOKEN
