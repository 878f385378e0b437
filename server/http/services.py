"""What the API's handlers work with, made once at start."""

from dataclasses import dataclass

from server.db.unit_of_work import UnitOfWork
from server.generations.quotes import Quotes
from server.http.event_feed import EventFeed
from server.images.links import Links
from server.images.store import ImageStore
from server.observability.readiness import SharedReadiness
from server.scheduling.estimates import Estimates
from server.scheduling.wakeups import WakeUps
from server.settings import Settings
from server.uploads.decoders import Decoders


@dataclass(frozen=True)
class Services:
    """The parts of the API process. One dependency, since Litestar resolves several in a task each."""

    settings: Settings
    uow: UnitOfWork
    wakeups: WakeUps
    images: ImageStore
    links: Links
    quotes: Quotes
    decoders: Decoders
    estimates: Estimates
    feed: EventFeed
    health: SharedReadiness
