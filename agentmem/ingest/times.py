"""Times as people and programs write them, with the zone and the precision they were given in."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone

from agentmem.ingest.reading import Node
from agentmem.types import Precision

_ISO = re.compile(
    r"(?P<year>\d{4})(?:-(?P<month>\d\d)(?:-(?P<day>\d\d)(?:[T ](?P<hour>\d\d)(?::?(?P<minute>\d\d)"
    r"(?::?(?P<second>\d\d)(?:[.,](?P<fraction>\d+))?)?)?)?)?)?(?P<zone> ?Z| ?[+-]\d\d(?::?\d\d)?)?",
    re.IGNORECASE,
)
_FIELDS: tuple[Precision, ...] = ("year", "month", "day", "hour", "minute", "second")
_MILLISECONDS = 1e11
"""Epoch numbers from here on are milliseconds: as seconds they would lie beyond the year 5138."""


@dataclass(frozen=True, slots=True)
class Time:
    """A moment in UTC; where the source named no zone ("floating"), its clock reading taken as UTC."""

    at: datetime
    zone: str
    precision: Precision


def read_time(node: Node, zone: str | None = None) -> Time:
    """A time as an ISO 8601 string or an epoch number (seconds or milliseconds).

    `zone` is the zone of a string that names none: an IANA name, "UTC" or "floating".
    """
    value = node.value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _epoch(node, float(value))
    match = _ISO.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise node.fail("a time (ISO 8601 such as 2024-05-31T18:30:00+02:00, or seconds since 1970)")
    return _iso(node, match, zone)


def read_pattern(node: Node, pattern: str, precision: Precision) -> Time:
    """A floating time by a `strptime` pattern."""
    try:
        at = datetime.strptime(node.string().strip(), pattern)
    except ValueError:
        example = datetime(2023, 5, 8, 13, 56).strftime(pattern)
        raise node.fail(f"a time such as {example!r}") from None
    return Time(at.replace(tzinfo=UTC), "floating", precision)


def _epoch(node: Node, number: float) -> Time:
    try:
        seconds = number / 1000 if abs(number) >= _MILLISECONDS else number
        if math.isfinite(seconds):
            return Time(datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds), "UTC", "second")
    except OverflowError:
        pass
    raise node.fail("a time between the years 1 and 9999")


def _iso(node: Node, match: re.Match[str], zone: str | None) -> Time:
    precision = [name for name in _FIELDS if match[name]][-1]
    try:
        at = _reading(match)
        offset = _offset(match["zone"])
        if offset is not None:
            return Time(at.replace(tzinfo=offset).astimezone(UTC), _offset_name(offset), precision)
        if zone is not None and zone != "floating":
            return Time(_local(node, at, zone), zone, precision)
    except (ValueError, OverflowError):
        raise node.fail("a time that exists") from None
    return Time(at.replace(tzinfo=UTC), "floating", precision)


def _reading(match: re.Match[str]) -> datetime:
    year, month, day, hour, minute, second = (int(match[name] or name in ("month", "day")) for name in _FIELDS)
    return datetime(year, month, day, hour, minute, second, int((match["fraction"] or "").ljust(6, "0")[:6]))


def _offset(text: str | None) -> timezone | None:
    if text is None:
        return None
    digits = re.sub(r"\D", "", text).ljust(4, "0")
    minutes = int(digits[:2]) * 60 + int(digits[2:])
    return timezone(timedelta(minutes=-minutes if "-" in text else minutes))


def _offset_name(offset: timezone) -> str:
    name = offset.tzname(None)
    return "UTC" if offset == UTC else name.removeprefix("UTC")


def _local(node: Node, at: datetime, zone: str) -> datetime:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return at.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise node.fail(f"a time in a known zone; {zone!r} is none") from None
