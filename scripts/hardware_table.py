"""Writes what fits on which card into the documents, as the planner counts it: `make hardware-table`."""

import re
from pathlib import Path
from typing import Final

from catalog.entries import shipped_entries
from inference.local.activations import measure_activations
from inference.local.cards import CARDS, Host
from inference.local.footprint import count_needs
from inference.local.plan import Plan, make_plan

ROOT: Final = Path(__file__).parent.parent
FILES: Final = (ROOT / "README.md", ROOT / "docs" / "performance.md")
BEGIN: Final = "<!-- of `make hardware-table` -->\n"
END: Final = "<!-- end -->"
HOST: Final = Host(64_000_000_000)
SHOWN: Final = ("4080-16g", "4090-24g", "l40s-48g", "h100-80g")


def render() -> str:
    """Return the table, a row for each card with 64 GB of memory beside it."""
    needs, activations = count_needs(shipped_entries()), measure_activations()
    rows = [_row(make_plan(CARDS[name], HOST, needs, activations)) for name in SHOWN]
    head = "| card | transformers | T5 | on the card | to change the base model | largest image |\n"
    return head + "|---|---|---|---:|---:|---:|\n" + "".join(rows)


def _row(plan: Plan) -> str:
    precisions = " and ".join(sorted({entry.precision.value for entry in plan.entries}))
    (t5,) = {(part.precision.value, part.streamed) for part in plan.parts if part.part.name == "T5"}
    swap_s = max(entry.swap_s for entry in plan.entries)
    side_px = max(max(entry.largest_px) for entry in plan.entries)
    cells = [
        plan.card.name.removeprefix("NVIDIA "),
        precisions,
        f"{t5[0]}, streamed" if t5[1] else t5[0],
        f"{plan.device_bytes / 1e9:.1f} GB",
        f"{swap_s:.1f} s" if swap_s else "nothing",
        f"{side_px}x{side_px}",
    ]
    return f"| {' | '.join(cells)} |\n"


def written(text: str, table: str) -> str:
    """Return a document with this table in the place of its own."""
    place = re.escape(BEGIN) + ".*?" + re.escape(END)
    return re.sub(place, lambda _: BEGIN + table + END, text, flags=re.DOTALL)


if __name__ == "__main__":
    made = render()
    for file in FILES:
        file.write_text(written(file.read_text("utf-8"), made), "utf-8")
