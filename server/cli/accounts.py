"""users, keys, credits, generations: what an operator does by hand."""

import json
from typing import Final
from uuid import uuid4

import click

from catalog.tiers import Tier
from server.accounts import service as accounts
from server.accounts.authentication import WELCOME
from server.accounts.keys import MAX_LABEL_CHARS, MAX_LIFETIME_DAYS
from server.accounts.service import Registered
from server.cli.opening import opened
from server.cli.options import takes_settings
from server.clock import wire
from server.generations import settlement
from server.generations.deletion import delete_projects
from server.images.store import ImageStore
from server.settings import Settings
from server.supervisor.preparation import DEMO_EMAIL, DEMO_ID

MAX_REFERENCE_CHARS: Final = 100  # the column has room for 128: the program's own have prefixes

tier_option = click.Choice([tier.value for tier in Tier])
json_option = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON.")


def _print_key(registered: Registered, *, as_json: bool) -> None:
    user_id, token = registered.user_id, registered.key.token
    if as_json:
        click.echo(json.dumps({"userId": user_id, "apiKey": token}))
    else:
        click.echo(f"User {user_id}\nAPI key {token}\nThe key is shown only now.")


def _check_label(_context: click.Context, _parameter: click.Parameter, label: str) -> str:
    """Check the length of a key's label.

    Raises:
        click.BadParameter: it is empty or too long.

    """
    if not 1 <= len(label) <= MAX_LABEL_CHARS:
        raise click.BadParameter(f"a label has 1 to {MAX_LABEL_CHARS} characters")
    return label


def _check_reference(
    _context: click.Context, _parameter: click.Parameter, reference: str | None
) -> str | None:
    """Check the length of a grant's reference.

    Raises:
        click.BadParameter: it is empty or too long.

    """
    if reference is not None and not 1 <= len(reference) <= MAX_REFERENCE_CHARS:
        raise click.BadParameter(f"a reference has 1 to {MAX_REFERENCE_CHARS} characters")
    return reference


@click.group()
def users() -> None:
    """Create and delete users, and set their tier."""


@users.command("create")
@click.option("--email", help="For you to find the user by; it identifies nobody.")
@click.option("--tier", type=tier_option, default=Tier.FREE.value, show_default=True)
@click.option("--credits", "granted", type=click.IntRange(min=0), help="[env: WELCOME_CREDITS]")
@click.option("--id", "user_id", help="The user's id on the existing platform.")
@json_option
@takes_settings
def create_user(
    settings: Settings,
    email: str | None,
    tier: str,
    granted: int | None,
    user_id: str | None,
    *,
    as_json: bool,
) -> None:
    """Create a user with credits and a first API key."""
    first_credits = settings.credits.welcome_credits if granted is None else granted
    with opened(settings) as uow:
        registered = accounts.register(
            uow,
            email=email,
            tier=Tier(tier),
            granted=first_credits,
            reason=WELCOME,
            key_label="first",
            user_id=user_id,
        )
    _print_key(registered, as_json=as_json)


@users.command("set-tier")
@click.argument("who")
@click.argument("tier", type=tier_option)
@takes_settings
def set_tier(settings: Settings, who: str, tier: str) -> None:
    """Move a user, by id or email, to another tier."""
    with opened(settings) as uow:
        user_id = accounts.set_tier(uow, who, Tier(tier))
    click.echo(f"User {user_id} is {tier} now.")


@users.command("delete")
@click.argument("who")
@takes_settings
def delete_user(settings: Settings, who: str) -> None:
    """Delete a user, by id or email, with all projects, avatars and images.

    The id stays taken, so that it is welcomed once only. The ledger stays. If this is interrupted, repeat it
    with the id.
    """
    if who in {DEMO_ID, DEMO_EMAIL}:
        raise click.UsageError(f"'avatar-creator up' works with the user {DEMO_ID}")
    with opened(settings) as uow:
        user = accounts.delete(uow, who)  # first, so that nothing new is made
        projects = delete_projects(uow, ImageStore(settings.server.images_dir).discard, user)
    click.echo(f"User {user.user_id} and {projects} projects are deleted.")


@click.group()
def keys() -> None:
    """Issue, list and revoke API keys."""


@keys.command("create")
@click.argument("who")
@click.option("--label", default="cli", show_default=True, callback=_check_label)
@click.option(
    "--expires-in-days",
    "lifetime_days",
    type=click.IntRange(1, MAX_LIFETIME_DAYS),
    help="By default it is valid until it is revoked.",
)
@json_option
@takes_settings
def create_key(settings: Settings, who: str, label: str, lifetime_days: int | None, *, as_json: bool) -> None:
    """Issue an API key to a user, by id or email."""
    with opened(settings) as uow:
        registered = accounts.create_key(uow, who, label, lifetime_days)
    _print_key(registered, as_json=as_json)


@keys.command("list")
@click.argument("who")
@takes_settings
def list_keys(settings: Settings, who: str) -> None:
    """List a user's keys that were not revoked: prefix, label, last use and expiry."""
    with opened(settings) as uow:
        found = accounts.list_keys(uow, who)
    for key in found:
        used, expires = (wire(moment) or "never" for moment in (key.last_used_at, key.expires_at))
        click.echo(f"{key.prefix}  {key.label}  used {used}  expires {expires}")


@keys.command("revoke")
@click.argument("who")
@click.option("--prefix", help="Only the key that begins so; by default all of the user's.")
@takes_settings
def revoke_keys(settings: Settings, who: str, prefix: str | None) -> None:
    """Revoke a user's API keys."""
    with opened(settings) as uow:
        revoked = accounts.revoke_keys(uow, who, prefix)
    click.echo(f"Revoked {revoked} keys.")


@click.group("credits")
def credits_() -> None:
    """Grant credits."""


@credits_.command("grant")
@click.argument("who")
@click.argument("amount", type=click.IntRange(min=1))
@click.option("--reason", default="Granted by the operator", show_default=True)
@click.option("--payment", "payment_id", help="The payment that bought them: the history shows a purchase.")
@click.option(
    "--reference",
    callback=_check_reference,
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


@click.group()
def generations() -> None:
    """Look after generations."""


@generations.command("cancel")
@click.argument("generation_ids", nargs=-1, required=True)
@takes_settings
def cancel(settings: Settings, generation_ids: tuple[str, ...]) -> None:
    """Cancel generations that have not ended and give their credits back."""
    with opened(settings) as uow:
        cancelled = settlement.cancel(uow, generation_ids)
    click.echo(f"Cancelled {cancelled} of {len(generation_ids)}.")
