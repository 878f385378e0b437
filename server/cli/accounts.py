"""users, keys: who may ask, and with what."""

import json

import click

from catalog.tiers import Tier
from server.accounts import service as accounts
from server.accounts.authentication import WELCOME
from server.accounts.identity import MAX_EMAIL_CHARS, MAX_ID_CHARS
from server.accounts.keys import MAX_LABEL_CHARS, MAX_LIFETIME_DAYS
from server.accounts.repository import BY_ID
from server.accounts.service import AccountOf, Registered
from server.accounts.tables import ApiKey
from server.cli.listing import Record, show_list, show_record
from server.cli.opening import opened
from server.cli.options import NATURAL, WHO, Text, json_option, limit_option, takes_settings
from server.clock import wire
from server.generations.deletion import delete_projects
from server.images.store import ImageStore
from server.settings import Settings
from server.supervisor.preparation import DEMO_EMAIL, DEMO_ID

tier_option = click.Choice([tier.value for tier in Tier])


def _print_key(registered: Registered, *, as_json: bool) -> None:
    user_id, token, prefix = registered.user_id, registered.key.token, registered.key.stored.prefix
    if as_json:
        click.echo(json.dumps({"userId": user_id, "apiKey": token, "prefix": prefix}))
    else:
        click.echo(f"User {user_id}\nAPI key {token}\nPrefix {prefix}\nThe key is shown only now.")


@click.group()
def users() -> None:
    """Look at, create and delete users, and set their tier."""


@users.command("create")
@click.option(
    "--email", type=Text(MAX_EMAIL_CHARS), help="For you to find the user by; it identifies nobody."
)
@click.option("--tier", type=tier_option, default=Tier.FREE.value, show_default=True)
@click.option("--credits", "granted", type=NATURAL, help="[env: WELCOME_CREDITS]")
@click.option("--id", "user_id", type=Text(MAX_ID_CHARS), help="The user's id on the existing platform.")
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


@users.command("list")
@limit_option
@json_option
@takes_settings
def list_users(settings: Settings, limit: int, *, as_json: bool) -> None:
    """List the newest users: id, tier, credits available, email."""
    with opened(settings) as uow:
        found = accounts.list_users(uow, limit)
    show_list([_user(account) for account in found], as_json=as_json)


@users.command("show")
@click.argument("who", type=WHO)
@json_option
@takes_settings
def show_user(settings: Settings, who: str, *, as_json: bool) -> None:
    """Show a user, by id or email: tier, credits, valid keys."""
    with opened(settings) as uow:
        account = accounts.show(uow, who)
        keys_ = accounts.list_keys(uow, who)
    record: Record = {
        **_user(account),
        "held": account.held,
        "operator": account.user.is_operator,
        "created": account.user.created_at,
        "keys": [key.prefix for key in keys_],
    }
    show_record(record, as_json=as_json)


def _user(account: AccountOf) -> Record:
    user = account.user
    return {"id": user.id, "tier": user.tier, "available": account.available, "email": user.email}


@users.command("set-tier")
@click.argument("who", type=WHO)
@click.argument("tier", type=tier_option)
@takes_settings
def set_tier(settings: Settings, who: str, tier: str) -> None:
    """Move a user, by id or email, to another tier."""
    with opened(settings) as uow:
        user_id = accounts.set_tier(uow, who, Tier(tier))
    click.echo(f"User {user_id} is {tier} now.")


@users.command("operator")
@click.argument("who", type=WHO)
@click.argument("state", type=click.Choice(["on", "off"]))
@takes_settings
def set_operator(settings: Settings, who: str, state: str) -> None:
    """Let a user, by id or email, operate the service from the page, or no longer."""
    with opened(settings) as uow:
        user_id = accounts.set_operator(uow, who, is_operator=state == "on")
    click.echo(f"User {user_id} is {'an' if state == 'on' else 'no'} operator now.")


@users.command("delete")
@click.argument("who", type=WHO)
@takes_settings
def delete_user(settings: Settings, who: str) -> None:
    """Delete a user, by id or email, with all projects, avatars and images.

    The id stays taken, so that it is welcomed once only. The ledger stays. If this is interrupted, repeat it
    with the id.
    """
    if who.removeprefix(BY_ID) in {DEMO_ID, DEMO_EMAIL}:
        raise click.UsageError(f"'avatar-creator up' works with the user {DEMO_ID}")
    with opened(settings) as uow:
        user = accounts.delete(uow, who)  # first, so that nothing new is made
        projects = delete_projects(uow, ImageStore(settings.server.images_dir).discard, user)
    click.echo(f"User {user.user_id} and {projects} projects are deleted.")


@click.group()
def keys() -> None:
    """Issue, list and revoke API keys."""


@keys.command("create")
@click.argument("who", type=WHO)
@click.option("--label", type=Text(MAX_LABEL_CHARS), default="cli", show_default=True)
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
@click.argument("who", type=WHO)
@json_option
@takes_settings
def list_keys(settings: Settings, who: str, *, as_json: bool) -> None:
    """List a user's keys that were not revoked: prefix, label, last use and expiry."""
    with opened(settings) as uow:
        found = accounts.list_keys(uow, who)
    if as_json:
        show_list([_key(key) for key in found], as_json=True)
        return
    for key in found:
        used, expires = (wire(moment) or "never" for moment in (key.last_used_at, key.expires_at))
        click.echo(f"{key.prefix}  {key.label}  used {used}  expires {expires}")


def _key(key: ApiKey) -> Record:
    return {
        "prefix": key.prefix,
        "label": key.label,
        "created": key.created_at,
        "lastUsed": key.last_used_at,
        "expires": key.expires_at,
    }


@keys.command("revoke")
@click.argument("who", type=WHO)
@click.option(
    "--prefix",
    "key",
    type=Text(64),
    help="Only the key with this prefix, or this whole key; by default all of the user's.",
)
@takes_settings
def revoke_keys(settings: Settings, who: str, key: str | None) -> None:
    """Revoke a user's API keys. The exit code is 1 if none has the prefix."""
    with opened(settings) as uow:
        revoked = accounts.revoke_keys(uow, who, key)
    click.echo(f"Revoked {revoked} keys.")
