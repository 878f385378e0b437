"""Measures this machine, as `avatar-creator bench` does."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this folder first on sys.path, where this file would hide the package `benchmark` beside it.
    sys.path[0] = str(Path(__file__).resolve().parent.parent)

    from benchmark.command import bench

    bench(prog_name="benchmark.py")
