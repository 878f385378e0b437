"""The errors of routes of which several refuse the same, for their mark `refuses`."""

from typing import Final

from catalog.selection import EntryBeyondTier, NoEntryAvailable, SizeRejected, UnknownEntry
from server.credits.errors import InsufficientCredits
from server.generations.quotes import QuoteRefused
from server.generations.submission import QueueFull, TooManyUnfinished
from server.http.event_feed import StreamsFull, TooManyStreams
from server.idempotency.repository import KeyInFlight, KeyReused
from server.images.store import StorageFull
from server.spending.repository import BudgetSpent
from server.uploads.errors import DecodersBusy, ImageRefused

Refused = tuple[type[Exception], ...]

KEYED: Final[Refused] = (KeyReused, KeyInFlight)
QUEUED: Final[Refused] = (
    InsufficientCredits,
    EntryBeyondTier,
    NoEntryAvailable,
    TooManyUnfinished,
    QueueFull,
    BudgetSpent,
    *KEYED,
)
WISHED: Final[Refused] = (UnknownEntry, SizeRejected, QuoteRefused, *QUEUED)
UPLOADED: Final[Refused] = (InsufficientCredits, ImageRefused, DecodersBusy, StorageFull, *KEYED)
STREAMED: Final[Refused] = (TooManyStreams, StreamsFull)
