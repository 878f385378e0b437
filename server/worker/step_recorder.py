"""Records how far an attempt is, in a thread of its own: drawing never waits for the database."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from io import BytesIO
from threading import Event
from typing import TYPE_CHECKING, Final

from inference.backend import Phase, Progress, Report
from server.db.unit_of_work import UnitOfWork
from server.errors import DatabaseAway
from server.generations.claims import Claim, LeaseLost
from server.generations.previews import Previews
from server.generations.steps import record_step
from server.logs import get_log
from server.supervisor.shutdown import in_thread

if TYPE_CHECKING:
    from PIL.Image import Image

log = get_log(__name__)

PERIOD_S: Final = 1.0  # FLUX.1 draws 30 steps in 1 to 10 s: each step as an event would be 30 commits
LOOKED_AT_S: Final = 0.4
"""The period while somebody looks at the previews, of which there is one in each."""
JPEG_QUALITY: Final = 85


class _Latest:
    """What the backend has reported last. The thread that draws also makes the preview, if one is wanted."""

    def __init__(self) -> None:
        self.progress: Progress | None = None
        self.wanted = False
        self.seen: tuple[int, Image] | None = None
        """The newest preview and its step."""

    def __call__(self, progress: Progress) -> None:
        self.progress = progress
        if not self.wanted or progress.preview is None:
            return
        self.wanted = False
        try:
            self.seen = progress.step, progress.preview()
        except Exception:  # a picture that nobody pays for ends no drawing
            log.exception("preview.failed")


@contextmanager
def recording(uow: UnitOfWork, claim: Claim, steps: int, period_s: float = PERIOD_S) -> Iterator[Report]:
    """Record once in a period what is reported to the yielded function, if it has changed.

    steps: of the order; phases without steps report none. An attempt shorter than the period records nothing.
    While somebody looks at the generation's previews the period is shorter, and each has one.
    """
    latest = _Latest()
    with in_thread("steps", partial(_record, uow, claim, steps, latest, period_s)):
        yield latest


def _is_wanted(uow: UnitOfWork, claim: Claim) -> bool:
    with suppress(DatabaseAway), uow.read() as tx:
        return Previews(tx).is_wanted(claim.generation_id)
    return False


def _record(
    uow: UnitOfWork, claim: Claim, steps: int, latest: _Latest, period_s: float, stopped: Event
) -> None:
    recorded = None
    latest.wanted = _is_wanted(uow, claim)
    pause_s = _period_s(latest, period_s)
    while not stopped.wait(pause_s):
        progress, seen = latest.progress, latest.seen
        if progress is None or progress == recorded:
            continue
        total = progress.steps or steps
        done = total if progress.phase is Phase.DECODE else progress.step
        latest.seen = None
        # A step that cannot be recorded is not worth a retry: the next one tells more. The guard stops the
        # attempt when its lease is lost.
        with suppress(DatabaseAway, LeaseLost):
            picture = None if seen is None else _jpeg(seen[1])
            latest.wanted = record_step(uow, claim, progress.phase.value, done, total, picture)
            recorded, pause_s = progress, _period_s(latest, period_s)


def _period_s(latest: _Latest, period_s: float) -> float:
    return min(period_s, LOOKED_AT_S) if latest.wanted else period_s


def _jpeg(image: "Image") -> bytes:
    file = BytesIO()
    image.save(file, "JPEG", quality=JPEG_QUALITY)
    return file.getvalue()
