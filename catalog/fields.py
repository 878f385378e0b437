"""Checks of the catalogue's fields: each function returns a valid value and raises an error otherwise."""

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Any


def mapping(field: str, value: object) -> Mapping[str, Any]:
    """Return the field's value if it is an object."""
    if not isinstance(value, Mapping):
        raise TypeError(f"{field} must be an object, not {value!r}")
    return value


def text(field: str, value: object) -> str:
    """Return the field's value if it is a text that is not blank."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{field} must be a text, not {value!r}")
    return value


def text_or_none(field: str, value: object) -> str | None:
    """Return the field's value if it is None or a text that is not blank."""
    return None if value is None else text(field, value)


def texts(field: str, value: object) -> tuple[str, ...]:
    """Return the field's value if it is a list of texts that are not blank."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise TypeError(f"{field} must be a list of texts, not {value!r}")
    return tuple(text(field, item) for item in value)


def flag(field: str, value: object) -> bool:
    """Return the field's value as a boolean; 1 and 0 are valid, for databases without booleans."""
    if value not in (True, False):
        raise ValueError(f"{field} must be true or false, not {value!r}")
    return bool(value)


def whole(field: str, value: object, minimum: int = 1) -> int:
    """Return the field's value if it is a whole number of at least the minimum."""
    if not isinstance(value, int) or isinstance(value, bool) or value < minimum:
        raise ValueError(f"{field} must be a whole number of at least {minimum}, not {value!r}")
    return value


def number(field: str, value: object) -> float:
    """Return the field's value if it is a finite number of at least 0."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value) or value < 0:
        raise ValueError(f"{field} must be a number of at least 0, not {value!r}")
    return float(value)


def one_of(field: str, value: object, allowed: Collection[str]) -> str:
    """Return the field's value if it is one of the allowed texts."""
    if not isinstance(value, str) or value not in allowed:
        raise ValueError(f"{field} must be one of {', '.join(allowed)}, not {value!r}")
    return value


def moment(field: str, value: object) -> datetime:
    """Return the field's value if it is a point in time with a zone."""
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise ValueError(f"{field} must be a time with a zone, not {value!r}")
    return value
