import pytest

from tests.inference.hosted.box import open_box


@pytest.fixture
def box():
    """A provider in a box."""
    with open_box() as opened:
        yield opened
