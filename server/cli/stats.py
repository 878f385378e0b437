"""stats: what was made with what, and what it cost."""

import json
from dataclasses import asdict
from datetime import timedelta

import click
from rich.console import Console
from rich.table import Table

from server.cli.opening import opened
from server.cli.options import Number, json_option, takes_settings
from server.clock import now
from server.generations.statistics import Made, Statistics, statistics
from server.settings import Settings


@click.command()
@click.option("--days", type=Number(0, 36_500, min_open=True), default=1.0, show_default=True)
@json_option
@takes_settings
def stats(settings: Settings, days: float, *, as_json: bool) -> None:
    """Show what the generations of the last days were made with, how long it took and what it cost."""
    with opened(settings) as uow:
        found = statistics(uow, now() - timedelta(days=days))
    if as_json:
        click.echo(json.dumps(asdict(found)))
        return
    Console(width=None if Console().is_terminal else 140).print(_table(found))
    for code, count in sorted(found.failed.items()):
        click.echo(f"failed, {code}: {count}")
    click.echo(
        f"spent at hosted providers today (UTC), failed attempts included: ${found.spent_today_usd:.4f}"
    )


def _table(found: Statistics) -> Table:
    table = Table("backend", "provider", "model", "revision", "LoRA scale", "delivered", "mean", "cost")
    for made in found.made:
        table.add_row(*_cells(made))
    return table


def _cells(made: Made) -> list[str]:
    scale = "" if made.lora_scale is None else f"{made.lora_scale:g}"
    revision = (made.revision or "")[:8]
    seconds, dollars = f"{made.mean_s:.2f} s", f"${made.cost_usd:.4f}"
    provider = made.provider or ""
    return [made.backend, provider, made.model, revision, scale, str(made.count), seconds, dollars]
