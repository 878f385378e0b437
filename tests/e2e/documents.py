"""Reads the code blocks of the documentation, and checks by parsing what cannot be run."""

import re
import shlex
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

import click
import yaml
from markdown_it import MarkdownIt

from server.cli.group import main
from server.settings.groups import variables

ROOT: Final = Path(__file__).parent.parent.parent
COMPOSE_FILE: Final = "docker-compose.gpu.yml"

BEYOND: Final = {"docker": "Docker", "dc": "Docker", "make": "an installation, or minutes", "git": "a remote"}
"""Commands that no test can run, and what they need: a block that has one is parsed instead."""

KEYWORDS: Final = {"do", "then", "else", "if", "while", "until", "!"}
SEPARATOR: Final = re.compile(r"[;&|()]+")
REDIRECTION: Final = re.compile(r"[<>]+")
ASSIGNMENT: Final = re.compile(r"([A-Za-z_]\w*)=(.*)", re.DOTALL)
INLINE: Final = re.compile(r"`((?:avatar-creator|make) [^`]+)`")
MAKES_COMMANDS: Final = {"up", "bench"}
"""Targets of the Makefile that pass ARGS to a command of the same name."""

VALUED: Final = {"-f", "--file", "--profile", "--volume"}
"""Options of docker compose that are followed by a value."""


@dataclass(frozen=True)
class Block:
    """A fenced block of a document, and the line that it begins in."""

    document: str
    line: int
    language: str
    text: str

    @property
    def place(self) -> str:
        """Where a reader finds it."""
        return f"{self.document}:{self.line}"

    @property
    def needs(self) -> str:
        """What it would take to run it, empty if a test can."""
        words = (simple[0] for simple in simple_commands(self.text))
        return next((BEYOND[word] for word in words if word in BEYOND), "")

    @property
    def check(self) -> str:
        """How it is checked: it is run, or parsed, or it is a drawing."""
        if self.language == "console":
            return "parsed" if self.needs else "run"
        return {"python": "run", "text": "drawing"}.get(self.language, "parsed")


def documents() -> list[Path]:
    """Return the README, what lies beside it, and all pages of the documentation."""
    return [*sorted(ROOT.glob("*.md"), reverse=True), *sorted((ROOT / "docs").rglob("*.md"))]


def blocks() -> list[Block]:
    """Return the code blocks of all documents, in the order in which a reader meets them."""
    found = []
    for document in documents():
        name = str(document.relative_to(ROOT))
        for token in MarkdownIt().parse(document.read_text("utf-8")):
            if token.type in ("fence", "code_block"):
                assert token.map is not None
                found.append(Block(name, token.map[0] + 1, token.info.strip(), token.content))
    return found


def simple_commands(text: str) -> Iterator[list[str]]:
    """Yield the commands of a shell's text without what joins them, keywords and assignments before them."""
    for line in text.replace("\\\n", " ").splitlines():
        lexer = shlex.shlex(line, posix=True, punctuation_chars=True)
        lexer.wordchars += "$@{}%…"
        words: list[str] = []
        tokens = iter([*lexer, ";"])
        for token in tokens:
            if REDIRECTION.fullmatch(token):
                next(tokens)
                continue
            if not SEPARATOR.fullmatch(token):
                words.append(token)
                continue
            while words and (words[0] in KEYWORDS or ASSIGNMENT.fullmatch(words[0])):
                words.pop(0)
            if words:
                yield words
            words = []


def check_shell(text: str) -> None:
    """Check that bash can read it, and that the commands of this project that it names exist."""
    read = subprocess.run(["bash", "-n"], input=text, check=False, capture_output=True, text=True)  # noqa: S607  # any bash will do
    assert (read.returncode, read.stderr) == (0, "")
    for words in simple_commands(text):
        check_words(words)


def check_words(words: list[str], *, complete: bool = True) -> None:
    """Check one command, if it is one of this project's. complete: it also needs all its arguments."""
    match words:
        case ["avatar-creator", *rest]:
            check_command(rest, complete=complete)
        case ["make", *rest]:
            check_make(rest)
        case ["docker", "compose", *rest] | ["dc", *rest]:
            check_compose(rest)
        case ["docker", "run", "--rm", image, *rest]:
            assert image in {
                service.get("image", "").partition(":-")[2].strip("}") for service in services().values()
            }
            check_command(rest, complete=complete)


def check_command(words: list[str], *, complete: bool) -> None:
    """Check that click takes these arguments, without running the command."""
    command: click.Command = main
    names = ["avatar-creator"]
    while isinstance(command, click.Group) and words:
        name, *words = words
        if name.startswith("-"):  # --help
            return
        names.append(name)
        found = command.get_command(click.Context(command), name)
        assert found is not None, f"no command {' '.join(names)}"
        command = found
    if isinstance(command, click.Group):
        return
    try:
        command.make_context(" ".join(names), words)
    except (click.MissingParameter, click.BadOptionUsage):
        if complete:
            raise
    except click.BadParameter as error:
        if error.param is None or not isinstance(error.param.type, click.Path):  # else a file of the reader's
            raise


def check_make(words: list[str]) -> None:
    """Check that the Makefile has the targets and the variables."""
    makefile = (ROOT / "Makefile").read_text("utf-8")
    targets = [word for word in words if not ASSIGNMENT.fullmatch(word)]
    for target in targets:
        assert re.search(rf"^{re.escape(target)}:", makefile, re.MULTILINE), f"no target {target}"
    for name, value in (found.groups() for word in words if (found := ASSIGNMENT.fullmatch(word))):
        assert name in known_names(), f"no variable {name}"
        if name == "ARGS" and MAKES_COMMANDS & {*targets}:
            check_command([*targets, *shlex.split(value)], complete=False)


def check_compose(words: list[str]) -> None:
    """Check the file, the services, and what is run in them."""
    if "-f" in words:
        assert words[words.index("-f") + 1] == COMPOSE_FILE
    verb, *rest = _positional(words)
    if verb in {"run", "exec"}:
        (service, *command) = rest
        command = (
            command
            if verb == "exec"
            else [*services()[service].get("entrypoint", ["avatar-creator"]), *command]
        )
        check_words(command)
    for name in {"cp": [rest[0].split(":")[0]] if rest else [], "down": [], "build": []}.get(verb, rest[:1]):
        assert name in services(), f"no service {name}"


def _positional(words: list[str]) -> list[str]:
    """Leave out the options of docker compose, up to a service's command."""
    found: list[str] = []
    rest = iter(words)
    for word in rest:
        if len(found) > 1 and found[0] in {"run", "exec"}:
            return [*found, word, *rest]
        if word in VALUED:
            next(rest)
        elif not word.startswith("-"):
            found.append(word)
    return found


@cache
def services() -> dict[str, dict[str, Any]]:
    """Return the services of the compose file."""
    found: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / COMPOSE_FILE).read_text("utf-8"))["services"]
    return found


def names_set(text: str) -> set[str]:
    """Return the names in capitals that a shell's text gives a value to."""
    return set(re.findall(r"(?<![\w$])([A-Z][A-Z0-9_]{3,})=", text))


@cache
def known_names() -> set[str]:
    """Return the settings, and what the Makefile, the compose file and `make chaos` read."""
    readers = (ROOT / "Makefile", ROOT / COMPOSE_FILE, *(ROOT / "tests" / "chaos").glob("*.py"))
    sources = "".join(path.read_text("utf-8") for path in readers)
    return {*variables(), *re.findall(r"\b[A-Z][A-Z0-9_]{3,}\b", sources)}
