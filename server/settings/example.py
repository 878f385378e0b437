"""`.env.example`, made of the settings' declarations."""

import textwrap
from collections.abc import Iterator
from typing import Any, Final

from server.settings.groups import groups
from server.settings.kinds import Group, choices_of

_COLUMNS: Final = 100
_HEAD: Final = """\
# Every setting with its default, made of server/settings/groups.py by `make env-example`.
#
# Copy this file to .env and remove the # in front of what you change. docker-compose.gpu.yml reads
# .env; without containers, export what you need. An empty value counts as unset.
"""


def render() -> str:
    """Return the text of `.env.example`. Without their #, the lines of settings change nothing."""
    lines = (line for group in groups() for line in _group(group))
    return _HEAD + "".join(f"{line}\n" for line in lines)


def _group(group: type[Group]) -> Iterator[str]:
    yield from ("", f"# ---- {group.title} ----")
    for name, field in group.model_fields.items():
        variable = group.env_name(name)
        words = str(field.description)
        if choices := choices_of(field):
            words += f" Of {', '.join(choices)}."
        if name in group.secrets:
            words += f" A secret: it may be in a file that {variable}_FILE names."
        yield ""
        yield from (f"# {line}" for line in textwrap.wrap(words, _COLUMNS))
        yield f"#{variable}={_written(None if field.default_factory else field.default)}"


def _written(default: Any) -> str:
    """Return a default as it is written in the environment: empty if there is none."""
    match default:
        case None:
            return ""
        case tuple():
            return ",".join(default)
        case float():
            return f"{default:g}"
        case _:
            return str(default)
