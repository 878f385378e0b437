import io
import json
import logging

import pytest
import structlog
from click.testing import CliRunner

from server.cli import main
from server.logs import configure_logs, get_log


@pytest.fixture
def lines():
    """Logs configured as in a process `test`; a function that returns the lines written so far."""
    stream = io.StringIO()
    root = logging.getLogger()
    before = root.level, root.handlers[:]
    configure_logs("test", stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


class TestLines:
    def test_an_event_is_one_line_of_json(self, lines):
        """Each event is an object with its fields, its level, its time in UTC and its process."""
        get_log("a").info("thing.happened", generation_id="1", words="two\nlines")
        (line,) = lines()
        assert line.pop("timestamp").endswith("Z")
        assert line == {
            "event": "thing.happened",
            "level": "info",
            "process": "test",
            "generation_id": "1",
            "words": "two\nlines",
        }

    def test_libraries_log_alike(self, lines):
        """A line of the standard library's logging has the same shape."""
        logging.getLogger("library").warning("it is %s", "late")
        (line,) = lines()
        assert (line["event"], line["level"], line["process"]) == ("it is late", "warning", "test")

    def test_a_traceback_is_a_field_without_local_variables(self, lines):
        """An exception is logged with its location, and without the values of local variables."""

        def fail(token):
            raise RuntimeError(f"broken by {len(token)} characters")

        private = "ac_token-in-a-variable"
        try:
            fail(private)
        except RuntimeError:
            get_log("a").exception("it.failed")
        (line,) = lines()
        assert "RuntimeError: broken by" in line["exception"]
        assert "test_logs.py" in line["exception"]
        assert private not in json.dumps(line)

    def test_chatty_libraries_log_warnings_only(self, lines):
        """Requests, jobs and migrations are not logged a second time by their libraries."""
        for name in ("uvicorn.access", "rq.worker", "alembic", "httpx"):
            logging.getLogger(name).info("noise")
            logging.getLogger(name).warning("problem")
        assert {line["event"] for line in lines()} == {"problem"}

    def test_a_stream_that_takes_nothing(self, lines):
        """A log that cannot be written, as to a terminal that is gone, fails no request."""
        closed = io.StringIO()
        configure_logs("test", stream=closed)
        closed.close()
        get_log("a").info("nobody.reads_this")
        assert lines() == []

    def test_configuring_twice_does_not_double(self, lines):
        """Each event is written once, however often the logs were set up."""
        stream = io.StringIO()
        configure_logs("again", stream=stream)
        get_log("a").info("once")
        assert len(stream.getvalue().splitlines()) == 1
        assert lines() == []


class Terminal(io.StringIO):
    """A stream that says that it is a terminal."""

    def isatty(self):
        """Say so."""
        return True


class TestColours:
    @pytest.mark.parametrize(("no_color", "coloured"), [(None, True), ("", True), ("1", False)])
    def test_no_color_is_followed(self, lines, monkeypatch, no_color, coloured):
        """A terminal gets lines for people, coloured unless NO_COLOR has a value."""
        monkeypatch.delenv("NO_COLOR", raising=False)
        if no_color is not None:
            monkeypatch.setenv("NO_COLOR", no_color)
        terminal = Terminal()
        configure_logs("test", stream=terminal)
        get_log("a").info("thing.happened")
        assert "thing.happened" in terminal.getvalue()
        assert ("\x1b[" in terminal.getvalue()) is coloured
        assert lines() == []


class TestLevel:
    @pytest.mark.parametrize(
        ("level", "written"),
        [("debug", {"d", "i", "w"}), ("info", {"i", "w"}), ("warning", {"w"}), ("error", set())],
    )
    def test_what_is_below_it_is_not_written(self, lines, level, written):
        """Our events below the level are dropped, those of libraries below INFO always."""
        stream = io.StringIO()
        configure_logs("test", level, stream=stream)
        log = get_log("server.something")
        log.debug("d")
        log.info("i")
        log.warning("w")
        for name in ("library", "uvicorn.error"):
            logging.getLogger(name).debug("hidden words")
        assert {json.loads(line)["event"] for line in stream.getvalue().splitlines()} == written

    def test_a_process_takes_it_from_the_settings(self, tmp_path):
        """LOG_LEVEL is obeyed by a command."""
        root = logging.getLogger()
        before = root.level, root.handlers[:]
        CliRunner().invoke(main, ["migrate"], env={"DATA_DIR": str(tmp_path), "LOG_LEVEL": "error"})
        assert root.level == logging.ERROR
        root.setLevel(before[0])
        root.handlers[:] = before[1]
        structlog.contextvars.clear_contextvars()
        structlog.reset_defaults()


class TestSecrets:
    @pytest.mark.parametrize("field", ["prompt", "token", "authorization", "api_key", "password", "secret"])
    def test_a_secret_field_is_dropped(self, lines, field):
        """The value of a field that is named like a secret is replaced by a note."""
        get_log("a").info("oops", **{field: "hidden-value"})
        (line,) = lines()
        assert line[field] == "[not logged]"
        assert "hidden-value" not in json.dumps(line)

    def test_by_default_the_log_is_standard_error(self, capsys):
        """Standard output is left to the output of commands."""
        root = logging.getLogger()
        before = root.level, root.handlers[:]
        configure_logs("test")
        get_log("a").info("where.am_i")
        root.setLevel(before[0])
        root.handlers[:] = before[1]
        structlog.contextvars.clear_contextvars()
        structlog.reset_defaults()
        captured = capsys.readouterr()
        assert "where.am_i" in captured.err
        assert captured.out == ""
