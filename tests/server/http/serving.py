"""The application behind a real HTTP server, as `avatar-creator api` runs it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from server.cli.serve import http_server
from server.settings import Settings
from server.supervisor.api_process import listen


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """Run the HTTP server of the API, and yield its URL."""
    server, listening = http_server(settings.changed(reaper_period_s=3600.0)), listen("127.0.0.1", 0)
    thread = threading.Thread(target=server.run, args=([listening],))
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
