"""The command group. Commands are imported when they are called, so that each starts with what it needs."""

from importlib import import_module
from typing import Final

import click

COMMANDS: Final = {
    "up": "server.cli.up:up",
    "api": "server.cli.serve:api",
    "worker": "server.cli.serve:worker",
    "migrate": "server.cli.database:migrate",
    "roles": "server.cli.database:roles",
    "seed": "server.cli.database:seed",
    "models": "server.cli.database:models",
    "users": "server.cli.accounts:users",
    "keys": "server.cli.accounts:keys",
    "link": "server.cli.sign_in:link",
    "credits": "server.cli.accounts:credits_",
    "generations": "server.cli.accounts:generations",
    "images": "server.cli.images:images",
    "backup": "server.cli.backup:backup",
    "restore": "server.cli.backup:restore",
    "stats": "server.cli.stats:stats",
    "weights": "server.cli.weights:weights",
    "generate": "server.cli.generate:generate",
    "plan": "server.cli.plan:plan",
    "doctor": "server.cli.doctor:doctor",
    "bench": "benchmark.command:bench",
}


class LazyGroup(click.Group):
    """A group that imports a command when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the commands' names in the order of the help text."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a command, None if there is none of this name."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="avatar-creator")
def main() -> None:
    """Turn prompts into avatars on your own GPUs."""
