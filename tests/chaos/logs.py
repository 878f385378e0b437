"""What the logs must not say: a fault of the program's own, a prompt, a key."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

SHOWN_CHARS = 2500


def faults_of_ours(logs: Iterable[Path]) -> list[str]:
    """Return the lines with a traceback, each kind once with its count.

    A line with one tells of what nobody thought of: what is expected is logged by its cause.
    """
    found: Counter[str] = Counter()
    first: dict[str, str] = {}
    for path in logs:
        for line in _lines(path):
            if "Traceback" not in line:
                continue
            kind = _kind(line)
            found[kind] += 1
            first.setdefault(kind, f"{path.name}: {line}")
    return [f"{count} times {kind}: {first[kind][-SHOWN_CHARS:]}" for kind, count in found.items()]


def told_secrets(logs: Iterable[Path], secrets: Iterable[str]) -> list[str]:
    """Return in which logs which secrets are, each by its beginning."""
    hidden = sorted(filter(None, secrets))
    return [
        f"{path.name} has {secret[:8]}…"
        for path in logs
        for secret in hidden
        if secret in path.read_text("utf-8", "replace")
    ]


def _lines(path: Path) -> Iterator[str]:
    """Yield the lines of a log, and what is no line of it, such as a traceback of Python's, together."""
    other: list[str] = []
    with path.open(encoding="utf-8", errors="replace") as file:
        for line in file:
            if line.startswith("{"):
                yield "".join(other)
                other = []
                yield line
            else:
                other.append(line)
    yield "".join(other)


def _kind(line: str) -> str:
    try:
        said = json.loads(line)
    except ValueError:
        return f"no log line: {line.strip().rsplit(chr(10), 1)[-1][:80]}"
    last = str(said.get("exception", "")).strip().rsplit("\n", 1)[-1]
    return f"{said.get('event')}: {last.split(':')[0]}"
