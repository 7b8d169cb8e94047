"""The one place where time comes from, so that tests and replays can give their own."""

from __future__ import annotations

from datetime import UTC, datetime

from agentmem.errors import InputError


def utc_now() -> datetime:
    return datetime.now(UTC)


def as_utc(moment: datetime) -> datetime:
    """The moment in UTC; a naive one is taken as UTC (zone "floating"). Raises InputError where there is none."""
    if not isinstance(moment, datetime):
        raise InputError(f"a time is a datetime; got {type(moment).__name__}")
    try:
        return _as_utc(moment)
    except OverflowError as error:
        raise InputError(f"the time {moment} is not within the years 1 to 9999 in UTC") from error


def _as_utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
