"""generations, projects: what users ordered, and where it is kept."""

import click

from server.accounts import service as accounts
from server.cli.listing import Record, show_list, show_record
from server.cli.opening import opened
from server.cli.options import WHO, Text, json_option, limit_option, takes_settings
from server.generations import service, settlement
from server.generations.states import Status
from server.generations.tables import Generation
from server.projects import service as projects_of
from server.settings import Settings

GENERATION = Text(64)


@click.group()
def generations() -> None:
    """Look after generations."""


@generations.command("list")
@click.argument("who", type=WHO)
@click.option("--status", type=click.Choice([status.value for status in Status]), help="Only these.")
@limit_option
@json_option
@takes_settings
def list_generations(settings: Settings, who: str, status: str | None, limit: int, *, as_json: bool) -> None:
    """List the newest generations of a user, by id or email."""
    with opened(settings) as uow:
        caller = accounts.find(uow, who)
        found = service.list_page(uow, caller, limit, status=Status(status) if status else None)
    show_list([_line(generation) for generation in found.generations], as_json=as_json)


@generations.command("show")
@click.argument("generation_id", type=GENERATION)
@json_option
@takes_settings
def show_generation(settings: Settings, generation_id: str, *, as_json: bool) -> None:
    """Show one generation: its order, what drew it, and how it ended. The prompt is its user's own affair."""
    with opened(settings) as uow:
        found = service.find(uow, generation_id)
    order, made = found.order, found.provenance
    record: Record = {
        **_line(found),
        "userId": found.user_id,
        "projectId": found.project_id,
        "avatarId": found.avatar_id,
        "size": f"{order.width_px}x{order.height_px}",
        "steps": order.steps,
        "seed": order.seed,
        "backend": made.backend if made else None,
        "model": made.model_id if made else order.model_id,
        "attempt": found.attempt,
        "losses": found.losses,
        "worker": found.worker,
        "started": found.started_at,
        "ended": found.completed_at,
        "error": found.error_message,
    }
    show_record(record, as_json=as_json)


@generations.command("cancel")
@click.argument("generation_ids", type=GENERATION, nargs=-1, required=True)
@takes_settings
def cancel(settings: Settings, generation_ids: tuple[str, ...]) -> None:
    """Cancel generations that have not ended and give their credits back.

    The exit code is 1 if there is no generation of one of the ids; the others are cancelled.
    """
    with opened(settings) as uow:
        cancelled = settlement.cancel(uow, generation_ids)
        click.echo(f"Cancelled {cancelled} of {len(generation_ids)}.")
        if unknown := service.unknown(uow, generation_ids):
            raise click.ClickException(f"There is no generation {', '.join(unknown)}")


def _line(generation: Generation) -> Record:
    return {
        "id": generation.id,
        "created": generation.created_at,
        "status": generation.status,
        "entry": generation.entry_key.rpartition(":")[2],
    }


@click.group()
def projects() -> None:
    """Look at users' projects."""


@projects.command("list")
@click.argument("who", type=WHO)
@limit_option
@json_option
@takes_settings
def list_projects(settings: Settings, who: str, limit: int, *, as_json: bool) -> None:
    """List the newest projects of a user, by id or email."""
    with opened(settings) as uow:
        page = projects_of.list_page(uow, accounts.find(uow, who), limit)
    records: list[Record] = [
        {
            "id": found.project.id,
            "created": found.project.created_at,
            "avatars": len(found.avatars),
            "name": found.project.name,
        }
        for found in page.projects
    ]
    show_list(records, as_json=as_json)
