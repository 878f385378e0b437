import pytest
import torch

from inference.backend import Device
from inference.errors import DeviceUnfit
from inference.local import devices
from inference.local.devices import (
    Offload,
    StepThrottle,
    choose_device,
    choose_dtype,
    describe,
    is_device_broken,
    is_out_of_memory,
    place,
    require_fit,
)

CPU, CUDA = torch.device("cpu"), torch.device("cuda:1")


class Recorder:
    """Records the called methods and their arguments."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs))


class TestChoice:
    @pytest.mark.parametrize(
        ("cuda", "mps", "device"), [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")]
    )
    def test_auto_chooses_the_best(self, monkeypatch, cuda, mps, device):
        """CUDA comes before MPS, and the CPU last."""
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
        assert choose_device("auto") == torch.device(device)

    def test_a_named_device_is_chosen(self):
        """A named device is chosen, with its number."""
        assert choose_device("cuda:1") == CUDA

    def test_a_name_of_no_device(self):
        """A name that torch does not know is told with those that it does."""
        with pytest.raises(DeviceUnfit, match="gpu cannot draw: DEVICE must be auto, cpu, cuda"):
            choose_device("gpu")

    @pytest.mark.parametrize(
        ("device", "full", "dtype"),
        [
            (CUDA, True, torch.bfloat16),
            (CPU, True, torch.bfloat16),
            (CUDA, False, torch.bfloat16),
            (CPU, False, torch.float32),
        ],
    )
    def test_only_the_miniature_has_32_bits(self, device, full, dtype):
        """Only the miniature on a CPU computes in 32 bits."""
        assert choose_dtype(device, full=full) is dtype


class TestFit:
    def test_flux_on_a_cpu(self):
        """FLUX.1 is not drawn on a CPU, and the error says what there is to say of a card."""
        with pytest.raises(DeviceUnfit, match=r"cpu cannot draw: FLUX.1 needs a card.*CUDA") as error:
            require_fit(CPU, full=True)
        assert error.value.device == "cpu"

    def test_flux_on_a_cpu_beside_a_card(self, monkeypatch):
        """With a card that answers, the setting alone is wrong."""
        monkeypatch.setattr(torch.cuda, "init", lambda: None)
        with pytest.raises(DeviceUnfit, match="DEVICE names the CPU"):
            require_fit(CPU, full=True)

    def test_the_miniature_on_a_cpu(self):
        """The miniature is drawn anywhere."""
        require_fit(CPU, full=False)

    @pytest.mark.parametrize("full", [True, False])
    def test_no_card(self, full):
        """A card that is named and not there is told in torch's words."""
        with pytest.raises(DeviceUnfit, match=r"cuda:1 cannot draw: .*CUDA"):
            require_fit(CUDA, full=full)

    def test_no_apple(self):
        """Apple's device is tried too, wherever it is named."""
        with pytest.raises(DeviceUnfit, match="mps cannot draw"):
            require_fit(torch.device("mps"), full=False)

    @pytest.mark.parametrize(
        "error",
        [
            # Sources, in torch's repository: csrc/cuda/Module.cpp and c10/cuda/CUDAException.cpp.
            RuntimeError("The NVIDIA driver on your system is too old (found version 12020). Please update"),
            RuntimeError("Found no NVIDIA driver on your system. Please check that you have an NVIDIA GPU"),
            torch.AcceleratorError("CUDA error: no kernel image is available for execution\non the device"),
        ],
    )
    @pytest.mark.parametrize("device", [CPU, CUDA])
    def test_the_driver_is_named(self, monkeypatch, device, error):
        """A driver that is too old, or missing, and a card that is too old are told in one line."""

        def fail(*_, **__):
            raise error

        monkeypatch.setattr(torch.cuda, "init", fail)
        monkeypatch.setattr(torch, "zeros", fail)
        with pytest.raises(DeviceUnfit) as told:
            require_fit(device, full=True)
        assert str(error).partition("\n")[0] in str(told.value)
        assert "\n" not in str(told.value)


class TestUse:
    def test_the_current_device_is_the_chosen_one(self, monkeypatch):
        """On a machine with several cards, events are recorded on the worker's own; a CPU needs no choice."""
        chosen = []
        monkeypatch.setattr(torch.cuda, "set_device", chosen.append)
        devices.use(CUDA)
        devices.use(CPU)
        assert chosen == [CUDA]


class TestPlace:
    @pytest.mark.parametrize(
        ("device", "offload", "call"),
        [
            (CUDA, Offload.AUTO, ("to", (CUDA,), {})),
            (CUDA, Offload.NONE, ("to", (CUDA,), {})),
            (CUDA, Offload.MODEL, ("enable_model_cpu_offload", (), {"device": CUDA})),
            (CUDA, Offload.SEQUENTIAL, ("enable_sequential_cpu_offload", (), {"device": CUDA})),
            (CPU, Offload.MODEL, ("to", (CPU,), {})),
        ],
    )
    def test_it_uses_the_given_device(self, device, offload, call):
        """A pipeline moves to its device, or is offloaded from that same device; a CPU never offloads."""
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
            (torch.AcceleratorError("CUDA error: out of memory\nCUDA kernel errors might be ..."), True),
            (RuntimeError("CUDA driver error: out of memory"), True),
            (
                RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate"),
                True,
            ),
            (RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"), True),
            (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), False),
            (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
            (ValueError("DefaultCPUAllocator"), False),
        ],
    )
    def test_what_counts_as_exhausted(self, error, exhausted):
        """Out-of-memory errors of the device and of the host are recognised, and other errors are not."""
        assert is_out_of_memory(error) is exhausted

    @pytest.mark.parametrize(
        ("error", "broken"),
        [
            (torch.AcceleratorError("CUDA error: an illegal memory access was encountered"), True),
            (torch.AcceleratorError("CUDA error: unspecified launch failure"), True),
            (torch.AcceleratorError("CUDA error: out of memory"), False),
            (torch.OutOfMemoryError("CUDA out of memory"), False),
            (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
        ],
    )
    def test_what_breaks_a_device(self, error, broken):
        """Any error of the accelerator but exhaustion leaves the process without its device."""
        assert is_device_broken(error) is broken

    def test_freeing_empties_the_cache_of_cuda(self, monkeypatch):
        """Freed memory is returned to a CUDA device."""
        emptied = []
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "empty_cache", lambda: emptied.append(True))
        devices.free_memory()
        assert emptied == [True]


class TestStepThrottle:
    def test_the_host_is_one_step_ahead(self, monkeypatch):
        """On CUDA each step waits for the previous step and never for itself."""
        log = []

        class Event:
            def __init__(self, *, blocking):
                assert blocking

            def record(self):
                self.number = sum(entry.startswith("queued") for entry in log) + 1
                log.append(f"queued {self.number}")

            def synchronize(self):
                log.append(f"awaited {self.number}")

        monkeypatch.setattr(torch.cuda, "Event", Event)
        throttle = StepThrottle(CUDA)
        for _ in range(3):
            throttle.step_queued()
        assert log == ["queued 1", "queued 2", "awaited 1", "queued 3", "awaited 2"]

    def test_a_cpu_has_nothing_to_await(self, monkeypatch):
        """On a CPU no events are used, since a step is computed when it returns."""
        monkeypatch.delattr(torch.cuda, "Event")
        StepThrottle(CPU).step_queued()


class TestDescribe:
    def test_a_processor_has_the_machines_memory(self):
        """A CPU is shown with what this process has of the machine's memory."""
        found = describe(torch.device("cpu"))
        assert found.name == "cpu"
        assert 2**20 < found.used_bytes < found.total_bytes

    def test_a_card_has_its_own(self, monkeypatch):
        """A card is shown by its name with what is used of its memory, by whomever."""
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (100, 141))
        assert describe(torch.device("cuda:1")) == Device("cuda:1 NVIDIA H200", 41, 141)

    def test_a_card_that_has_failed_is_named(self, monkeypatch):
        """A card that does not answer is shown without its memory, and ends nothing."""

        def fail(_):
            raise torch.AcceleratorError("CUDA error: an illegal memory access was encountered")

        monkeypatch.setattr(torch.cuda, "get_device_name", lambda _: "NVIDIA H200")
        monkeypatch.setattr(torch.cuda, "mem_get_info", fail)
        assert describe(torch.device("cuda:0")) == Device("cuda:0 NVIDIA H200")
