"""`python -m server.worker NAME HEARTBEAT_FD DATA_DIR BACKEND`: one worker, started by its watchdog."""

import sys
from pathlib import Path

from server.logs import configure_logs
from server.settings import Settings
from server.supervisor.heartbeat import Heartbeat
from server.supervisor.shutdown import exit_with_parent
from server.worker.backends import make_backend
from server.worker.process import BackendFactory, run_worker

EXIT_MARGIN_S = 10


def main(arguments: list[str], factory: BackendFactory = make_backend) -> None:
    """Run a worker whose watchdog holds its standard input and reads its heartbeat."""
    name, descriptor, data_dir, backend = arguments
    settings = Settings.from_environment(Path(data_dir))
    configure_logs("worker", settings.server.log_level)
    exit_with_parent(settings.worker.shutdown_grace_s + EXIT_MARGIN_S)
    run_worker(settings, name, Heartbeat(int(descriptor)), backend, factory)


if __name__ == "__main__":
    main(sys.argv[1:])
