"""The use cases of uploads."""

from dataclasses import dataclass
from typing import Final
from uuid import uuid4

from catalog.traits import Traits
from server.avatars.repository import Avatars
from server.avatars.tables import Avatar, trait_values
from server.caller import Caller
from server.credits.errors import InsufficientCredits
from server.credits.repository import Ledger
from server.db.unit_of_work import Transaction, UnitOfWork
from server.images.store import StoredImage
from server.projects.repository import Projects
from server.projects.tables import Project

PRICE: Final = 2  # credits, for every tier. Source: the contract, section 3


@dataclass(frozen=True)
class Upload:
    """An avatar that a user brings: the image is already stored."""

    project_id: str
    name: str
    traits: Traits
    image: StoredImage


@dataclass(frozen=True)
class Uploaded:
    """A new avatar with its project, what it cost and what is left."""

    avatar: Avatar
    project: Project
    credits: int
    balance: int


def check(uow: UnitOfWork, caller: Caller, project_id: str) -> None:
    """Refuse what `upload` would refuse, before an image is received and decoded in vain.

    Raises:
        NotFound: the project.
        InsufficientCredits: the available credits do not cover the price.

    """
    with uow.read() as tx:
        Projects(tx).require(caller.user_id, project_id)
        available = Ledger(tx).available(caller.user_id)
    if available < PRICE:
        raise InsufficientCredits(required=PRICE, available=available)


def upload(tx: Transaction, caller: Caller, request: Upload) -> Uploaded:
    """Add an avatar and take its price. All or nothing; the image's file is the caller's affair.

    Raises:
        NotFound: the project.
        InsufficientCredits: the available credits do not cover the price.

    """
    project = Projects(tx).owned_by(caller.user_id, request.project_id, kept=True)
    avatar = _avatar(caller, request)
    balance = Ledger(tx).hold(caller.user_id, PRICE, avatar.id, "Avatar upload", reference_type="avatar")
    Ledger(tx).capture(avatar.id, PRICE)
    Avatars(tx).add(avatar)
    return Uploaded(avatar, project, PRICE, balance)


def _avatar(caller: Caller, request: Upload) -> Avatar:
    return Avatar(
        id=str(uuid4()),
        user_id=caller.user_id,
        project_id=request.project_id,
        name=request.name,
        image_key=request.image.key,
        image_sha256=request.image.sha256,
        source_type="uploaded",
        **trait_values(request.traits),
    )
