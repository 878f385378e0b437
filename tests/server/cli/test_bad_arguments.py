"""Every command of the command line, with every kind of bad argument and in every bad environment."""

import click
import pytest

from server.cli import main
from server.cli.options import Address, Text
from tests.server.cli.results import commands, refused

LARGE = (str(2**63), str(2**64), "9" * 400)
PRINTABLE = ("", "a\nb", "a\udcffb")
"""What is no text: nothing, two lines, and bytes that are not UTF-8."""
GOOD = {
    "who": "ada@example.com",
    "tier": "pro",
    "amount": "5",
    "generation_id": "8b1f",
    "generation_ids": "8b1f",
    "key": "flux-dev-base",
    "credits_": "5",
    "gpu": "4090-24g",
    "prompt": "portrait of a woman with long red hair",
}
WITHOUT_DATABASE = {"bench", "generate", "plan", "weights download", "up", "api", "try"}
"""They need none, make their own, or serve on without it."""


COMMANDS = {" ".join(words): command for words, command in commands(main)}


def bad_values(parameter, folder):  # noqa: C901, PLR0911  # a table, a type a line
    """Return what is no value of a parameter, by its type. A type that is not known here fails the test."""
    kind = parameter.type
    if parameter.name == "prompt":
        return ["", "short", "x" * 2001, "portrait of a\udcff woman"]
    match kind:
        case Address():
            return ["", "avatars.example.com", "ftp://host", "http://", "http://a b", "javascript:alert(1)"]
        case Text():
            return [*PRINTABLE, "x" * (kind.max_chars + 1)]
        case click.Choice():
            return ["", "gold", "a\udcffb"]
        case click.IntRange():
            assert kind.max is not None, f"{parameter.name} has no bound"
            return ["", "many", "1.5", "nan", str(kind.min - 1), str(kind.max + 1), *LARGE]
        case click.types.IntParamType():  # a side, which the entry bounds
            return ["", "many", "-1", "0", "513", *LARGE]
        case click.FloatRange():
            assert kind.max is not None, f"{parameter.name} has no bound"
            return ["", "many", "nan", "inf", "-inf", "-1", "1e300", *LARGE]
        case click.Path(file_okay=False):
            return [*PRINTABLE, str(folder / "file"), str(folder / "file" / "below")]
        case click.Path():
            return [*PRINTABLE, str(folder), str(folder / "nowhere" / "file.png")]
        case click.File():
            return ["", str(folder), str(folder / "nowhere"), str(folder / "empty"), str(folder / "bytes")]
    raise AssertionError(f"no bad values are known for {kind!r} of {parameter.name}")


def filled(command, parameter, value, folder):
    """Return the arguments of a command: good ones, and a value for one parameter."""
    options, arguments = [], []
    for each in command.params:
        given = value if each is parameter else None
        if given is None and not each.required:
            continue
        if given is None:
            given = str(folder / "word") if isinstance(each.type, click.File) else GOOD.get(each.name)
            given = given or str(folder / "fresh")
        if isinstance(each, click.Argument):
            arguments.append(given)
        else:
            options += [each.opts[0], *[given] * each.nargs]
    return [*options, "--", *arguments]


@pytest.fixture
def folder(tmp_path):
    """A folder with files to name."""
    (tmp_path / "file").write_text("no folder")
    (tmp_path / "empty").touch()
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    (tmp_path / "word").write_text("word")
    return tmp_path


@pytest.fixture
def prepared(bare, sqlite_template):
    """Run a command on a migrated SQLite file with its catalogue."""

    def invoke(*arguments, **environ):
        return bare(*arguments, **({"DATABASE_URL": f"sqlite:///{sqlite_template}"} | environ))

    return invoke


class Walk:
    """Runs commands that are to fail, and collects those that do not fail as they should."""

    def __init__(self, invoke):
        self._invoke = invoke
        self.count = 0
        self.faults = []

    def refused(self, words, arguments, **environ):
        """Run a command, which has to end with one sentence and an exit code of its own."""
        result = self._invoke(*words.split(), *arguments, **environ)
        self.count += 1
        sentences = [line for line in result.stderr.splitlines() if line.startswith("Error: ")]
        well = (
            isinstance(result.exception, SystemExit)
            and result.exit_code
            and len(sentences) == 1
            and sentences[0].removeprefix("Error: ").strip()
            and "Traceback" not in result.output
            and "hidden-word" not in result.output
        )
        if not well:
            self.faults.append((words, arguments, environ, result.exception, result.stderr[-200:]))


@pytest.fixture
def walk(bare, sqlite_template):
    """A walk on a migrated SQLite file with its catalogue; environment variables change that."""

    def invoke(*arguments, **environ):
        return bare(*arguments, **({"DATABASE_URL": f"sqlite:///{sqlite_template}"} | environ))

    return Walk(invoke)


class TestArguments:
    def test_a_bad_value(self, walk, folder, record_property):
        """Whatever is no value of a parameter is refused, at every parameter of every command."""
        for words, command in COMMANDS.items():
            for parameter in command.params:
                if isinstance(parameter, click.Option) and (parameter.is_flag or parameter.is_eager):
                    continue
                for value in bad_values(parameter, folder):
                    walk.refused(words, filled(command, parameter, value, folder))
        assert walk.faults == []
        record_property("figure", f"{walk.count} bad values of {len(COMMANDS)} commands: a sentence each")

    def test_one_too_many_or_too_few(self, walk, folder, record_property):
        """An unknown option, an option without its value and an argument that is missing are refused."""
        for words, command in COMMANDS.items():
            walk.refused(words, ["--no-such-option"])
            for parameter in command.params:
                if isinstance(parameter, click.Option) and not parameter.is_flag:
                    walk.refused(words, [parameter.opts[0]])
            if not any(parameter.nargs == -1 for parameter in command.params):
                walk.refused(words, [*filled(command, None, None, folder), "one", "more"])
            if any(parameter.required for parameter in command.params):
                walk.refused(words, [])
        for nonsense in ("nonsense", "users nonsense", "a\udcffb"):
            walk.refused(nonsense, [])
        assert walk.faults == []
        record_property("figure", f"{walk.count} command lines with too much or too little: a sentence each")


BROKEN = (
    {"LOG_LEVEL": "loud"},
    {"PORT": "9" * 400},
    {"HUGGINGFACE_API_KEY_FILE": "/nowhere"},
    {"DATABASE_URL": "mysql://hidden-word"},
    {"DATABASE_URL": "postgresql://me:hidden-word@127.0.0.1:port/db"},
)
AWAY = (
    "postgresql://me:hidden-word@127.0.0.1:1/db",
    "sqlite:///{folder}/file",
    "sqlite:///{folder}/nowhere/db",
)


class TestEnvironment:
    def test_settings(self, walk, folder, record_property):
        """A setting that cannot be used stops every command that reads settings."""
        for words in COMMANDS.keys() - {"bench", "try"}:  # which set those of what they measure, or read none
            for environ in BROKEN:
                walk.refused(words, filled(COMMANDS[words], None, None, folder), **environ)
        assert walk.faults == []
        record_property("figure", f"{walk.count} commands with a bad setting: a sentence each")

    def test_a_database_that_is_away(self, walk, folder, record_property):
        """Without its database a command says so, and quotes no password."""
        (folder / "fresh").mkdir()
        for words in COMMANDS.keys() - WITHOUT_DATABASE - {"doctor"}:  # whose findings are its answer
            for url in AWAY:
                arguments = filled(COMMANDS[words], None, None, folder)
                walk.refused(words, arguments, DATABASE_URL=url.format(folder=folder))
        assert walk.faults == []
        record_property("figure", f"{walk.count} commands without their database: a sentence each")

    @pytest.mark.parametrize("words", ["up", "api", "worker", "migrate", "seed", "users list", "backup"])
    def test_a_data_folder_that_cannot_be_made(self, bare, folder, words):
        """A data folder that cannot be made is named, before anything else is done."""
        arguments = filled(COMMANDS[words], None, None, folder)
        result = bare(*words.split(), *arguments, DATA_DIR="/proc/avatar-creator")
        refused(result, "/proc/avatar-creator")
