"""What the stack does with its database: migrate, seed, a demo account, and give back what a worker held."""

from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from catalog.entries import shipped_entries
from catalog.tiers import Tier
from server.auth.users import UserUnknown
from server.db.engine import open_engine
from server.db.migrate import migrate
from server.db.tables import Project
from server.db.unit_of_work import UnitOfWork
from server.generations import settlement
from server.settings import Settings

DEMO_ID: Final = "demo"
DEMO_EMAIL: Final = "demo@localhost"
DEMO_CREDITS: Final = 1000
KEY_LABEL: Final = "up"


@dataclass(frozen=True)
class Demo:
    """What the curl that `up` prints needs."""

    api_key: str
    project_id: str
    tier: str
    balance: int


def prepare(settings: Settings) -> Demo:
    """Migrate and seed the database; return the demo account with a new key, its last one revoked."""
    engine = open_engine(settings.database_url)
    migrate(engine)
    uow = UnitOfWork(engine)
    with uow.begin() as tx:
        tx.entries.seed(shipped_entries(settings.flux_model, settings.flux_lora_model))
    account = _demo(uow)
    uow.close()
    return account


def return_work(settings: Settings, worker: str) -> None:
    """Return to the queue what a dead worker held.

    Raises:
        DatabaseAway: the end of the lease does it then.

    """
    uow = UnitOfWork(open_engine(settings.database_url))
    settlement.lose(uow, worker)
    uow.close()


def _demo(uow: UnitOfWork) -> Demo:
    """Find or make the demo account; its credits are granted once only."""
    with uow.begin() as tx:
        try:
            user = tx.users.find(DEMO_ID)
        except UserUnknown:
            user = tx.users.add(DEMO_EMAIL, Tier.FREE, DEMO_ID)
            tx.ledger.open_account(user.id)
            tx.ledger.grant(user.id, DEMO_CREDITS, "Demo credits", user.id)
        tx.users.revoke_keys(user.id, label=KEY_LABEL)
        key = tx.users.mint_key(user.id, KEY_LABEL)
        projects = tx.projects.all_of(user.id)
        if not projects:
            projects = [Project(id=str(uuid4()), user_id=user.id, name="My avatars")]
            tx.projects.add(projects[0])
        balance = tx.ledger.available(user.id)
    return Demo(key.token, projects[-1].id, user.tier, balance)
