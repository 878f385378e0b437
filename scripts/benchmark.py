"""Measures this machine: the same as `avatar-creator bench`."""

from server.cli.benchmark.command import bench

if __name__ == "__main__":
    bench(prog_name="benchmark.py")
