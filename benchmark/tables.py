"""Formats a record as Markdown: the timing table, the hosted back end's table and the other figures."""

from collections.abc import Iterable, Sequence

from benchmark.record import EntryTiming, Figure, Record
from benchmark.reference import HOSTED, LORA_ADDS_S, break_even_per_hour, draws_per_hour, own_usd

NOTHING = "—"
"""The cell of a value that was not measured or would have no meaning."""

_BUSY = 1.0
"""A load average above this means that other programs were running."""


def as_markdown(record: Record) -> str:
    """Return all tables of a record."""
    parts = [headline(record)]
    if record.entries:
        parts += [timing_table(record), hosted_table(record), *notes(record)]
    figures = [figure for group in record.figures.values() for figure in group]
    if figures:
        parts.append(figure_table(figures))
    busy = {name: load for name, load in record.load_average.items() if load > _BUSY}
    if busy:
        parts.append(f"The machine was busy when these began (load average): {busy}. Measure again later.")
    return "\n\n".join(parts)


def headline(record: Record) -> str:
    """Return the time, the commit, the machine and the weights of the record."""
    machine = record.machine
    where = f"{machine['cores']} cores ({machine['processor']}), accelerator: {machine['accelerator']}"
    return f"{machine['at']}, commit {machine['commit']}, {where}, weights: {record.weights}"


def timing_table(record: Record) -> str:
    """Return the measurements of each entry."""
    served = any(row.served for row in record.entries)
    titles = [
        "entry",
        "profile",
        "size",
        "steps",
        "load",
        "first image",
        "p50",
        "mean",
        "p95",
        "runs",
        "it/s",
    ]
    titles += ["peak memory", "planned", "TFLOP a step", "of the peak", "LoRA adds", "differs from exact"]
    titles += ["through the server, p50", "p95", "server adds"] if served else []
    rows = [_timing_cells(row) + (_served_cells(row) if served else []) for row in record.entries]
    return _table(titles, rows, words=1)


def _timing_cells(row: EntryTiming) -> list[str]:
    name = [row.title, row.profile, f"{row.width_px}x{row.height_px}", str(row.steps)]
    measured = row.measured
    if measured is None:
        return [*name, "not measured", *[NOTHING] * 12]
    return [
        *name,
        *map(_seconds, (measured.load_s, measured.first_s, measured.p50_s, measured.mean_s, measured.p95_s)),
        str(measured.runs),
        rounded(measured.steps_per_s),
        f"{rounded(measured.peak_mib)} MiB",
        NOTHING if measured.planned_mib is None else f"{rounded(measured.planned_mib)} MiB",
        rounded(measured.tflop_per_step),
        NOTHING if measured.peak_share is None else f"{100 * measured.peak_share:.0f} %",
        _seconds(measured.lora_adds_s),
        NOTHING if measured.difference is None else f"{measured.difference} levels",
    ]


def _served_cells(row: EntryTiming) -> list[str]:
    if row.served is None:
        return ["not measured", NOTHING, NOTHING]
    return [
        f"{rounded(row.served.p50_s)} s",
        f"{rounded(row.served.p95_s)} s",
        f"{rounded(row.served.adds_p50_ms)} ms",
    ]


def hosted_table(record: Record) -> str:
    """Return the old hosted back end's timing table beside ours."""
    titles = ["entry", "profile", "resolution", "steps", "LoRA", "here, p50", "here, mean", "hosted, average"]
    titles += ["quality", "credits", "an image here", "hosted, list price", "hosted, old price"]
    titles += ["break-even with the list price"]
    return _table(titles, [_hosted_cells(row, record) for row in record.entries], words=1)


def _hosted_cells(row: EntryTiming, record: Record) -> list[str]:
    hosted, measured = HOSTED.get(row.name), row.measured
    usd_per_hour = record.gpu_usd_per_hour if costs_are_real(record) else None
    cost = even = NOTHING
    if measured is not None and usd_per_hour is not None:
        cost = _dollars(own_usd(measured.p50_s, usd_per_hour))
        even = _break_even(measured.p50_s, hosted.list_usd, usd_per_hour) if hosted else NOTHING
    theirs = [f"{hosted.average_s:g} s", hosted.quality] if hosted else [NOTHING] * 2
    prices = [_dollars(hosted.list_usd), _dollars(hosted.old_usd)] if hosted else [NOTHING] * 2
    return [
        *(row.title, row.profile, f"{row.width_px}x{row.height_px}", str(row.steps)),
        "yes" if row.lora else "no",
        *(
            ["not measured", NOTHING]
            if measured is None
            else [_seconds(measured.p50_s), _seconds(measured.mean_s)]
        ),
        *theirs,
        *(str(row.credits), cost, *prices, even),
    ]


def _break_even(seconds: float, hosted_usd: float, usd_per_hour: float) -> str:
    """Say from how many images an hour on a card of one's own is cheaper, and whether it can draw as many."""
    if not usd_per_hour:
        return "always"
    images = break_even_per_hour(hosted_usd, usd_per_hour)
    possible = draws_per_hour(seconds)
    return "never" if images > possible else f"{images:.0f} of {possible:.0f} /h"


def _seconds(seconds: float | None) -> str:
    return NOTHING if seconds is None else f"{rounded(seconds)} s"


def _dollars(usd: float) -> str:
    """Return a price of one image: tenths of a cent matter."""
    return f"${usd:.4f}"


def costs_are_real(record: Record) -> bool:
    """Whether FLUX.1 or a model of its size drew: a price of the miniature's images would mislead."""
    return record.weights != "miniature"


def notes(record: Record) -> Iterable[str]:
    """Yield what a reader must know to interpret the tables."""
    if not costs_are_real(record):
        yield "The miniature drew these: its seconds say nothing of FLUX.1, so no cost is given."
    elif record.gpu_usd_per_hour is None:
        yield "The cost of an image here needs --gpu-usd-per-hour."
    else:
        price = f"${record.gpu_usd_per_hour:g} an hour"
        yield f"An image here: one after another, at p50, on a card at {price} that never idles."
        yield (
            "Break-even: so many images an hour, of those that the card could draw, cost as much at the list "
            "price as the card does. With fewer the hosted API is cheaper."
        )
    yield "The LoRA of the hosted back end added {}-{} s.".format(*LORA_ADDS_S)
    for row in record.entries:
        if row.problem:
            yield f"{row.title}, {row.profile}, was not measured: {row.problem}"


def figure_table(figures: Sequence[Figure]) -> str:
    """Return figures with their targets."""
    rows = [
        [
            figure.name,
            f"{rounded(figure.value)} {figure.unit}",
            figure.target,
            {True: "ok", False: "**missed**", None: ""}[figure.met],
        ]
        for figure in figures
    ]
    head = ["| figure | value | target | |", "|---|---:|---|---|"]
    return "\n".join([*head, *("| " + " | ".join(row) + " |" for row in rows)])


def rounded(value: float) -> str:
    """Return a value with three significant digits, or as an integer."""
    return f"{value:.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"  # noqa: PLR2004  # three digits


def _table(titles: Sequence[str], rows: Iterable[Sequence[str]], *, words: int) -> str:
    """Lay out a table. words: the number of first columns that hold words; the others hold numbers."""
    rule = "|" + "---|" * words + "---:|" * (len(titles) - words)
    lines = [f"| {' | '.join(titles)} |", rule]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows)])
