"""The rules of this repository that no linter checks."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = ("benchmark", "catalog", "inference", "server", "scripts", "tests")
MAX_LINES = 400
MAX_README_LINES = 120
NAMELESS = {"utils", "util", "helpers", "helper", "common", "misc"}
# A personal or machine-specific folder at the start of a path, but not inside a URL or after a variable.
MACHINE_PATH = re.compile(r"(?<![\w.}~-])/(?:home|Users|root|work)/\w")
# Package indexes and image registries, spelled so that this file itself contains no such name.
REGISTRY = re.compile(
    r"\b(?:py[p]i\.(?:org|io)|files\.python[h]osted\.org|download\.py[t]orch\.org|conda\.an[a]conda\.org"
    r"|ghc[r]\.io|nvc[r]\.io|gc[r]\.io|qua[y]\.io|(?:registry-1\.)?docke[r]\.io)\b"
    r"|https?://[^\s/]+/(?:[\w.-]+/)*simple/?(?=[\s\"']|$)"
)


def project_texts() -> dict[str, str]:
    """Return the text files that git tracks or would track, by their path from the root."""
    if not (ROOT / ".git").exists():
        pytest.skip("this copy is no git checkout, so the project's files are unknown")
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],  # noqa: S607  # any git will do
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    texts = {}
    for path in filter(None, listed.stdout.split("\0")):
        try:
            texts[path] = (ROOT / path).read_text("utf-8")
        except (UnicodeDecodeError, FileNotFoundError, IsADirectoryError):
            continue  # an image or weights; deleted and not yet committed; a link to a folder
    return texts


def lines_with(pattern: re.Pattern[str], texts: dict[str, str]) -> list[str]:
    return [
        f"{path}:{number}: {line.strip()}"
        for path, text in texts.items()
        for number, line in enumerate(text.splitlines(), start=1)
        if pattern.search(line)
    ]


class TestFiles:
    def test_length(self) -> None:
        """No file of the program or its tests is longer than 400 lines, except lists of words."""
        texts = {path: text for path, text in project_texts().items() if not path.endswith(".txt")}
        lengths = {path: len(text.splitlines()) for path, text in texts.items()}
        long = {path: n for path, n in lengths.items() if path.startswith(SOURCES) and n > MAX_LINES}
        assert not long

    def test_names(self) -> None:
        """No file or folder has a name that says nothing about its content."""
        nameless = [
            path for path in project_texts() if NAMELESS & {part.split(".")[0] for part in Path(path).parts}
        ]
        assert not nameless

    def test_readme(self) -> None:
        """The README has at most 120 lines."""
        assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MAX_README_LINES

    def test_machine_paths(self) -> None:
        """No file contains a path of the machine that it was written on."""
        assert not lines_with(MACHINE_PATH, project_texts())

    def test_registries(self) -> None:
        """No file names a package index or an image registry, because the operator chooses them."""
        assert not lines_with(REGISTRY, project_texts())


class TestPatterns:
    @pytest.mark.parametrize("folder", ["home", "Users", "root", "work"])
    def test_machine_path(self, folder: str) -> None:
        """A path below somebody's folder is found, and the same word inside a URL is not."""
        assert MACHINE_PATH.search(f"cache = '/{folder}/me/.cache'")
        assert not MACHINE_PATH.search(f"https://example.com/{folder}/me")
        assert not MACHINE_PATH.search(f"$HOME/{folder}/me")

    @pytest.mark.parametrize(
        "host", ["py{}pi.org/simple", "download.py{}torch.org/whl/cpu", "gh{}cr.io/acme/image"]
    )
    def test_registry(self, host: str) -> None:
        """A package index and an image registry are found with and without a scheme."""
        assert REGISTRY.search(host.format(""))
        assert REGISTRY.search("https://" + host.format(""))

    def test_private_index(self) -> None:
        """A private index is found by the shape of its address."""
        assert REGISTRY.search("http://" + "10.0.0.1:8080/root/" + "simple/")
        assert not REGISTRY.search("https://example.com/a-simple-page")


class TestApiProcess:
    def test_no_torch(self, tmp_path: Path) -> None:
        """Importing the API's application loads neither torch nor any library that draws."""
        drawing = ["torch", "diffusers", "transformers", "peft", "accelerate", "inference"]
        loaded = subprocess.run(
            [
                sys.executable,
                "-c",
                f"import sys, server.application; print([m for m in {drawing} if m in sys.modules])",
            ],
            cwd=tmp_path,
            env=os.environ | {"PYTHONPATH": str(ROOT)},
            check=False,
            capture_output=True,
            text=True,
        )
        assert (loaded.returncode, loaded.stdout.strip()) == (0, "[]"), loaded.stderr


def test_the_import_contract_knows_every_part_of_the_server() -> None:
    """Every module of the server except the worker and the command line is forbidden to import inference."""
    with (ROOT / "pyproject.toml").open("rb") as file:
        contracts = tomllib.load(file)["tool"]["importlinter"]["contracts"]
    (contract,) = (each for each in contracts if "inference" in each.get("forbidden_modules", []))
    parts = {path.stem for path in (ROOT / "server").iterdir() if not path.name.startswith("_")}
    assert set(contract["source_modules"]) == {f"server.{part}" for part in parts - {"worker", "cli"}}
