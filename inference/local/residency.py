"""The cache of what stays in the accelerator's memory. Independent of what that is."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Residency(Generic[K, T]):
    """A cache of residents; a new one replaces the least recently used ones, if there is no room beside them.

    Their sizes add up to at most the limit. One that is larger is alone.
    """

    def __init__(
        self,
        limit: float,
        free_memory: Callable[[], None],
        is_out_of_memory: Callable[[BaseException], bool],
        evicted: Callable[[T], None] = lambda _: None,
    ) -> None:
        """Start empty.

        limit: in the unit of the sizes; may be infinite.
        free_memory: called after an eviction, when the cache no longer refers to the evicted residents.
        is_out_of_memory: whether a load failed because there was too little memory.
        evicted: called with each evicted resident.
        """
        self._limit = limit
        self._free_memory = free_memory
        self._is_out_of_memory = is_out_of_memory
        self._evicted = evicted
        self._residents: OrderedDict[K, tuple[T, int]] = OrderedDict()

    @property
    def keys(self) -> tuple[K, ...]:
        """The keys of the residents, the least recently used first."""
        return tuple(self._residents)

    def get(self, key: K) -> T | None:
        """Return a resident and record its use, or return None if it is not there."""
        if key not in self._residents:
            return None
        self._residents.move_to_end(key)
        return self._residents[key][0]

    def admit(self, key: K, load: Callable[[], T], size: int = 1) -> T:
        """Load a resident. Others are evicted first, so that memory never holds more than the limit.

        If the memory is too small for it beside the others, they are evicted and it is loaded once more.
        """
        while self._residents and self._size() + size > self._limit:
            self._evict(next(iter(self._residents)))
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
        self._residents[key] = (resident, size)
        return resident

    def evict_others(self) -> bool:
        """Evict all but the most recently used; return whether there were any."""
        others = self.keys[:-1]
        if others:
            self._evict(*others)
        return bool(others)

    def clear(self) -> None:
        """Evict all residents."""
        self._evict(*self.keys)

    def _evict(self, *keys: K) -> None:
        for key in keys:
            self._evicted(self._residents.pop(key)[0])
        self._free_memory()

    def _size(self) -> int:
        return sum(size for _, size in self._residents.values())
