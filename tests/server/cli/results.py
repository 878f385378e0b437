"""The commands, and what tests read in the result of one."""

import json

import click


def lines(result):
    """Check that a command succeeded, and return its output lines."""
    assert result.exit_code == 0, result.output
    return result.stdout.splitlines()


def refused(result, words, exit_code=1):
    """Check that a command failed with a message and without a traceback."""
    assert result.exit_code == exit_code
    assert words in result.stderr
    assert isinstance(result.exception, SystemExit)


def created(result):
    """Return the line of JSON that describes a new key."""
    (line,) = lines(result)
    answer = json.loads(line)
    assert answer.keys() == {"userId", "apiKey", "prefix"}
    assert answer["apiKey"].startswith(answer["prefix"])
    return answer


def commands(group, path=()):
    """Yield every command below a group with its words."""
    context = click.Context(group)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        if isinstance(command, click.Group):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command
