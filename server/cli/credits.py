"""credits: what users can spend."""

from uuid import uuid4

import click

from server.accounts import service as accounts
from server.accounts.service import MAX_PAYMENT_CHARS, MAX_REASON_CHARS, MAX_REFERENCE_CHARS
from server.cli.listing import Record, show_list, show_record
from server.cli.opening import opened
from server.cli.options import COUNT, WHO, Text, json_option, limit_option, takes_settings
from server.credits import service as ledger
from server.credits.history import HistoryEntry
from server.settings import Settings


@click.group("credits")
def credits_() -> None:
    """Grant credits, and show what became of them."""


@credits_.command("balance")
@click.argument("who", type=WHO)
@json_option
@takes_settings
def balance(settings: Settings, who: str, *, as_json: bool) -> None:
    """Show what a user, by id or email, can spend, and what is held for unfinished generations."""
    with opened(settings) as uow:
        account = accounts.show(uow, who)
    record: Record = {"userId": account.user.id, "available": account.available, "held": account.held}
    show_record(record, as_json=as_json)


@credits_.command("history")
@click.argument("who", type=WHO)
@limit_option
@json_option
@takes_settings
def history(settings: Settings, who: str, limit: int, *, as_json: bool) -> None:
    """Show the last changes of what a user, by id or email, can spend, the newest first."""
    with opened(settings) as uow:
        entries = ledger.history(uow, accounts.find(uow, who), limit)
    show_list([_entry(entry) for entry in entries], as_json=as_json)


def _entry(entry: HistoryEntry) -> Record:
    return {
        "at": entry.created_at,
        "kind": entry.kind.value,
        "amount": entry.amount,
        "balance": entry.balance,
        "description": entry.description,
    }


@credits_.command("grant")
@click.argument("who", type=WHO)
@click.argument("amount", type=COUNT)
@click.option("--reason", type=Text(MAX_REASON_CHARS), default="Granted by the operator", show_default=True)
@click.option(
    "--payment",
    "payment_id",
    type=Text(MAX_PAYMENT_CHARS),
    help="The payment that bought them: the history shows a purchase.",
)
@click.option(
    "--reference",
    type=Text(MAX_REFERENCE_CHARS),
    help="Your name of this grant, which is made once however often you repeat it. "
    "By default that of the payment, or a new one.",
)
@takes_settings
def grant(
    settings: Settings, who: str, amount: int, reason: str, payment_id: str | None, reference: str | None
) -> None:
    """Grant a user, by id or email, an amount of credits.

    If no answer comes, repeat it with the reference that it printed: whatever became of it, it is made once.
    """
    if reference is None:
        reference = str(uuid4()) if payment_id is None else f"payment:{payment_id}"
    click.echo(f"Reference {reference}", err=True)  # before the grant, whose answer may be lost
    with opened(settings) as uow:
        granted = accounts.grant(uow, who, amount, reason, reference, payment_id)
    made = "This grant was made before. " if granted.repeated else ""
    click.echo(f"{made}User {granted.user_id} has {granted.balance} credits available.")
