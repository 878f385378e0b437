"""Reports the progress of a batch to each of its rows."""

from collections.abc import Sequence

from inference.backend import BatchRow, Progress


class AllRowsEnded(Exception):
    """No row of the batch is left to be drawn."""


class RowReports:
    """The reports of a batch's rows. A row whose report raises has ended; the others go on."""

    def __init__(self, rows: Sequence[BatchRow]) -> None:
        self._reports = [row.report for row in rows]
        self.ended: dict[int, Exception] = {}
        """Why each row has ended, by its number."""

    @property
    def running(self) -> list[int]:
        """The numbers of the rows that have not ended."""
        return [number for number in range(len(self._reports)) if number not in self.ended]

    def to_one(self, number: int, progress: Progress) -> None:
        """Report to one row.

        Raises:
            Exception: what its report raises; the row has ended.

        """
        try:
            self._reports[number](progress)
        except Exception as error:
            self.ended[number] = error
            raise

    def to_all(self, progress: Progress) -> None:
        """Report to all running rows.

        Raises:
            AllRowsEnded: none is left.

        """
        for number in self.running:
            try:
                self.to_one(number, progress)
            except Exception:  # noqa: BLE001, S112 - whatever stops this row must not stop the others
                continue
        if not self.running:
            raise AllRowsEnded
