"""Which pipelines stay in the accelerator's memory. Knows nothing of what they are."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = tuple[str, str | None]
"""A model's id and its revision."""

T = TypeVar("T")


class Residency(Generic[T]):
    """At most so many residents; the one that was used longest ago leaves for a new one."""

    def __init__(self, limit: int, free_memory: Callable[[], None]) -> None:
        """Start empty.

        free_memory: called after residents have left, when nothing here refers to them any more.
        """
        if limit < 1:
            raise ValueError(f"at least one pipeline must be resident, not {limit}")
        self._limit = limit
        self._free_memory = free_memory
        self._residents: OrderedDict[Key, T] = OrderedDict()

    @property
    def keys(self) -> tuple[Key, ...]:
        """The residents, the one used longest ago first."""
        return tuple(self._residents)

    def get(self, key: Key) -> T | None:
        """Return a resident and note its use, or None if it is not there."""
        if key not in self._residents:
            return None
        self._residents.move_to_end(key)
        return self._residents[key]

    def admit(self, key: Key, load: Callable[[], T]) -> T:
        """Load a resident. Others leave before, so that memory never holds more than the limit."""
        while len(self._residents) >= self._limit:
            self.evict(next(iter(self._residents)))
        self._residents[key] = load()
        return self._residents[key]

    def evict(self, key: Key) -> None:
        """Let a resident go, if it is there."""
        if self._residents.pop(key, None) is not None:
            self._free_memory()

    def clear(self) -> None:
        """Let all residents go."""
        self._residents.clear()
        self._free_memory()
