import pytest

from inference.local.residency import Residency

A, B, C = (("a", None), ("b", "1"), ("b", "2"))


class Memory:
    """A cache that counts how often memory is freed."""

    def __init__(self, limit=2):
        self.freed = 0
        self.residency = Residency(limit, self.free, lambda error: isinstance(error, MemoryError))

    def free(self):
        """Count a call."""
        self.freed += 1

    def use(self, key):
        """Return a resident, loaded if it is missing."""
        return self.residency.get(key) or self.residency.admit(key, object)


class TestResidency:
    def test_the_least_recently_used_is_evicted(self):
        """With a limit of two, a third resident evicts the least recently used, and memory is freed once."""
        memory = Memory()
        for key in (A, B, A, C):
            memory.use(key)
        assert memory.residency.keys == (A, C)
        assert memory.freed == 1

    def test_a_resident_stays_the_same(self):
        """Using a resident again loads nothing."""
        memory = Memory()
        assert memory.use(A) is memory.use(A)

    def test_two_revisions_are_two_residents(self):
        """Two revisions of one model are different residents."""
        memory = Memory()
        assert memory.use(B) is not memory.use(C)

    def test_room_is_made_before_loading(self):
        """While a pipeline loads, the pipeline that it replaces is already evicted."""
        memory = Memory(limit=1)
        memory.use(A)
        keys_while_loading = []
        memory.residency.admit(B, lambda: keys_while_loading.append(memory.residency.keys) or object())
        assert keys_while_loading == [()]
        assert memory.freed == 1

    def test_a_failed_load_leaves_no_trace(self):
        """A pipeline that fails to load is not resident."""
        memory = Memory()
        with pytest.raises(ZeroDivisionError):
            memory.residency.admit(A, lambda: 1 // 0)
        assert memory.residency.keys == ()

    def test_one_that_does_not_fit_beside_the_others(self):
        """If memory is too small for it beside the others, they are evicted and it is loaded once more."""
        memory = Memory(limit=3)
        memory.use(A)
        memory.use(B)
        resident = memory.residency.admit(C, lambda: object() if memory.freed else _exhaust())
        assert memory.residency.keys == (C,)
        assert memory.residency.get(C) is resident

    def test_one_that_does_not_fit_at_all(self):
        """If memory is too small for it alone, its load is tried no third time."""
        memory, tries = Memory(limit=3), []
        memory.use(A)
        with pytest.raises(MemoryError):
            memory.residency.admit(B, lambda: tries.append(1) or _exhaust())
        assert len(tries) == 2
        assert memory.residency.keys == ()

    def test_another_failure_evicts_nobody(self):
        """A load that fails for another cause leaves the others where they are."""
        memory = Memory(limit=3)
        memory.use(A)
        with pytest.raises(ZeroDivisionError):
            memory.residency.admit(B, lambda: 1 // 0)
        assert memory.residency.keys == (A,)

    def test_room_is_made_by_size(self):
        """As many of the least recently used are evicted as the new one's size needs, and no more."""
        memory = Memory(limit=10)
        for key, size in ((A, 4), (B, 3), (C, 3)):
            memory.residency.admit(key, object, size)
        memory.residency.admit(("d", None), object, 5)
        assert memory.residency.keys == (C, ("d", None))
        memory.residency.admit(("e", None), object, 2)
        assert memory.residency.keys == (C, ("d", None), ("e", None))

    def test_one_larger_than_the_limit_is_alone(self):
        """What is larger than the limit is loaded after all others have been evicted."""
        memory = Memory(limit=10)
        memory.residency.admit(A, object, 1)
        memory.residency.admit(B, object, 11)
        assert memory.residency.keys == (B,)

    def test_others_are_evicted(self):
        """All but the most recently used are evicted on request, and it is said whether there were any."""
        memory = Memory(limit=3)
        for key in (A, B, C):
            memory.use(key)
        memory.use(B)
        assert memory.residency.evict_others()
        assert memory.residency.keys == (B,)
        assert not memory.residency.evict_others()
        assert memory.freed == 1

    def test_an_evicted_resident_is_told(self):
        """Each evicted resident is handed out once, before memory is freed."""
        log = []
        residency = Residency(1, lambda: log.append("freed"), lambda _: False, log.append)
        residency.admit(A, lambda: "first")
        residency.admit(B, lambda: "second")
        assert log == ["first", "freed"]

    def test_clearing_frees(self):
        """Clearing evicts all residents and frees memory."""
        memory = Memory()
        memory.use(A)
        memory.residency.clear()
        assert (memory.residency.keys, memory.freed) == ((), 1)


def _exhaust():
    raise MemoryError
