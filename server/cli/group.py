"""The command group. Commands are imported when they are called, so that each starts with what it needs."""

from importlib import import_module
from typing import Any, Final

import click

COMMANDS: Final = {
    "up": "server.cli.up:up",
    "api": "server.cli.serve:api",
    "worker": "server.cli.serve:worker",
    "migrate": "server.cli.database:migrate",
    "roles": "server.cli.database:roles",
    "seed": "server.cli.catalogue:seed",
    "models": "server.cli.catalogue:models",
    "entries": "server.cli.catalogue:entries",
    "users": "server.cli.accounts:users",
    "keys": "server.cli.accounts:keys",
    "link": "server.cli.sign_in:link",
    "credits": "server.cli.credits:credits_",
    "generations": "server.cli.generations:generations",
    "projects": "server.cli.generations:projects",
    "images": "server.cli.images:images",
    "backup": "server.cli.backup:backup",
    "restore": "server.cli.backup:restore",
    "stats": "server.cli.stats:stats",
    "weights": "server.cli.weights:weights",
    "try": "server.cli.try_:try_",
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

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command. An expected trouble ends it with a sentence, anything else with its traceback."""
        try:
            return super().invoke(ctx)
        except (click.ClickException, click.Abort, click.exceptions.Exit):
            raise
        except Exception as error:
            from server.cli.troubles import in_words  # noqa: PLC0415  # knows the errors of every floor

            trouble = in_words(error)
            if trouble is None:
                raise
            words, exit_code = trouble
            click.echo(f"Error: {words}", err=True)
            raise SystemExit(exit_code) from error


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="avatar-creator")
def main() -> None:
    """Turn prompts into avatars on your own GPUs."""
