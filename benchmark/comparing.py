"""Two records side by side: what became faster, what slower."""

from collections.abc import Iterator

from benchmark.record import EntryTiming, Record
from benchmark.tables import NOTHING, headline, rounded

# What of an entry is compared, and its unit.
_PARTS = {
    "load_s": "s",
    "first_s": "s",
    "p50_s": "s",
    "p95_s": "s",
    "steps_per_s": "it/s",
    "peak_mib": "MiB",
    "lora_adds_s": "s",
}


def compare(before: Record, after: Record) -> str:
    """Return both records' figures as a table, those too that only one of them has."""
    first, second = dict(_values(before)), dict(_values(after))
    lines = [f"A: {headline(before)}", "", f"B: {headline(after)}", ""]
    if before.weights != after.weights:
        lines += [f"A was drawn with {before.weights} weights and B with {after.weights} ones.", ""]
    lines += ["| figure | A | B | B / A |", "|---|---:|---:|---:|"]
    for name in dict.fromkeys([*first, *second]):
        a, b = first.get(name), second.get(name)
        lines.append(f"| {name} | {_cell(a)} | {_cell(b)} | {_ratio(a, b)} |")
    return "\n".join(lines)


Value = tuple[float, str]


def _values(record: Record) -> Iterator[tuple[str, Value]]:
    for row in record.entries:
        yield from _entry_values(row)
    for found in record.figures.values():
        for figure in found:
            yield figure.name, (figure.value, figure.unit)


def _entry_values(row: EntryTiming) -> Iterator[tuple[str, Value]]:
    for part, unit in _PARTS.items():
        value = getattr(row.measured, part, None)
        if value is not None:
            yield f"{row.name}: {part.rpartition('_')[0].replace('_', ' ')}", (value, unit)
    if row.served is not None:
        yield f"{row.name}: through the server, p50", (row.served.p50_s, "s")
        yield f"{row.name}: server adds, p50", (row.served.adds_p50_ms, "ms")


def _cell(value: Value | None) -> str:
    return NOTHING if value is None else f"{rounded(value[0])} {value[1]}".strip()


def _ratio(a: Value | None, b: Value | None) -> str:
    """Return how many times the first value the second is; of nothing there is no such number."""
    if a is None or b is None or a[0] <= 0 or b[0] < 0:
        return NOTHING
    return f"{b[0] / a[0]:.2f}"
