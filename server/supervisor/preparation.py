"""What `up` does with its database: migrate, seed, a demo account, and return what a dead worker held."""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from catalog.entries import shipped_entries
from catalog.tiers import Tier
from server.accounts import service as accounts
from server.accounts import sign_in
from server.accounts.errors import UserExists
from server.credits.service import balance
from server.db.engine import open_database
from server.db.migrate import migrate
from server.db.unit_of_work import UnitOfWork
from server.entries.service import seed
from server.projects import service as projects
from server.scheduling.registry import retire
from server.settings import Settings
from server.supervisor.data_folder import write_private

DEMO_ID: Final = "demo"
DEMO_EMAIL: Final = "demo@localhost"
DEMO_CREDITS: Final = 1000
KEY_LABEL: Final = "up"


@dataclass(frozen=True)
class Demo:
    """What `up` prints of the demo account. link: signs its user in to the page, once."""

    link: str
    api_key: str
    project_id: str
    tier: str
    balance: int


def prepare(settings: Settings, url: str) -> Demo:
    """Migrate and seed the database; return the demo account with the key that it had, if that is valid.

    url: where the page will be.
    """
    engine = open_database(settings.database)
    migrate(engine)
    uow = UnitOfWork(engine)
    seed(uow, shipped_entries(settings.catalogue.flux_model, settings.catalogue.flux_lora_model))
    account = _demo(uow, settings.server.demo_key_file, url)
    uow.close()
    return account


def return_work(settings: Settings, backend: str, worker: str, was_ready: bool, cause: str | None) -> None:
    """Return to the queue what a dead worker held. See `retire`.

    Raises:
        DatabaseAway: the end of the lease does it then.

    """
    uow = UnitOfWork(open_database(settings.database))
    retire(uow, backend, worker, was_ready, cause)
    uow.close()


def _demo(uow: UnitOfWork, key_file: Path, url: str) -> Demo:
    """Find or make the demo account; its credits are granted once only."""
    try:
        token = accounts.register(
            uow,
            email=DEMO_EMAIL,
            tier=Tier.FREE,
            granted=DEMO_CREDITS,
            reason="Demo credits",
            key_label=KEY_LABEL,
            user_id=DEMO_ID,
        ).key.token
    except UserExists:
        token = _kept(uow, key_file) or accounts.replace_key(uow, DEMO_ID, KEY_LABEL).key.token
    accounts.set_operator(uow, DEMO_ID, is_operator=True)
    write_private(key_file, token)
    caller = accounts.find(uow, DEMO_ID)
    project = projects.first(uow, caller)
    link = sign_in.link(uow, DEMO_ID, url)
    return Demo(link, token, project.id, caller.tier.value, balance(uow, caller))


def _kept(uow: UnitOfWork, key_file: Path) -> str | None:
    """Return the key that the last `up` printed; None if there is none or it is not valid any more.

    The database has only a digest of it, so the file beside the database has the key itself. Who can read
    the one can read the other, and all that the key opens.
    """
    try:
        token = key_file.read_text("utf-8").strip()
    except (FileNotFoundError, UnicodeDecodeError):
        return None
    return token if accounts.is_valid_key(uow, DEMO_ID, token) else None
