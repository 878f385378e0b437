"""up: the product on this machine, on one command."""

import json
import signal
import sys
import threading
from dataclasses import replace
from types import FrameType

import click
from rich.console import Console

from catalog.entries import shipped_entries
from server.cli.options import takes_settings
from server.db.engine import open_engine
from server.db.migrate import migrate
from server.db.unit_of_work import UnitOfWork
from server.settings import Settings
from server.stack import demo
from server.stack.api import PortTaken
from server.stack.lock import DataFolderHeld, hold
from server.stack.redis import RedisUnavailable
from server.stack.stack import Stack
from server.telemetry import configure_logs

GUIDE = """
[bold green]Avatar Creator is ready at {url}[/]  (Ctrl-C stops it)
Demo account: tier {tier}, {balance} credits. Data: {data_dir}

Paste this into another terminal:
"""

CURL = """\
export AVATAR_URL={url} AVATAR_KEY={api_key} AVATAR_PROJECT={project_id}
curl -s "$AVATAR_URL/api/avatar-creator/projects/$AVATAR_PROJECT/avatars/generate" \\
  -H "Authorization: Bearer $AVATAR_KEY" -H "Content-Type: application/json" \\
  -d '{{"name": "Ada", "prompt": "portrait of a woman with long red hair and glasses, blue background"}}'
"""


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), help="0 takes a free one.  [env: PORT; default: 5000]")
@click.option("--workers", type=click.IntRange(1, 16), default=1, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one line of JSON when ready.")
@takes_settings
def up(settings: Settings, port: int | None, workers: int, *, as_json: bool) -> None:
    """Run everything: the API, an embedded Redis, a worker and a demo account."""
    configure_logs("up")
    settings = settings if port is None else replace(settings, port=port)
    stopped = threading.Event()

    def stop(_signal: int, _frame: FrameType | None) -> None:
        stopped.set()

    try:
        with hold(settings.data_dir):
            signal.signal(signal.SIGTERM, stop)
            signal.signal(signal.SIGINT, stop)
            _run(settings, workers, stopped, as_json=as_json)
    except (DataFolderHeld, PortTaken, RedisUnavailable) as error:
        raise click.ClickException(str(error)) from error


def _run(settings: Settings, workers: int, stopped: threading.Event, *, as_json: bool) -> None:
    engine = open_engine(settings.database_url)
    uow = UnitOfWork(engine)
    stack = Stack(settings, uow, workers)
    with stack.drawing():
        migrate(engine)
        with uow.begin() as tx:
            tx.entries.seed(shipped_entries(settings.flux_model, settings.flux_lora_model))
        with stack.serving():
            account = demo.prepare(uow)
            if stack.wait_until_ready(stopped):
                _tell(settings, stack.api.url, account, as_json=as_json)
                stopped.wait()
    uow.close()


def _tell(settings: Settings, url: str, account: demo.Demo, *, as_json: bool) -> None:
    if as_json:
        told = {"url": url, "apiKey": account.api_key, "projectId": account.project_id}
        sys.stdout.write(json.dumps(told) + "\n")
        sys.stdout.flush()
        return
    guide = GUIDE.format(url=url, tier=account.tier, balance=account.balance, data_dir=settings.data_dir)
    Console().print(guide)
    # Not through rich: a terminal must not wrap what is to be pasted.
    sys.stdout.write(CURL.format(url=url, api_key=account.api_key, project_id=account.project_id))
    sys.stdout.flush()
