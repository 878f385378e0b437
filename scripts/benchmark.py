"""Measures this machine, as `avatar-creator bench` does."""

import sys
from pathlib import Path

if __name__ == "__main__":
    # Python puts this folder first on sys.path, so this file would hide the package `benchmark`.
    sys.path[:] = [entry for entry in sys.path if Path(entry).resolve() != Path(__file__).parent.resolve()]

    from benchmark.command import bench

    bench(prog_name="benchmark.py")
