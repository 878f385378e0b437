"""Structured logs: an event with fields a line, on standard error."""

import logging
import sys
from typing import Any, Final

import structlog

Log = structlog.stdlib.BoundLogger
OURS: Final = ("server", "inference", "benchmark")
"""The packages whose lines below INFO may be asked for: what libraries say there may hold secrets."""

# Fields whose values are never written to a log.
SECRET_FIELDS = frozenset({"prompt", "token", "authorization", "api_key", "password", "secret"})


def configure_logs(process: str, level: str = "info", *, stream: Any = None) -> None:
    """Send structlog and the standard library's loggers to one stream: JSON, or colours on a terminal.

    level: the lowest that is written: debug, info, warning or error.
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
        structlog.dev.ConsoleRenderer() if stream.isatty() else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        wrapper_class=structlog.stdlib.BoundLogger,
        logger_factory=structlog.stdlib.LoggerFactory(),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    least = logging.getLevelNamesMapping()[level.upper()]
    root.setLevel(max(least, logging.INFO))
    for package in OURS:
        logging.getLogger(package).setLevel(least)
    # These speak of every request, job or migration; what matters of it is logged here, with its fields.
    for chatty in ("uvicorn.access", "rq.worker", "rq", "alembic", "httpx", "httpx2"):
        logging.getLogger(chatty).setLevel(max(least, logging.WARNING))
    structlog.contextvars.bind_contextvars(process=process)


def get_log(name: str) -> Log:
    """Return the logger of a module."""
    log: Log = structlog.stdlib.get_logger(name)
    return log


def _drop_secrets(
    _logger: Any, _method: str, event: structlog.typing.EventDict
) -> structlog.typing.EventDict:
    for name in SECRET_FIELDS & event.keys():
        event[name] = "[not logged]"
    return event
