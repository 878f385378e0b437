"""FLUX.1's blocks at their real width, and its size: what any machine can say of the real model."""

import tempfile
from pathlib import Path
from typing import Any

from benchmark.plan import Advance, Plan
from benchmark.record import Figure
from benchmark.running import child, read_line


def measure_blocks(plan: Plan, advance: Advance) -> list[Figure]:
    """Time a double and a single block in a process of their own."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, child("blocks", plan.weights, Path(folder)) as process:
        advance("a double and a single block")
        while "done" not in (told := read_line(process)):
            advance("a double and a single block")
            figures += block_figures(told["block"]) if "block" in told else size_figures(told)
    return figures


def block_figures(block: dict[str, Any]) -> list[Figure]:
    """Say how long a block took, and how far what was counted is from what torch saw."""
    name = f"{block['name']} block, {block['size_px']} px and {block['text_tokens']} text tokens, bf16"
    counted, seen = block["counted_flop"], block["seen_flop"]
    return [
        Figure(f"{name}: one forward", block["seconds"], "s"),
        Figure(f"{name}: counted from the config", counted / 1e9, "GFLOP"),
        Figure(f"{name}: seen by torch", seen / 1e9, "GFLOP"),
        Figure(f"{name}: counted and seen differ by", 100 * abs(counted - seen) / seen, "%", at_most=2),
        Figure(f"{name}: rate", counted / block["seconds"] / 1e9, "GFLOP/s"),
        Figure(f"{name}: parameters", block["parameters"] / 1e6, "M"),
    ]


def size_figures(told: dict[str, Any]) -> list[Figure]:
    """Say what the blocks took, and what all of FLUX.1 would."""
    return [
        Figure("blocks: peak memory of the process", told["peak_mib"], "MiB", at_most=8192),
        *(
            Figure(f"FLUX.1-dev in bf16, from its shapes: {part}", size_gb, "GB")
            for part, size_gb in told["weights_gb"].items()
        ),
    ]
