"""The command `avatar-creator bench`."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmark.command import ALL
from benchmark.measuring import MEASUREMENTS
from benchmark.record import Record
from server.cli import main

ROOT = Path(__file__).parents[2]


def bench(*arguments, **environ):
    return CliRunner().invoke(main, ["bench", *arguments], env={"MODEL_PROFILE": None, **environ})


class TestRun:
    def test_an_entry_at_miniature_size(self, tmp_path):
        """An entry is drawn bare and through the server, and appears in the table, the JSON and the chart."""
        arguments = [
            "--only",
            "drawing",
            "--entry",
            "flux-schnell-fast",
            "--runs",
            "1",
            "--through",
            "server",
        ]
        completed = subprocess.run(
            [sys.executable, "scripts/benchmark.py", *arguments, "--to", str(tmp_path)],
            cwd=ROOT,
            env=os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "200", "MODEL_PROFILE": "miniature"},
            check=False,
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert completed.returncode == 0, completed.stderr
        assert "| FLUX.1-schnell Fast | exact | 512x512 | 4 |" in completed.stdout
        assert {file.suffix for file in tmp_path.iterdir()} == {".md", ".json", ".png", ".svg"}
        record = Record.read(tmp_path / "benchmark.json")
        (row,) = record.entries
        assert row.measured.steps_per_s > 0
        assert row.measured.peak_mib > 100
        assert row.measured.lora_adds_s is None
        assert row.served.p50_s > row.served.adds_p50_ms / 1000
        assert {"drawing: peak memory of the process"} < {figure.name for figure in record.figures["drawing"]}
        assert record.machine["versions"]["torch"]


class TestCompare:
    def test_two_files(self, record, tmp_path):
        """Two files are compared, and nothing is measured."""
        file = tmp_path / "a.json"
        file.write_text(record.to_json(), "utf-8")
        result = bench("--compare", str(file), str(file))
        assert result.exit_code == 0, result.output
        assert "| flux-dev-base: p50 | 3.6 s | 3.6 s | 1.00 |" in result.output

    def test_another_file(self, tmp_path):
        """The error names a file that is no record."""
        file = tmp_path / "a.json"
        file.write_text(json.dumps({"machine": {}}), "utf-8")
        result = bench("--compare", str(file), str(file))
        assert result.exit_code == 1
        assert "a.json is no record" in result.output


class TestRefusals:
    @pytest.mark.parametrize(
        ("arguments", "sentence"),
        [
            (("--weights", "random", "--only", "submit"), "does not draw with random weights"),
            (("--weights", "random", "--only", "blocks", "--through", "server"), "is a part of"),
            (("--only", "api", "--through", "server"), "is a part of the measurement 'drawing'"),
        ],
    )
    def test_impossible_options_are_refused(self, arguments, sentence):
        """Options that allow no measurement are refused with a sentence before anything starts."""
        result = bench(*arguments)
        assert result.exit_code == 2
        assert sentence in result.output

    def test_without_a_gpu(self, monkeypatch):
        """A machine without a GPU does not make all of FLUX.1."""
        monkeypatch.setattr("benchmark.machine.accelerator", lambda: "none")
        result = bench("--weights", "random", "--only", "drawing")
        assert result.exit_code == 2
        assert "--only blocks" in result.output


def test_every_measurement_can_be_chosen():
    """--only accepts the names of all measurements and no other."""
    assert set(ALL) == set(MEASUREMENTS)
