"""`avatar-creator generate`, on a backend that draws by script."""

import pytest
from PIL import Image

from inference.errors import ImageFlat
from inference.scripted import Script, ScriptedBackend
from server.cli import generate
from tests.server.cli.results import lines, refused

PROMPT = "portrait of a woman with long red hair"


@pytest.fixture
def drawn_by(monkeypatch):
    """Draw by a script, and return the backend."""

    def draw(script=None):
        backend = ScriptedBackend(script or Script())
        monkeypatch.setattr(generate, "make_backend", lambda *_: backend)
        return backend

    return draw


class TestFile:
    @pytest.mark.parametrize(
        ("name", "kind"), [("a.png", "PNG"), ("a.JPG", "JPEG"), ("a.jpeg", "JPEG"), ("a.webp", "WEBP")]
    )
    def test_its_ending_is_its_format(self, bare, drawn_by, tmp_path, name, kind):
        """A file holds what its name says."""
        drawn_by()
        (line,) = lines(bare("generate", PROMPT, "--out", str(tmp_path / name), "--seed", "7"))
        assert line == f"{tmp_path / name}: 512x512, seed 7"
        with Image.open(tmp_path / name) as image:
            assert (image.format, image.size) == (kind, (512, 512))

    def test_one_that_cannot_be_written_is_told_before_drawing(self, bare, drawn_by):
        """Where nothing can be written nothing is drawn."""
        backend = drawn_by()
        refused(bare("generate", PROMPT, "--out", "/proc/avatar.png"), "/proc/avatar.png cannot be used")
        assert backend.orders == []

    @pytest.mark.parametrize("name", ["a.gif", "a", ".png"])
    def test_an_ending_of_no_format_is_refused(self, bare, drawn_by, tmp_path, name):
        """A name that says no format, or another one, is refused with those that there are."""
        drawn_by()
        refused(bare("generate", PROMPT, "--out", str(tmp_path / name)), ".png, .jpg", exit_code=2)

    def test_a_failure_leaves_what_was_there(self, bare, drawn_by, tmp_path):
        """If the drawing fails there is no new file, and an older one is as it was."""
        (tmp_path / "old.png").write_text("older")
        for name in ("old.png", "new.png"):
            drawn_by(Script(failure=ImageFlat(0.1)))
            refused(bare("generate", PROMPT, "--out", str(tmp_path / name)), "The image is flat")
        assert (tmp_path / "old.png").read_text() == "older"
        assert not (tmp_path / "new.png").exists()


class TestPrompt:
    def test_it_is_what_the_api_draws(self, bare, drawn_by, tmp_path):
        """White space is folded as the API folds it."""
        backend = drawn_by()
        out = str(tmp_path / "a.png")
        lines(bare("generate", "  portrait of\n\n a woman ", "--out", out))
        assert backend.orders[0].prompt.startswith("portrait of a woman, ")
