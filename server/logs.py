"""Structured logs: an event with fields a line, on standard error."""

import logging
import os
import sys
from contextlib import nullcontext, suppress
from typing import Any

import structlog

Log = structlog.typing.FilteringBoundLogger

# Fields whose values are never written to a log.
SECRET_FIELDS = frozenset({"prompt", "token", "authorization", "api_key", "password", "secret"})


def configure_logs(process: str, level: str = "info", *, stream: Any = None) -> None:
    """Send structlog and the standard library's loggers to one stream: JSON, or colours on a terminal.

    With NO_COLOR a terminal gets the same lines without colours. level: the lowest that is written: debug,
    info, warning or error.
    """
    stream = stream or sys.stderr
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        _drop_secrets,
    ]
    renderer: structlog.typing.Processor = (
        # Source: no-color.org: any value but an empty one.
        structlog.dev.ConsoleRenderer(colors=not os.environ.get("NO_COLOR"))
        if stream.isatty()
        else structlog.processors.JSONRenderer()
    )
    least = logging.getLevelNamesMapping()[level.upper()]
    handler = logging.StreamHandler(stream)
    lines = _Lines(handler)
    structlog.configure(
        processors=[*shared, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(least),
        logger_factory=lambda *_: lines,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(max(least, logging.INFO))  # what libraries say below it may hold secrets
    # These speak of every request, job or migration; what matters of it is logged here, with its fields.
    for chatty in ("uvicorn.access", "rq.worker", "rq", "alembic", "httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(max(least, logging.WARNING))
    structlog.contextvars.bind_contextvars(process=process)


def get_log(name: str) -> Log:
    """Return the logger of a module."""
    log: Log = structlog.get_logger(name)
    return log


class _Lines:
    """Writes our rendered events to the stream of a handler: `logging` takes twice as long."""

    def __init__(self, handler: "logging.StreamHandler[Any]") -> None:
        self._handler = handler

    def _write(self, line: str) -> None:
        with self._handler.lock or nullcontext(), suppress(OSError, ValueError):
            # As the handler does: a log that cannot be written ends nothing else.
            self._handler.stream.write(line + self._handler.terminator)
            self._handler.flush()

    debug = info = warning = error = critical = exception = _write


def _drop_secrets(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for name in SECRET_FIELDS & event.keys():
        event[name] = "[not logged]"
    return event
