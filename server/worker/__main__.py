"""`python -m server.worker NAME PULSE DATA_DIR BACKEND`: one worker process, started by its watchdog."""

import sys
from pathlib import Path

from server.settings import Settings
from server.telemetry import configure_logs
from server.tether import tie_to_parent
from server.worker.backends import make_backend
from server.worker.process import BackendFactory, run_worker
from server.worker.pulse import Pulse

TETHER_MARGIN_S = 10


def main(arguments: list[str], factory: BackendFactory = make_backend) -> None:
    """Run a worker whose watchdog holds its standard input and reads its pulse."""
    name, descriptor, data_dir, backend = arguments
    settings = Settings.from_environment(Path(data_dir))
    configure_logs("worker")
    tie_to_parent(settings.shutdown_grace_s + TETHER_MARGIN_S)
    run_worker(settings, name, Pulse(int(descriptor)), backend, factory)


if __name__ == "__main__":
    main(sys.argv[1:])
