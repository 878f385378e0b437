"""Python loads this at the start of every process that has this folder on its path, before the program.

The harness copies the folder beside the records of a campaign and puts it on PYTHONPATH: the product has no
line for chaos. Where a point lies is in crash_places.py, what happens there in crash_points.py.
"""

import sys

import crash_places
import crash_points

ROLES = {"api": "api", "worker": "watchdog", "up": "up"}


def role(arguments: list[str]) -> str | None:
    """Return what kind of process of the program this is; None if it is none."""
    if "server.uploads.decoder_process" in arguments:
        return "decoder"
    if "server.worker" in arguments:
        return "hosted worker" if arguments[-1] == "huggingface" else "local worker"
    if "server.cli" in arguments:
        return ROLES.get(arguments[arguments.index("server.cli") + 1], "command")
    return None


if (own := role(sys.orig_argv)) is not None:
    crash_points.open_records(own)
    crash_places.watch(own)
