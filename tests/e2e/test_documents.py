"""Every code block of the documentation is run against a real server, or else parsed."""

import json
import os
import re
import ssl
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import click
import pytest
import yaml
from PIL import Image

from server.observability.metrics import PREFIX, families
from tests.e2e.documents import (
    INLINE,
    ROOT,
    blocks,
    check_shell,
    check_words,
    documents,
    known_names,
    names_set,
    simple_commands,
)
from tests.e2e.program import environment, wait_for
from tests.server.dialects.conftest import CERTIFICATE, Cutter

BLOCKS = blocks()
RUN_TIMEOUT_S = 200  # a first image on a busy machine

# A reader notices an error, and takes the prefix of a key from what the last command printed.
PRELUDE = r"""
set -euo pipefail
curl() { command curl --fail-with-body "$@"; }
avatar-creator() {
  local printed
  printed=$("$PYTHON" -P -m server.cli "${@//ac_1a2b3c4d/${prefix:-}}") || return
  printf '%s\n' "$printed"
  if [[ $printed =~ ac_[0-9A-Za-z_-]{8} ]]; then prefix=${BASH_REMATCH[0]}; fi
}
"""


def that_are(check):
    """The blocks that are checked in one way, each named by its place."""
    return [pytest.param(block, id=block.place) for block in BLOCKS if block.check == check]


class TestBlocks:
    def test_every_block_is_checked(self, record_property):
        """Every block is in a language that is checked, and the figures say how each of them was."""
        assert {block.language for block in BLOCKS} <= {"console", "python", "text", *PARSERS}
        counts = Counter(block.check for block in BLOCKS)
        assert counts["run"] >= 12
        record_property(
            "figure",
            "code blocks of the documentation: "
            + ", ".join(f"{count} {check}" for check, count in counts.most_common()),
        )
        for block in BLOCKS:
            needs = f", since it needs {block.needs}" if block.check == "parsed" and block.needs else ""
            record_property("figure", f"  {block.place} {block.language}: {block.check}{needs}")

    @pytest.mark.parametrize("block", that_are("parsed"))
    def test_a_block_that_is_parsed(self, block):
        """A block that no test can run has the syntax of its language, and names what exists."""
        PARSERS[block.language](block.text)

    @pytest.mark.parametrize("block", that_are("drawing"))
    def test_a_drawing(self, block):
        """What is marked as text is a drawing, or a list of folders that are there: nothing to be typed."""
        if not re.search("[│┌└─▶◀]", block.text):
            named = re.findall(r"(?<![\w/])([\w.]+)/(?!\w)", block.text)
            folders = {path.name for path in [*ROOT.glob("*/"), *ROOT.glob("*/*/")]}
            assert named
            assert set(named) <= folders

    @pytest.mark.parametrize("document", documents(), ids=lambda path: str(path.relative_to(ROOT)))
    def test_commands_in_sentences(self, document):
        """Commands that a sentence names exist, with the options that it names."""
        for text in INLINE.findall(document.read_text("utf-8")):
            for words in simple_commands(text):
                check_words(words, complete=False)


class TestChecks:
    @pytest.mark.parametrize(
        "text",
        [
            "for name in a b; do echo",
            "make nothing",
            "make bench NOTHING=1",
            'make bench ARGS="--nothing"',
            "avatar-creator nothing",
            "avatar-creator credits nothing ada 1",
            "avatar-creator credits grant ada",
            "avatar-creator plan --gpu nothing",
            "docker compose -f docker-compose.gpu.yml up -d nothing",
            "docker compose -f nothing.yml up -d",
            "docker compose -f docker-compose.gpu.yml exec api avatar-creator nothing",
            "docker compose -f docker-compose.gpu.yml run --rm weights --nothing",
            "docker run --rm nothing plan --gpu 4090-24g",
        ],
    )
    def test_what_is_not_there(self, text):
        """A block that bash cannot read, or that names what does not exist, is found."""
        with pytest.raises((AssertionError, click.UsageError, KeyError)):
            check_shell(text)

    def test_a_name_that_nothing_reads(self):
        """A variable that no program reads is found."""
        with pytest.raises(AssertionError):
            parse_console("echo NOTHING_READS_THIS=1 >> .env")


def parse_console(text):
    check_shell(text)
    assert names_set(text) <= known_names()


def parse_promql(text):
    """Every metric and label is one that the server exports."""
    exported = {metric.name for metric in families(None, 0)}
    documented = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    for name in re.findall(rf"\b{PREFIX}_(\w+)", text):
        base = re.sub("_(sum|count)$", "", name)
        assert f"{PREFIX}_{base}" in exported or f"`{base}" in documented
    assert text.count("(") == text.count(")")


PARSERS = {
    "console": parse_console,
    "json": json.loads,
    "yaml": yaml.safe_load,
    "toml": tomllib.loads,
    "promql": parse_promql,
}


@pytest.fixture(scope="class")
def reader(program, tmp_path_factory):
    """Who pastes blocks into a terminal, where the variables are that the documentation names."""
    reading = Reader(program, tmp_path_factory.mktemp("reader"))
    yield reading
    reading.tls.close()


@pytest.mark.e2e
class TestRunning:
    @pytest.mark.timeout(RUN_TIMEOUT_S + 100)
    @pytest.mark.parametrize("block", that_are("run"))
    def test_a_block_that_is_run(self, reader, block):
        """A block that is pasted into a terminal does what it says, without an error."""
        printed = reader.paste(block)
        for answer in (line for line in printed.splitlines() if line.startswith('{"success"')):
            assert json.loads(answer)["success"] is True
        if "avatar.png" in block.text:
            with Image.open(reader.folder / "avatar.png") as image:
                assert (image.format, image.size) == ("PNG", (512, 512))


class Reader:
    """Pastes blocks into a shell beside a running server."""

    def __init__(self, program, folder):
        self.folder = folder
        self.demo = program.demo
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(CERTIFICATE)
        self.tls = Cutter(int(program.url.rpartition(":")[2]), context)
        user = program.user(self.demo["apiKey"], self.demo["projectId"])
        self.generation_id = user.generate()["generation"]["id"]
        preset = user.get("presets")["presets"][0]["id"]
        Image.new("RGB", (600, 400), "teal").save(folder / "me.jpg")
        for made in ("backups", "secrets"):
            (folder / made).mkdir()
        (folder / "docs").symlink_to(ROOT / "docs")
        self.variables = environment(
            **program.changes,
            DATA_DIR=str(program.data_dir),
            PYTHONPATH=str(ROOT),
            PYTHON=sys.executable,
            PATH=f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            AVATAR_URL=program.url,
            AVATAR_KEY=self.demo["apiKey"],
            AVATAR_PROJECT=self.demo["projectId"],
            api=f"{program.url}/api/avatar-creator",
            auth=f"Authorization: Bearer {self.demo['apiKey']}",
            project=self.demo["projectId"],
            id=self.generation_id,
            preset=preset,
            # fal's client speaks https alone.
            SSL_CERT_FILE=str(CERTIFICATE),
            FAL_KEY=self.demo["apiKey"],
            FAL_RUN_HOST=f"{self.tls.host}/fal/run",
            FAL_QUEUE_RUN_HOST=f"{self.tls.host}/fal/queue",
        )
        self.filled = {
            "http://127.0.0.1:5000": program.url,
            "ac_…": self.demo["apiKey"],
            "AVATAR_PROJECT=…": f"AVATAR_PROJECT={self.demo['projectId']}",
            "/backups": str(folder / "backups"),
            "/srv/avatars": str(folder / "restored"),
            "0b6f3c1e-8c5e-4d2e-9a43-7d5f0c7f4a10": self.generation_id,
        }
        wait_for("the first image is drawn", lambda: user.generation(self.generation_id)["avatarId"])

    def paste(self, block):
        """Fill in what the reader has to, run it, and return what it printed."""
        text = block.text
        for shown, real in self.filled.items():
            text = text.replace(shown, real)
        assert "…" not in text, "a reader cannot know what belongs here"
        command = [sys.executable, "-c", text]
        if block.language == "console":
            command = ["bash", "-c", PRELUDE + text]
        ended = subprocess.run(
            command,
            cwd=self.folder,
            env=self.variables,
            check=False,
            capture_output=True,
            text=True,
            timeout=RUN_TIMEOUT_S,
        )
        assert ended.returncode == 0, ended.stdout + ended.stderr
        return ended.stdout
