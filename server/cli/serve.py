"""api, worker: the processes that operators run."""

import socket
import threading
from dataclasses import replace
from functools import partial

import click
import uvicorn

from server.asgi import create_app
from server.cli.opening import opened
from server.cli.options import takes_settings
from server.cli.stopping import stopped_by_signals
from server.generations import settlement
from server.images.store import ImageStore
from server.queues.bell import Bell
from server.queues.reaper import Reaper
from server.settings import Settings
from server.stack.api import PortTaken, listen
from server.telemetry import configure_logs
from server.tether import tie_to_parent
from server.worker.watchdog import Watchdog, host

GRACE_S = 10


@click.command()
@click.option("--host", help="The address to listen on.  [env: HOST; default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="[env: PORT; default: 5000]")
@click.option("--socket", "descriptor", type=int, hidden=True, help="A listening socket of the parent's.")
@click.option("--tethered", is_flag=True, hidden=True, help="Stop when standard input ends.")
@takes_settings
def api(
    settings: Settings, host: str | None, port: int | None, descriptor: int | None, *, tethered: bool
) -> None:
    """Run the API."""
    configure_logs("api")
    if tethered:
        tie_to_parent(GRACE_S)
    settings = replace(
        settings,
        host=settings.host if host is None else host,
        port=settings.port if port is None else port,
    )
    try:
        listening = (
            listen(settings.host, settings.port) if descriptor is None else socket.socket(fileno=descriptor)
        )
    except PortTaken as error:
        raise click.ClickException(str(error)) from error
    config = uvicorn.Config(
        create_app(settings),
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_S,
    )
    uvicorn.Server(config).run(sockets=[listening])


@click.command()
@click.option(
    "--reserve",
    is_flag=True,
    help="The hosted worker: with INFERENCE_BACKEND=auto it steps in for local ones.",
)
@click.option(
    "--check", is_flag=True, help="Run none: exit with 0 if one is ready on this host, else with 1."
)
@takes_settings
def worker(settings: Settings, *, reserve: bool, check: bool) -> None:
    """Run a worker for one device, with its watchdog and the reaper."""
    if reserve and "huggingface" not in settings.backends:
        raise click.UsageError("--reserve is for INFERENCE_BACKEND=auto or huggingface")
    backend = settings.backends[-1] if reserve else settings.backends[0]
    configure_logs("watchdog")
    if check:
        with opened(settings) as uow, uow.read() as tx:
            ready = tx.workers.of_host(host())
        raise SystemExit(0 if ready else 1)
    stopped = stopped_by_signals()
    with opened(settings) as uow:
        reaper = Reaper(uow, Bell(settings), ImageStore(settings.images_dir), settings)
        reaping = threading.Thread(target=reaper.run, args=(stopped,), name="reaper")
        reaping.start()
        Watchdog(settings, partial(settlement.lose, uow), backend).run(stopped)
        reaping.join()
