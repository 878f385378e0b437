import pytest
import torch

from inference.local import devices
from inference.local.devices import Offload, Pace, choose_device, choose_dtype, is_out_of_memory, place

CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")


class Recorder:
    """Records which methods are called, and with what."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


class TestChoice:
    @pytest.mark.parametrize(
        ("cuda", "mps", "device"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
    )
    def test_auto_takes_the_best(self, monkeypatch, cuda, mps, device):
        """CUDA comes before MPS, and the CPU last."""
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        assert choose_device("auto") == torch.device(device)

    def test_a_named_device_is_taken(self):
        """A device that is named is taken, with its number."""
        assert choose_device("cuda:1") == CUDA

    @pytest.mark.parametrize(
        ("device", "full", "dtype"),
        [
            (CUDA, True, torch.bfloat16),
            (CPU, True, torch.bfloat16),
            (CUDA, False, torch.bfloat16),
            (CPU, False, torch.float32),
        ],
    )
    def test_only_the_miniature_is_wide(self, device, full, dtype):
        """Only the miniature on a CPU computes in 32 bits."""
        assert choose_dtype(device, full=full) is dtype


class TestPlace:
    @pytest.mark.parametrize(
        ("device", "offload", "call"),
        [
            (CUDA, Offload.NONE, ("to", (CUDA,), {})),
            (CUDA, Offload.MODEL, ("enable_model_cpu_offload", (), {"device": CUDA})),
            (CUDA, Offload.SEQUENTIAL, ("enable_sequential_cpu_offload", (), {"device": CUDA})),
            (CPU, Offload.MODEL, ("to", (CPU,), {})),
        ],
    )
    def test_it_goes_where_it_is_told(self, device, offload, call):
        """A pipeline goes to its device whole, or is offloaded from that very device; never from a CPU."""
        pipeline = Recorder()
        place(pipeline, device, offload)
        assert pipeline.calls == [call]


class TestMemory:
    @pytest.mark.parametrize(
        ("error", "exhausted"),
        [
            (torch.OutOfMemoryError("CUDA out of memory"), True),
            (MemoryError(), True),
            (
                RuntimeError(
                    "[enforce fail at alloc_cpu.cpp:117] DefaultCPUAllocator: can't allocate memory"
                ),
                True,
            ),
            (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
            (ValueError("DefaultCPUAllocator"), False),
        ],
    )
    def test_what_counts_as_exhausted(self, error, exhausted):
        """The device's and the host's exhaustion are recognised, and other errors are not."""
        assert is_out_of_memory(error) is exhausted

    def test_freeing_empties_the_cache_of_cuda(self, monkeypatch):
        """Freed memory is returned to a CUDA device."""
        emptied = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
        devices.free_memory()
        assert emptied == [True]


class TestPace:
    def test_the_host_is_one_step_ahead(self, monkeypatch):
        """On CUDA each step waits for the one before it and never for itself."""
        log = []

        class Event:
            def record(self):
                self.number = sum(entry.startswith("queued") for entry in log) + 1
                log.append(f"queued {self.number}")

            def synchronize(self):
                log.append(f"awaited {self.number}")

        monkeypatch.setattr(torch.cuda, "Event", Event)
        pace = Pace(CUDA)
        for _ in range(3):
            pace.step_queued()
        assert log == ["queued 1", "queued 2", "awaited 1", "queued 3", "awaited 2"]

    def test_a_cpu_has_nothing_to_await(self, monkeypatch):
        """On a CPU a step has been computed when it returns."""
        monkeypatch.delattr(torch.cuda, "Event")
        Pace(CPU).step_queued()
