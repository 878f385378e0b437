"""A record of an imaginary machine, with figures that are easy to calculate with."""

from dataclasses import replace

import pytest

from benchmark.record import EntryTiming, Figure, Measured, Record, Served

MACHINE = {
    "at": "2030-01-02T03:04:05+00:00",
    "cores": 8,
    "processor": "Imaginary 1",
    "accelerator": "Imaginary GPU",
    "commit": "0123456789ab",
    "versions": {"torch": "1.2.3"},
}
BASE = EntryTiming(
    name="flux-dev-base",
    title="FLUX.1-dev Base",
    width_px=512,
    height_px=512,
    steps=28,
    lora=False,
    credits=8,
    measured=Measured(
        load_s=20.0,
        first_s=9.0,
        p50_s=3.6,
        p95_s=4.5,
        mean_s=3.75,
        runs=5,
        steps_per_s=10.0,
        peak_mib=34_000.0,
        tflop_per_step=21.5,
        peak_share=0.25,
    ),
)
REALISM = replace(
    BASE,
    name="flux-dev-realism",
    title="FLUX.1-dev + Realism LoRA",
    width_px=768,
    height_px=768,
    steps=30,
    lora=True,
    credits=12,
    measured=replace(BASE.measured, p50_s=7.2, lora_adds_s=1.25, peak_share=None),
    served=Served(p50_s=7.3, p95_s=7.5, adds_p50_ms=44.0),
)
HD = replace(
    REALISM, name="flux-dev-hd-realism", title="HD", measured=None, served=None, problem="OUT_OF_MEMORY: full"
)


@pytest.fixture
def record() -> Record:
    """Two measured entries and one that could not be measured, on a card at two dollars an hour."""
    return Record(
        machine=MACHINE,
        weights="random",
        effort={"runs": 5},
        load_average={"drawing": 0.5},
        figures={"drawing": [Figure("drawing: peak memory", 1300.0, "MiB", at_most=1200)]},
        entries=[BASE, REALISM, HD],
        gpu_usd_per_hour=2.0,
    )
