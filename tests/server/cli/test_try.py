"""`avatar-creator try`, against a real server."""

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest
from PIL import Image

from catalog.tiers import Tier
from inference.errors import OutOfMemory
from inference.scripted import Script
from server.credits.repository import Ledger
from tests.databases import ONE_DATABASE
from tests.server.cli.results import lines, refused
from tests.server.dialects.conftest import drawing, generations  # noqa: F401  # fixtures
from tests.server.routes.conftest import live, serve  # noqa: F401  # fixtures
from tests.server.worker.conftest import heartbeat, images, make_runner  # noqa: F401  # fixtures

PROMPT = "portrait of a woman with long red hair"


@pytest.fixture
def ask(bare, live, make_account, tmp_path):  # noqa: F811  # the fixture
    """Run `try` as a user of the tier basic with some credits."""

    def run(*more, credits_=100, **environ):
        token = make_account(Tier.BASIC, credits=credits_).token
        given = {"AVATAR_URL": live.url, "AVATAR_KEY": token} | environ
        return bare("try", PROMPT, "--out", str(tmp_path / "it.png"), *more, **given)

    return run


@ONE_DATABASE
class TestTry:
    def test_a_file(self, ask, drawing, tmp_path):  # noqa: F811  # the fixture
        """A file has the image, and a line says what it is."""
        drawing()
        (line,) = lines(ask("--width", "512", "--height", "768", "--seed", "7"))
        assert line == f"{tmp_path / 'it.png'}: 512x768, avatar-creator:flux-dev-realism, seed 7"
        with Image.open(tmp_path / "it.png") as image:
            assert image.size == (512, 768)

    @pytest.mark.parametrize(
        ("more", "environ", "words"),
        [
            (["--model", "none"], {}, "modelKey is no available model"),
            (["--width", "520"], {}, "width must be a multiple of 16"),
            ([], {"AVATAR_KEY": "ac_none"}, "The token is not valid"),
            ([], {"credits_": 1}, "Insufficient credits"),
        ],
        ids=str,
    )
    def test_what_is_refused(self, ask, more, environ, words):
        """A refusal of the server's is a sentence."""
        refused(ask(*more, **environ), words)

    def test_what_fails(self, ask, drawing, uow, generations):  # noqa: F811  # the fixtures
        """A drawing that fails is told with its cause, and is given back."""
        drawing(Script(fail_at=1, failure=OutOfMemory("test")))
        refused(ask(), "OUT_OF_MEMORY")
        with uow.read() as tx:
            assert Ledger(tx).balances(generations()[0].user_id) == (100, 0)

    def test_nobody_answers(self, ask, monkeypatch):
        """A server that is not there is named as such."""
        monkeypatch.setattr("avatar_creator_client.calls.PAUSE_S", 0.01)
        refused(ask(AVATAR_URL="http://127.0.0.1:1"), "The server does not answer")


def test_a_terminal_that_shows_pictures(tmp_path):
    """Where the terminal says that it shows pictures, the image is sent to it in its protocol."""
    Image.new("RGB", (64, 64), "teal").save(tmp_path / "it.png")
    program = (
        "import textual_image.renderable as them\n"
        "them.Image = them.TGPImage\n"
        "from pathlib import Path\n"
        "from server.cli import try_\n"
        f"try_._show(Path({str(tmp_path / 'it.png')!r}))\n"
    )
    controller, terminal = pty.openpty()
    rows_and_columns = struct.pack("HHHH", 40, 120, 1200, 800)  # then the pixels
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, rows_and_columns)
    try:
        subprocess.run(
            [sys.executable, "-c", program],
            stdin=terminal,
            stdout=terminal,
            cwd=Path(__file__).parents[3],
            env={"TERM": "xterm-kitty"},
            check=True,
            timeout=60,
        )
        with open(controller, "rb", buffering=0, closefd=False) as screen:  # a descriptor
            assert b"\x1b_G" in screen.read(4096)
    finally:
        for end in (controller, terminal):
            os.close(end)
