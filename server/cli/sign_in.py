"""link: how an operator lets a user in to the page."""

import click

from server.accounts import sign_in
from server.cli.opening import opened
from server.cli.options import WHO, Address, takes_settings
from server.settings import Settings
from server.supervisor.api_process import reachable


@click.command()
@click.argument("who", type=WHO)
@click.option(
    "--url", type=Address(2000), help="Where users reach the page.  [default: http:// with HOST and PORT]"
)
@takes_settings
def link(settings: Settings, who: str, url: str | None) -> None:
    """Print a link that signs a user, by id or email, in to the page: once, within 24 hours."""
    server = settings.server
    with opened(settings) as uow:
        click.echo(sign_in.link(uow, who, url or reachable(server.host, server.port)))
