"""The cache of pipelines in the accelerator's memory. Independent of what a pipeline is."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

Key = tuple[str, str | None]
"""A model's id and its revision."""

T = TypeVar("T")


class Residency(Generic[T]):
    """A cache of at most `limit` residents; a new one replaces the least recently used one."""

    def __init__(self, limit: int, free_memory: Callable[[], None]) -> None:
        """Start empty.

        free_memory: called after an eviction, when the cache no longer refers to the evicted residents.
        """
        if limit < 1:
            raise ValueError(f"at least one pipeline must be resident, not {limit}")
        self._limit = limit
        self._free_memory = free_memory
        self._residents: OrderedDict[Key, T] = OrderedDict()

    @property
    def keys(self) -> tuple[Key, ...]:
        """The keys of the residents, the least recently used first."""
        return tuple(self._residents)

    def get(self, key: Key) -> T | None:
        """Return a resident and record its use, or return None if it is not there."""
        if key not in self._residents:
            return None
        self._residents.move_to_end(key)
        return self._residents[key]

    def admit(self, key: Key, load: Callable[[], T]) -> T:
        """Load a resident. Others are evicted first, so that memory never holds more than the limit."""
        while len(self._residents) >= self._limit:
            self.evict(next(iter(self._residents)))
        self._residents[key] = load()
        return self._residents[key]

    def evict(self, key: Key) -> None:
        """Evict a resident, if it is there."""
        if self._residents.pop(key, None) is not None:
            self._free_memory()

    def clear(self) -> None:
        """Evict all residents."""
        self._residents.clear()
        self._free_memory()
