"""seed, models, entries: what is on offer, and at what price."""

import click

from catalog.entries import Entry, shipped_entries
from server.cli.listing import Record, show_list
from server.cli.opening import opened
from server.cli.options import NATURAL, Text, json_option, takes_settings
from server.entries import service
from server.settings import Settings

ENTRY = Text(128)
key_argument = click.argument("key", type=ENTRY)


@click.command()
@takes_settings
def seed(settings: Settings) -> None:
    """Write the catalogue's missing or outdated entries; what you changed yourself stays."""
    shipped = shipped_entries(settings.catalogue.flux_model, settings.catalogue.flux_lora_model)
    with opened(settings) as uow:
        written = service.seed(uow, shipped)
    click.echo(f"Wrote {written} of {len(shipped)} entries.")


@click.command()
@json_option
@takes_settings
def models(settings: Settings, *, as_json: bool) -> None:
    """List the catalogue, with prices and licences."""
    with opened(settings) as uow:
        found, malformed = service.examine(uow)
    found.sort(key=lambda entry: (entry.tier.rank, entry.key))
    show_list([_record(entry) if as_json else _line(entry) for entry in found], as_json=as_json)
    if not as_json:
        for licence in dict.fromkeys(entry.licence for entry in found):
            under = ", ".join(entry.short_key for entry in found if entry.licence == licence)
            click.echo(f"\n{licence.name} ({under}):\n  {licence.note}")
    if malformed:
        raise click.ClickException("\n".join(str(error) for error in malformed))


def _line(entry: Entry) -> Record:
    """Return what fits into 80 columns."""
    return {
        "entry": entry.short_key,
        "tier": entry.tier.value,
        "credits": entry.credit_cost,
        "size": f"{entry.width_px}x{entry.height_px}",
        "steps": entry.steps,
        "LoRA": f"{entry.adapter.scale:g}" if entry.adapter else None,
        "enabled": entry.enabled,
    }


def _record(entry: Entry) -> Record:
    return {
        "key": entry.key,
        "name": entry.name,
        **_line(entry),
        "model": entry.model_id,
        "adapter": entry.adapter.model_id if entry.adapter else None,
        "licence": entry.licence.name,
        "licenceNote": entry.licence.note,
    }


@click.group()
def entries() -> None:
    """Change what is on offer, which `models` lists. A quote that was given before still binds."""


@entries.command()
@key_argument
@takes_settings
def enable(settings: Settings, key: str) -> None:
    """Put an entry on offer."""
    _change(settings, key, "is on offer", enabled=True)


@entries.command()
@key_argument
@takes_settings
def disable(settings: Settings, key: str) -> None:
    """Take an entry off the offer. What was ordered of it is still drawn."""
    _change(settings, key, "is not on offer", enabled=False)


@entries.command()
@key_argument
@click.argument("credits_", metavar="CREDITS", type=NATURAL)
@takes_settings
def price(settings: Settings, key: str, credits_: int) -> None:
    """Set an entry's price in credits."""
    _change(settings, key, f"costs {credits_} credits", credit_cost=credits_)


def _change(settings: Settings, key: str, words: str, **values: object) -> None:
    with opened(settings) as uow:
        found = service.change(uow, key, **values)
    click.echo(f"{found} {words} now.")
