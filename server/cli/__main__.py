"""`python -m server.cli` is `avatar-creator`."""

from server.cli import main

main()
