import pytest
import torch

from inference.errors import DeviceUnfit
from inference.local.devices import Offload
from inference.local.profiles import Profile, choose_attention, choose_profile

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


class TestChooseProfile:
    @pytest.mark.parametrize(
        ("device", "offload", "expected"),
        [
            (CUDA, Offload.NONE, Profile.FAST),
            (CUDA, Offload.MODEL, Profile.EXACT),
            (CPU, Offload.NONE, Profile.EXACT),
            (torch.device("mps"), Offload.NONE, Profile.EXACT),
        ],
    )
    def test_auto_is_fast_on_cuda(self, device, offload, expected):
        """On CUDA without offloading `auto` is `fast`, and elsewhere `exact`."""
        assert choose_profile("auto", device, offload) is expected

    @pytest.mark.parametrize("profile", Profile)
    def test_a_name_is_taken(self, profile):
        """A profile that is named is taken on every device; on a CPU nothing is offloaded."""
        assert choose_profile(str(profile), CPU, Offload.MODEL) is profile

    def test_offloading_is_for_exact_alone(self):
        """A profile that needs the whole transformer on the device is refused with offloading."""
        assert choose_profile("exact", CUDA, Offload.MODEL) is Profile.EXACT
        with pytest.raises(
            DeviceUnfit, match="DRAW_PROFILE=turbo needs OFFLOAD=auto or none, and it is model"
        ):
            choose_profile("turbo", CUDA, Offload.MODEL)


class TestProfile:
    def test_each_adds_to_the_one_before(self):
        """Only `exact` is neither compiled nor batched, and the last two quantise."""
        assert [profile.hoists for profile in Profile] == [False, True, True, True]
        assert [profile.batches for profile in Profile] == [False, True, True, True]
        assert [profile.quantises for profile in Profile] == [False, False, True, True]


class TestChooseAttention:
    @pytest.mark.parametrize(
        ("capability", "expected"),
        [
            ((8, 0), "native"),
            ((8, 9), "native"),
            ((9, 0), "_native_cudnn"),
            ((10, 0), "_native_cudnn"),
            ((12, 0), "native"),
        ],
    )
    def test_cudnn_on_hopper_and_blackwell(self, monkeypatch, capability, expected):
        """Compute capability 9.0 and 10.0 take cuDNN's kernel, all others the one that torch chooses."""
        monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
        assert choose_attention(CUDA) == expected

    def test_a_cpu_has_torch_s_own(self):
        """Without CUDA torch chooses."""
        assert choose_attention(CPU) == "native"
