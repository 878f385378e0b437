"""Measures FLUX.1's blocks at their real width, and its size, on machines of any memory."""

import tempfile
from pathlib import Path
from typing import Any

from benchmark.plan import Advance, Plan
from benchmark.record import Figure
from benchmark.running import child, read_line


def measure_blocks(plan: Plan, advance: Advance) -> list[Figure]:
    """Time a double and a single block in a child process."""
    figures: list[Figure] = []
    with tempfile.TemporaryDirectory() as folder, child("blocks", plan.weights, Path(folder)) as process:
        advance("a double and a single block")
        while "done" not in (answer := read_line(process)):
            advance("a double and a single block")
            figures += block_figures(answer["block"]) if "block" in answer else size_figures(answer)
    return figures


def block_figures(block: dict[str, Any]) -> list[Figure]:
    """Return a block's time and operations, and the difference between both counts of operations."""
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


def size_figures(sizes: dict[str, Any]) -> list[Figure]:
    """Return the peak memory of the blocks and the sizes of all FLUX.1 weights."""
    return [
        Figure("blocks: peak memory of the process", sizes["peak_mib"], "MiB", at_most=8192),
        *(
            Figure(f"FLUX.1-dev in bf16, from its shapes: {part}", size_gb, "GB")
            for part, size_gb in sizes["weights_gb"].items()
        ),
    ]
