"""up: the product on this machine, on one command."""

import json
import sys
import threading
from typing import TYPE_CHECKING

import click

from server.cli.options import takes_settings
from server.logs import configure_logs
from server.settings import Settings
from server.supervisor.data_folder import hold, private_files
from server.supervisor.local_stack import LocalStack
from server.supervisor.shutdown import stopped_by_signals

if TYPE_CHECKING:
    from server.supervisor.preparation import Demo

GUIDE = """
Avatar Creator is ready at {url}  (Ctrl-C stops it)
Demo account: tier {tier}, {balance} credits. Data: {data_dir}

Open this link to draw in your browser (it signs in once, 'avatar-creator link demo' prints another):
{link}

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
    configure_logs("up", settings.server.log_level)
    settings = settings if port is None else settings.changed(PORT=port)
    with private_files(settings), hold(settings.server.data_dir):
        _run(settings, workers, stopped_by_signals(), as_json=as_json)


def _run(settings: Settings, workers: int, stopped: threading.Event, *, as_json: bool) -> None:
    stack = LocalStack(settings, workers)
    with stack.drawing():
        # While the workers import torch, which takes longest, this process imports what a database needs.
        from server.supervisor.preparation import prepare  # noqa: PLC0415

        account = prepare(settings, stack.api.url)
        with stack.serving():
            if stack.wait_until_ready(stopped):
                _tell(settings, stack.api.url, account, as_json=as_json)
                stopped.wait()


def _tell(settings: Settings, url: str, account: "Demo", *, as_json: bool) -> None:
    if as_json:
        line = {"url": url, "link": account.link, "apiKey": account.api_key, "projectId": account.project_id}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()
        return
    guide = GUIDE.format(
        url=url,
        link=account.link,
        tier=account.tier,
        balance=account.balance,
        data_dir=settings.server.data_dir,
    )
    sys.stdout.write(guide + CURL.format(url=url, api_key=account.api_key, project_id=account.project_id))
    sys.stdout.flush()
