"""api, worker: the processes that operators run."""

import socket
from functools import partial
from threading import Thread

import click
import uvicorn

from server.application import create_app
from server.cli.opening import opened
from server.cli.options import NATURAL, Text, takes_settings
from server.http.allocator import share_arenas
from server.http.asgi_server import ApiServer
from server.images.store import ImageStore
from server.logs import configure_logs
from server.scheduling.claim_policy import LOCAL
from server.scheduling.reaper import Reaper
from server.scheduling.registry import is_ready_on, retire
from server.settings import Settings
from server.supervisor.api_process import listen
from server.supervisor.data_folder import private_files
from server.supervisor.shutdown import (
    exit_with_parent,
    in_thread,
    keep_running,
    stopped_by_signals,
)
from server.supervisor.watchdog import Watchdog, host

GRACE_S = 10


@click.command()
@click.option("--host", type=Text(253), help="The address to listen on.  [env: HOST; default: 127.0.0.1]")
@click.option("--port", type=click.IntRange(0, 65535), help="[env: PORT; default: 5000]")
@click.option("--socket", "descriptor", type=NATURAL, hidden=True, help="A listening socket of the parent's.")
@click.option(
    "--exit-with-parent", "has_parent", is_flag=True, hidden=True, help="Stop when standard input ends."
)
@takes_settings
def api(
    settings: Settings, host: str | None, port: int | None, descriptor: int | None, *, has_parent: bool
) -> None:
    """Run the API."""
    configure_logs("api", settings.server.log_level)
    share_arenas()
    if has_parent:
        exit_with_parent(GRACE_S)
    named = {"HOST": host, "PORT": port}
    settings = settings.changed(**{name: value for name, value in named.items() if value is not None})
    with private_files(settings), _listening(settings, descriptor) as listening:
        http_server(settings).run(sockets=[listening])


def _listening(settings: Settings, descriptor: int | None) -> socket.socket:
    if descriptor is None:
        return listen(settings.server.host, settings.server.port)
    return socket.socket(fileno=descriptor)


def http_server(settings: Settings) -> uvicorn.Server:
    """Return the HTTP server of the API."""
    return ApiServer(create_app(settings), settings, GRACE_S)


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
    """Run a worker for each of GPU_IDS, or one for DEVICE, with their watchdogs and the reaper."""
    if reserve and "huggingface" not in settings.worker.backends:
        raise click.UsageError("--reserve is for INFERENCE_BACKEND=auto or huggingface")
    backend = settings.worker.backends[-1] if reserve else settings.worker.backends[0]
    configure_logs("watchdog", settings.server.log_level)
    if check:
        with opened(settings) as uow:
            raise SystemExit(0 if is_ready_on(uow, host()) else 1)
    stopped = stopped_by_signals()
    with private_files(settings), opened(settings) as uow:
        reaper = Reaper(uow, ImageStore(settings.server.images_dir), settings)
        devices = settings.worker.devices if backend == LOCAL else (None,)
        watchdogs = [
            Watchdog(settings, partial(retire, uow, backend), backend, device=device) for device in devices
        ]
        with in_thread("reaper", reaper.run):
            threads = [
                Thread(target=keep_running, args=(f"watchdog-{number}", watchdog.run, stopped))
                for number, watchdog in enumerate(watchdogs)
            ]
            for thread in threads:
                thread.start()
            # All stop at once: one after another would take longer than a container has.
            for thread in threads:
                thread.join()
