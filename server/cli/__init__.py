"""The command line: `avatar-creator`."""

from server.cli.group import main

__all__ = ["main"]
