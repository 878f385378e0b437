"""The fields of a catalogue row, checked: each function returns the value or raises what it must be."""

import math
from collections.abc import Mapping, Sequence
from typing import Any


def mapping(field: str, value: object) -> Mapping[str, Any]:
    """Return the object that the field holds."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{field} must be an object, not {value!r}")
    return value


def text(field: str, value: object) -> str:
    """Return the text that the field holds, never an empty one."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{field} must be a text, not {value!r}")
    return value


def text_or_none(field: str, value: object) -> str | None:
    """Return the text that the field holds, if it holds anything."""
    return None if value is None else text(field, value)


def texts(field: str, value: object) -> tuple[str, ...]:
    """Return the list of texts that the field holds."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{field} must be a list of texts, not {value!r}")
    return tuple(text(field, item) for item in value)


def flag(field: str, value: object) -> bool:
    """Return the yes or no that the field holds; a database without booleans gives 1 and 0."""
    if value not in (True, False):
        raise ValueError(f"{field} must be true or false, not {value!r}")
    return bool(value)


def whole(field: str, value: object, least: int = 1) -> int:
    """Return the whole number that the field holds."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ValueError(f"{field} must be a whole number of at least {least}, not {value!r}")
    return value


def number(field: str, value: object) -> float:
    """Return the number that the field holds, neither negative nor infinite."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{field} must be a number of at least 0, not {value!r}")
    return float(value)
