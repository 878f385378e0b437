"""The time, in UTC, and how it looks on the wire."""

from datetime import UTC, datetime, time, timedelta


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def seconds_to_midnight(moment: datetime) -> float:
    """Return the seconds from a moment to the next midnight in UTC."""
    midnight = datetime.combine(moment.astimezone(UTC).date() + timedelta(days=1), time(), UTC)
    return (midnight - moment).total_seconds()


def wire(moment: datetime | None) -> str | None:
    """Return the time as clients know it: ISO 8601 in UTC with milliseconds, ending in Z."""
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
