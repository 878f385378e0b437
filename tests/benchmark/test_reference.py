"""The devices whose peak rates are known."""

import pytest

from benchmark.reference import peak_tflops


@pytest.mark.parametrize(
    ("device", "tflops"),
    [
        ("NVIDIA H100 80GB HBM3", 989),
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA A100-PCIE-40GB", 312),
        ("NVIDIA L40S", 362),
        ("NVIDIA GeForce RTX 4090", 165),
    ],
)
def test_known(device, tflops):
    """The name that torch gives a device identifies it."""
    assert peak_tflops(device) == tflops


@pytest.mark.parametrize(
    "device",
    [
        "cpu",
        "NVIDIA H100 PCIe",
        "NVIDIA H100 80GB HBM3 MIG 1g.10gb",
        "NVIDIA GeForce RTX 4090 Laptop GPU",
        "NVIDIA L40",
        "",
    ],
)
def test_unknown(device):
    """A device with a similar name has no known peak: a slice, a laptop GPU, another model."""
    assert peak_tflops(device) is None
