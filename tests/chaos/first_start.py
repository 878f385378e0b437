"""The points that a program meets only when it is started for the first time on a data folder."""

from contextlib import suppress

import psutil

from server.images.links import SECRET_FILE
from tests.chaos.crash_director import CrashDirector
from tests.chaos.stage import Stage
from tests.e2e.program import wait_for

MAKING = "api | application.create_app | {}"
POSITIONS = ("before link", "after link", "before unlink", "after unlink")
"""The secret that signs the addresses of images is made once, by a link: two processes agree on it."""


def visit_first_start(stage: Stage, director: CrashDirector) -> None:
    """Kill an API at each point of its first start. No address of an image may have been given out yet."""
    for position in POSITIONS:
        point = MAKING.format(position)
        (stage.data_dir / SECRET_FILE).unlink(missing_ok=True)
        director.arm(point, "kill")
        _restart(stage)
        wait_for(f"an API dies at {point}", lambda name=point: director.was_killed_at(name), 60)
    _restart(stage)  # with the secret that is there now
    wait_for("the APIs are ready again", stage.is_ready, 60, 0.3)


def _restart(stage: Stage) -> None:
    running = stage.find("api")
    for process in running:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(running, timeout=10)
