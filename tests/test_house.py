"""The rules of this repository that no linter checks."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = (
    "avatar_creator_client",
    "benchmark",
    "catalog",
    "inference",
    "outbound",
    "server",
    "scripts",
    "tests",
)
MAX_LINES = 400
MIN_LINES = 20
MAX_README_LINES = 120
# Files that are short for a reason: kinds of files that tools or conventions ask for, and single ones.
SHORT_NAMES = {"__init__.py", "__main__.py", "conftest.py", "env.py"}
SHORT_FOLDERS = (
    "scripts/",
    "server/db/migrations/versions/",
)  # a script calls a command; a revision is what it is
SHORT_FILES = {
    "inference/silence.py": "local and the miniature share it, and neither may import the other",
    "server/caller.py": "on the lowest floor, since every use case takes it",
    "server/entries/errors.py": "each noun's errors are in its errors.py",
    "server/presets/tables.py": "each noun's tables are in its tables.py",
    "server/spending/tables.py": "each noun's tables are in its tables.py",
    "server/images/repository.py": "each noun's queries are in its repository.py",
    "server/images/tables.py": "each noun's tables are in its tables.py",
    "tests/scripts/test_openapi.py": "tests mirror the source",
    "tests/server/test_clock.py": "tests mirror the source",
    "tests/server/worker/scripted_worker.py": "a program that tests start",
}
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


DOCUMENTED_PATH = re.compile(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|toml|md|json|yml))`")


class TestFiles:
    def test_length(self) -> None:
        """No file of the program or its tests is longer than 400 lines, except lists of words."""
        texts = {path: text for path, text in project_texts().items() if not path.endswith(".txt")}
        lengths = {path: len(text.splitlines()) for path, text in texts.items()}
        long = {path: n for path, n in lengths.items() if path.startswith(SOURCES) and n > MAX_LINES}
        assert not long

    def test_short_files(self) -> None:
        """No Python file has fewer than 20 lines without a reason, and every reason is still needed."""
        lengths = {
            path: len(text.splitlines()) for path, text in project_texts().items() if path.endswith(".py")
        }
        short = {
            path
            for path, lines in lengths.items()
            if lines < MIN_LINES and Path(path).name not in SHORT_NAMES and not path.startswith(SHORT_FOLDERS)
        }
        assert short == set(SHORT_FILES)

    def test_names(self) -> None:
        """No file or folder has a name that says nothing about its content."""
        nameless = [
            path for path in project_texts() if NAMELESS & {part.split(".")[0] for part in Path(path).parts}
        ]
        assert not nameless

    def test_readme(self) -> None:
        """The README has at most 120 lines."""
        assert len((ROOT / "README.md").read_text("utf-8").splitlines()) <= MAX_README_LINES

    def test_workflows(self) -> None:
        """The files for GitHub are what GitHub's schemas ask for."""
        check = [sys.executable, "-m", "check_jsonschema", "--builtin-schema"]
        for schema, files in (
            ("vendor.github-workflows", sorted((ROOT / ".github" / "workflows").glob("*.yml"))),
            ("vendor.dependabot", [ROOT / ".github" / "dependabot.yml"]),
        ):
            checked = subprocess.run([*check, schema, *files], check=False, capture_output=True, text=True)
            assert checked.returncode == 0, checked.stdout + checked.stderr

    def test_documents_name_files_that_exist(self) -> None:
        """Every file that the documentation names in code style is there."""
        documents = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]
        missing = {
            f"{document.relative_to(ROOT)}: {path}"
            for document in documents
            if document.name != "CHANGELOG.md"
            for path in DOCUMENTED_PATH.findall(document.read_text("utf-8"))
            if not any((folder / path).exists() for folder in (ROOT, ROOT / "server", document.parent))
        }
        assert not missing

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
        drawing = ["torch", "diffusers", "transformers", "peft", "accelerate", "inference", "outbound"]
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
    (contract,) = (
        each for each in contracts if {"inference", "torch"} <= {*each.get("forbidden_modules", [])}
    )
    entries = [path for path in (ROOT / "server").iterdir() if not path.name.startswith("_")]
    parts = {path.stem for path in entries if path.is_dir() or path.suffix == ".py"}
    assert set(contract["source_modules"]) == {f"server.{part}" for part in parts - {"worker", "cli"}}
