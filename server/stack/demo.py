"""The demo account that makes the first curl possible."""

from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from catalog.tiers import Tier
from server.auth.users import UserUnknown
from server.db.tables import Project
from server.db.unit_of_work import UnitOfWork

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


def prepare(uow: UnitOfWork) -> Demo:
    """Return the demo account with a new key, its last one revoked; credits are granted once only."""
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
