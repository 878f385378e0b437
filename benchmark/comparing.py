"""Compares two records figure by figure."""

from collections.abc import Iterator

from benchmark.plan import EXACT
from benchmark.record import EntryTiming, Record
from benchmark.tables import NOTHING, headline, rounded

# The compared fields of an entry's Measured, and their units.
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
    """Return all figures of both records as a table, also those that only one record has."""
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
    for figures in record.figures.values():
        for figure in figures:
            yield figure.name, (figure.value, figure.unit)


def _entry_values(row: EntryTiming) -> Iterator[tuple[str, Value]]:
    for part, unit in _PARTS.items():
        value = getattr(row.measured, part, None)
        if value is not None:
            yield f"{_name(row)}: {part.rpartition('_')[0].replace('_', ' ')}", (value, unit)
    if row.served is not None:
        yield f"{_name(row)}: through the server, p50", (row.served.p50_s, "s")
        yield f"{_name(row)}: server adds, p50", (row.served.adds_p50_ms, "ms")


def _name(row: EntryTiming) -> str:
    return row.name if row.profile == EXACT else f"{row.name}, {row.profile}"


def _cell(value: Value | None) -> str:
    return NOTHING if value is None else f"{rounded(value[0])} {value[1]}".strip()


def _ratio(a: Value | None, b: Value | None) -> str:
    """Return b / a, or a dash where a is not positive or b is negative."""
    if a is None or b is None or a[0] <= 0 or b[0] < 0:
        return NOTHING
    return f"{b[0] / a[0]:.2f}"
