"""A test backend without weights: it draws a gradient, and fails, stalls or dies as a script says."""

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageOps

from catalog.entries import Adapter
from catalog.orders import Order, Provenance
from inference.backend import BatchRow, Device, Phase, Picture, Progress, Report, RowOutcome, picture_of
from inference.errors import DeviceBroken, InferenceError
from inference.row_reports import AllRowsEnded, RowReports


@dataclass(frozen=True)
class Script:
    """Which fault occurs at which step: 1 to steps, 0 before the first. All durations are really waited.

    step_s: the duration of each step.
    stall_at, stall_s: at this step the backend reports nothing for this long.
    fail_at, failure: the error that is raised at this step.
    fail_seed: the error is only raised if this seed is drawn, alone or in a batch.
    break_file: the device fails at the first step at which there is this file, which is then removed.
    kill_at: at this step the process kills itself with SIGKILL, as the kernel does when memory runs out.
    load_s: the time to load a model that is not resident.
    max_batch: how many rows are drawn together.
    """

    step_s: float = 0.0
    stall_at: int | None = None
    stall_s: float = 3600.0
    fail_at: int = 0
    failure: InferenceError | None = None
    fail_seed: int | None = None
    break_file: str | None = None
    kill_at: int | None = None
    load_s: float = 0.0
    max_batch: int = 1


class ScriptedBackend:
    """Draws by script, by default without delay. The same seed gives the same image.

    See `inference.backend.Backend`.
    """

    def __init__(self, script: Script | None = None) -> None:
        """Take the script; a test may replace it between two orders."""
        self.script = script or Script()
        self.orders: list[Order] = []
        self._resident: set[str] = set()
        self._is_broken = False

    @property
    def resident(self) -> frozenset[str]:
        """The ids of the models that were warmed up or used by an order."""
        return frozenset(self._resident)

    @property
    def device(self) -> Device:
        """No device at all."""
        return Device("script")

    def warm_up(self, model_id: str, revision: str | None, adapter: Adapter | None) -> None:  # noqa: ARG002 - the protocol's
        """Mark a model id as resident."""
        time.sleep(self.script.load_s)
        self._resident.add(model_id)

    def generate(self, order: Order, report: Report) -> Picture:
        """Draw a gradient whose colours come from the seed, following the script.

        Raises:
            InferenceError, DeviceBroken: the script's failure.

        """
        [outcome] = self.generate_batch([BatchRow(order, report)])
        return picture_of(outcome)

    def largest_batch(self, order: Order) -> int:
        """Return what the script says."""
        del order
        return self.script.max_batch

    def generate_batch(self, rows: Sequence[BatchRow]) -> list[RowOutcome]:
        """Draw the rows step by step together, each as `generate` does alone.

        Raises:
            InferenceError, DeviceBroken: the script's failure, which ends the batch as a whole.

        """
        self.orders.extend(row.order for row in rows)
        reports = RowReports(rows)
        with suppress(AllRowsEnded):
            self._draw(rows, reports)
        return [reports.ended.get(number) or _picture(row.order) for number, row in enumerate(rows)]

    def close(self) -> None:
        """Forget the resident models."""
        self._resident.clear()

    def _draw(self, rows: Sequence[BatchRow], reports: RowReports) -> None:
        order = rows[0].order
        if order.model_id not in self._resident:
            reports.to_all(Progress(Phase.LOAD))
            self.warm_up(order.model_id, order.revision, order.adapter)
        reports.to_all(Progress(Phase.ENCODE))
        self._play(0, rows)
        for step in range(1, order.steps + 1):
            time.sleep(self.script.step_s)
            self._play(step, rows)
            reports.to_all(Progress(Phase.STEP, step, order.steps, lambda: _small(order)))
        reports.to_all(Progress(Phase.DECODE))

    def _play(self, step: int, rows: Sequence[BatchRow]) -> None:
        script = self.script
        if script.break_file is not None and Path(script.break_file).exists():
            Path(script.break_file).unlink()
            self._is_broken = True
        if self._is_broken:
            raise DeviceBroken("scripted", "an illegal memory access was encountered")
        if step == script.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)
        if step == script.stall_at:
            time.sleep(script.stall_s)
        fails = script.fail_seed is None or script.fail_seed in {row.order.seed for row in rows}
        if step == script.fail_at and script.failure is not None and fails:
            raise script.failure


def _picture(order: Order) -> Picture:
    drawn = (Phase.ENCODE, Phase.STEP, Phase.DECODE)
    return Picture(_gradient(order), Provenance.of_order("scripted", order), dict.fromkeys(drawn, 0.0))


def _small(order: Order) -> Image.Image:
    return _gradient(order).resize((order.width_px // 8, order.height_px // 8))


def _gradient(order: Order) -> Image.Image:
    red, green, blue = (order.seed >> shift & 0xFF for shift in (0, 8, 16))
    gradient = Image.linear_gradient("L").resize((order.width_px, order.height_px))
    return ImageOps.colorize(gradient, black=(red, green, blue), white=(255 - red, 255 - green, 255 - blue))
