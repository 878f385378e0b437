"""The cache of what stays in the accelerator's memory. Independent of what that is."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Residency(Generic[K, T]):
    """A cache of at most `limit` residents; a new one replaces the least recently used one."""

    def __init__(
        self,
        limit: int,
        free_memory: Callable[[], None],
        is_out_of_memory: Callable[[BaseException], bool],
    ) -> None:
        """Start empty.

        free_memory: called after an eviction, when the cache no longer refers to the evicted residents.
        is_out_of_memory: whether a load failed because there was too little memory.
        """
        if limit < 1:
            raise ValueError(f"at least one pipeline must be resident, not {limit}")
        self._limit = limit
        self._free_memory = free_memory
        self._is_out_of_memory = is_out_of_memory
        self._residents: OrderedDict[K, T] = OrderedDict()

    @property
    def keys(self) -> tuple[K, ...]:
        """The keys of the residents, the least recently used first."""
        return tuple(self._residents)

    def get(self, key: K) -> T | None:
        """Return a resident and record its use, or return None if it is not there."""
        if key not in self._residents:
            return None
        self._residents.move_to_end(key)
        return self._residents[key]

    def admit(self, key: K, load: Callable[[], T]) -> T:
        """Load a resident. Others are evicted first, so that memory never holds more than the limit.

        If the memory is too small for it beside the others, they are evicted and it is loaded once more.
        """
        while len(self._residents) >= self._limit:
            self.evict(next(iter(self._residents)))
        resident = None
        try:
            resident = load()
        except Exception as error:
            if not self._residents or not self._is_out_of_memory(error):
                raise
        if resident is None:
            # Outside the handler: inside it, the error's traceback would keep the tensors in memory.
            self.clear()
            resident = load()
        self._residents[key] = resident
        return resident

    def evict(self, key: K) -> None:
        """Evict a resident, if it is there."""
        if self._residents.pop(key, None) is not None:
            self._free_memory()

    def clear(self) -> None:
        """Evict all residents."""
        self._residents.clear()
        self._free_memory()
