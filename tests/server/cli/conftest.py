"""The command line as an operator runs it, in an isolated environment."""

import logging
from collections.abc import Callable, Iterator

import pytest
import structlog
from click.testing import CliRunner, Result

from server.cli import main
from server.settings import Settings
from server.settings.groups import variables

Invoke = Callable[..., Result]


@pytest.fixture
def bare(tmp_path) -> Iterator[Invoke]:
    """Run a command on an empty data folder; keywords are environment variables."""
    own = {"DATA_DIR": str(tmp_path / "data"), "MODELS_DIR": str(tmp_path / "models")}

    def invoke(*arguments: str, **environ: str) -> Result:
        env = dict.fromkeys(variables()) | own | environ
        return CliRunner().invoke(main, arguments, env=env)

    root = logging.getLogger()
    before = root.level, root.handlers[:]
    yield invoke
    root.setLevel(before[0])
    root.handlers[:] = before[1]
    structlog.contextvars.clear_contextvars()
    structlog.reset_defaults()


@pytest.fixture
def cli(bare: Invoke, settings: Settings) -> Invoke:
    """Run a command on a migrated and seeded database of either kind and a running Redis."""

    def invoke(*arguments: str, **environ: str) -> Result:
        own = {"DATABASE_URL": settings.database.url, "REDIS_URL": settings.redis.url or ""}
        return bare(*arguments, **(own | environ))

    return invoke
