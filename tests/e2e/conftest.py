"""The programs under test, and the weights that they share."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.program import Program
from tests.inference.hosted.box import KEY, Box, open_box

Launch = Callable[..., Program]


@pytest.fixture(scope="class")
def launch(tmp_path_factory: pytest.TempPathFactory, models_dir: Path) -> Iterator[Launch]:
    """Make programs, each with a data folder and a database of its own; none outlives the class."""
    programs: list[Program] = []

    def make(**changes: str) -> Program:
        data_dir = tmp_path_factory.mktemp("up") / "data"
        programs.append(Program(data_dir, **{"models_dir": models_dir, **changes}))
        return programs[-1]

    yield make
    for program in programs:
        program.abandon()


@pytest.fixture(scope="class")
def box() -> Iterator[Box]:
    """Simulated providers on loopback, for programs that draw with hosted providers."""
    with open_box() as opened:
        yield opened


@pytest.fixture(scope="class")
def start_hosted(launch: Launch, box: Box) -> Launch:
    """Start programs whose workers have the simulated providers draw: without torch they start in no time."""

    def start(**changes: str) -> Program:
        running = launch(
            INFERENCE_BACKEND="huggingface",
            HUGGINGFACE_API_KEY=KEY,
            HOSTED_GATEWAY_URL=box.url,
            HOSTED_TIMEOUT_S="5",
            OUTBOUND_ALLOWED_NETWORKS="127.0.0.0/8",  # the host of images
            **changes,
        )
        running.start_json()
        return running

    return start


@pytest.fixture(scope="class")
def program(launch: Launch) -> Iterator[Program]:
    """One running program for the tests of a class. It stops on Ctrl-C and leaves nothing behind."""
    running = launch()
    running.start_json()
    yield running
    running.stop()
