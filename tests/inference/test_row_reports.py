import pytest

from inference.backend import BatchRow, Phase, Progress
from inference.row_reports import AllRowsEnded, RowReports

STEP = Progress(Phase.STEP, 1, 3)


class Stopped(Exception):
    """Raised by a report."""


@pytest.fixture
def told():
    """What each row was told, by its number."""
    return {0: [], 1: []}


@pytest.fixture
def reports(order, told):
    """The reports of two rows, of which the second stops at its first step."""

    def stop(progress):
        told[1].append(progress)
        if progress == STEP:
            raise Stopped

    return RowReports([BatchRow(order, told[0].append), BatchRow(order, stop)])


class TestRowReports:
    def test_a_row_that_stops_ends_alone(self, reports, told):
        """The other one is told of what follows, and the one that stopped is not."""
        reports.to_all(STEP)
        reports.to_all(Progress(Phase.DECODE))
        assert reports.running == [0]
        assert isinstance(reports.ended[1], Stopped)
        assert (told[0], told[1]) == ([STEP, Progress(Phase.DECODE)], [STEP])

    def test_one_row_hears_of_its_own_step(self, reports, told):
        """Whoever reports to one row learns that it has stopped."""
        with pytest.raises(Stopped):
            reports.to_one(1, STEP)
        assert (reports.running, told[0]) == ([0], [])

    def test_the_last_row_ends_the_batch(self, order):
        """When none is left, there is nothing to draw any more."""

        def stop(_):
            raise Stopped

        reports = RowReports([BatchRow(order, stop)] * 2)
        with pytest.raises(AllRowsEnded):
            reports.to_all(STEP)
        assert reports.running == []
