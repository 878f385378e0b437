"""Measures this machine: the same as `avatar-creator bench`."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this folder first, where this file would hide the package of the same name.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent.resolve()]

    from benchmark.command import bench

    bench(prog_name="benchmark.py")
