from datetime import UTC, datetime, timedelta, timezone

from server.clock import now, wire


class TestWire:
    def test_a_time_is_written_in_utc_with_a_z(self):
        """A time in any zone is written in UTC with milliseconds, as browsers parse it."""
        moment = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=timezone(timedelta(hours=2)))
        assert wire(moment) == "2026-01-02T01:04:05.678Z"
        assert wire(datetime(2026, 1, 2, tzinfo=UTC)) == "2026-01-02T00:00:00.000Z"

    def test_no_time_is_null(self):
        """A time that is not known yet is null on the wire."""
        assert wire(None) is None

    def test_now_is_in_utc(self):
        """The clock's times have the zone UTC."""
        assert now().utcoffset() == timedelta(0)
