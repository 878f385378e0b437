"""What tests of the command line read in the result of a command."""

import json


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
