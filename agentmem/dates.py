"""The times that a question speaks of: "on 3 May", "last spring", "the week before 16 November 2023".

They are soft cues for recall: a reading that is wrong now and then costs little, one that is missing no more than that.
English only, as the stems are. What has no year means that day in every year asked about; what is relative
("yesterday", "two weeks ago", "last May") counts back from a day that the caller gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import date, timedelta
from typing import TypeAlias

Span: TypeAlias = tuple[date, date]
"""From the first day to the day after the last."""

_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
_WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_ORDINALS = {"first": 0, "second": 1, "third": 2, "fourth": 3}
_PARTS = {"early": (0, 10), "beginning of": (0, 10), "mid": (10, 20), "late": (20, 31), "end of": (20, 31)}
_NUMBERS = ("a", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve")
_COUNTS = {word: n for n, word in enumerate(_NUMBERS, 1)} | {"one": 1, "a couple of": 2, "a few": 3, "several": 4}
_DAYS = {"day": 1, "weekend": 7, "week": 7, "fortnight": 14, "month": 30, "year": 365}

_YEAR = r"(?P<year>(?:19|20)\d\d)\b"
_OF_YEAR = rf"(?:,?\s+(?:of\s+)?{_YEAR})?"
_DAY = r"(?P<day>\d{1,2})(?!\d)(?:st|nd|rd|th)?"
_MONTH = (
    r"(?P<month>jan(?:uary)?|feb(?:ruary)?|mar(?:ch)?|apr(?:il)?|may|june?|july?|aug(?:ust)?|sept?(?:ember)?"
    r"|oct(?:ober)?|nov(?:ember)?|dec(?:ember)?)\b\.?"
)
# "may" and "march" are verbs as well: alone, a month wants one of these before it.
_WITHIN = r"\b(?:in|of|on|by|since|until|during|before|after|around|from|through)\s+(?:the\s+)?"
_SEASON = rf"(?P<season>{'|'.join(_SEASONS)})\b"
_COUNT = rf"(?P<count>\d{{1,3}}|{'|'.join(sorted(_COUNTS, key=len, reverse=True))})"
_UNIT = rf"(?P<unit>{'|'.join(_DAYS)})s?\b"
_RECENT = r"\b(?P<which>last|past|previous|this|current)\s+"
_SHIFT = re.compile(rf"(?:{_COUNT}\s+)?{_UNIT}\s+(?P<way>before|after|prior to|following)\s+(?:the\s+)?$")


def spans(text: str, *, today: date, years: Sequence[int]) -> list[Span]:
    """The times that `text` names: relative ones as seen from `today`, dates without a year in each of `years`."""
    rest, found = text.casefold(), list[Span]()
    for pattern, read in _RULES:
        for match in pattern.finditer(rest):
            try:
                named = list(read(_Named(match, today, years)))
                found += [_shifted(span, rest[: match.start()]) for span in named]
            except (ValueError, OverflowError):
                continue  # before the first year, or after the last: no time at all
        rest = pattern.sub(lambda match: " " * len(match[0]), rest)
    return found


def mentions(text: str) -> bool:
    """Whether `text` names any time."""
    rest = text.casefold()
    return any(pattern.search(rest) for pattern, _ in _RULES)


class _Named:
    """The parts of one expression."""

    def __init__(self, match: re.Match[str], today: date, years: Sequence[int]) -> None:
        self._parts = match.groupdict()
        self.today = today
        self.years = [int(self._parts["year"])] if self._parts.get("year") else years

    def __getitem__(self, part: str) -> str:
        return self._parts[part]

    @property
    def month(self) -> int:
        return _MONTHS.index(self["month"][:3]) + 1


def _shifted(span: Span, before: str) -> Span:
    """A span moved by what stands before it: "two weeks after", "the day before"."""
    shift = _SHIFT.search(before)
    if shift is None:
        return span
    length, count = _DAYS[shift["unit"]], _count(shift["count"] or "one")
    if shift["way"] in ("after", "following"):
        start = span[1] + timedelta(length * (count - 1))
    else:
        start = span[0] - timedelta(length * count)
    return start, start + timedelta(length)


def _count(said: str) -> int:
    return int(said) if said.isdigit() else _COUNTS[said]


def _day(day: date) -> Span:
    return day, day + timedelta(1)


def _months(year: int, month: int, count: int = 1) -> Span:
    last = month + count - 1
    return date(year, month, 1), date(year + last // 12, last % 12 + 1, 1)


def _iso(named: _Named) -> Iterator[Span]:
    yield _day(date.fromisoformat(named["iso"]))


def _month_day(named: _Named) -> Iterator[Span]:
    for year in named.years:
        with suppress(ValueError):  # 29 February is in some of them
            yield _day(date(year, named.month, int(named["day"])))


def _month_week(named: _Named) -> Iterator[Span]:
    for year in named.years:
        first, stop = _months(year, named.month)
        start = stop - timedelta(7) if named["nth"] == "last" else first + timedelta(7 * _ORDINALS[named["nth"]])
        yield start, start + timedelta(7)


def _month_part(named: _Named) -> Iterator[Span]:
    begin, end = _PARTS[named["part"]]
    for year in named.years:
        first, stop = _months(year, named.month)
        yield first + timedelta(begin), min(first + timedelta(end), stop)


def _month(named: _Named) -> Iterator[Span]:
    yield from (_months(year, named.month) for year in named.years)


def _recent_month(named: _Named) -> Iterator[Span]:
    year = named.today.year - (named.month > named.today.month or (named["which"] == "last" and _this_month(named)))
    yield _months(year, named.month)


def _this_month(named: _Named) -> bool:
    return named.month == named.today.month


def _season(named: _Named) -> Iterator[Span]:
    yield from (_months(year, _SEASONS[named["season"]], 3) for year in named.years)


def _recent_season(named: _Named) -> Iterator[Span]:
    begun = [_months(year, _SEASONS[named["season"]], 3) for year in (named.today.year - 1, named.today.year)]
    yield next(span for span in reversed(begun) if span[0] <= named.today)


def _year(named: _Named) -> Iterator[Span]:
    yield from (_months(year, 1, 12) for year in named.years)


def _ago(named: _Named) -> Iterator[Span]:
    """About then: as far off as such counts are rounded."""
    length = _DAYS[named["unit"]]
    middle = named.today - timedelta(length * _count(named["count"]))
    yield middle - timedelta(length // 2), middle + timedelta(length // 2 + 1)


def _lately(named: _Named) -> Iterator[Span]:
    """In the last two weeks, say."""
    yield named.today - timedelta(_DAYS[named["unit"]] * _count(named["count"])), named.today + timedelta(1)


def _recent_unit(named: _Named) -> Iterator[Span]:
    today, unit = named.today, named["unit"]
    back = named["which"] not in ("this", "current")
    if unit == "year":
        yield _months(today.year - back, 1, 12)
    elif unit == "month":
        first = date(today.year, today.month, 1)
        yield _months(*((first - timedelta(1)).timetuple()[:2] if back else (today.year, today.month)))
    else:
        monday = today - timedelta(today.weekday() + (7 if back else 0))
        yield (monday + timedelta(5 if unit == "weekend" else 0), monday + timedelta(7))


def _recent_weekday(named: _Named) -> Iterator[Span]:
    back = (named.today.weekday() - _WEEKDAYS.index(named["weekday"]) - 1) % 7 + 1
    yield _day(named.today - timedelta(back))


def _near_today(days: int) -> Callable[[_Named], Iterator[Span]]:
    def read(named: _Named) -> Iterator[Span]:
        yield _day(named.today - timedelta(days))

    return read


_RULES: tuple[tuple[re.Pattern[str], Callable[[_Named], Iterator[Span]]], ...] = tuple(
    (re.compile(pattern), read)
    for pattern, read in (
        (r"\b(?P<iso>\d{4}-\d{2}-\d{2})\b", _iso),
        (rf"\b(?P<nth>{'|'.join(_ORDINALS)}|last)\s+(?:week|weekend)\s+(?:of|in)\s+{_MONTH}{_OF_YEAR}", _month_week),
        (rf"\b{_DAY}(?:\s+of)?\s+{_MONTH}{_OF_YEAR}", _month_day),
        (rf"\b{_MONTH}\s+{_DAY}{_OF_YEAR}", _month_day),
        (rf"\b(?P<part>{'|'.join(_PARTS)})[\s-]+{_MONTH}{_OF_YEAR}", _month_part),
        (rf"\b{_MONTH},?\s+(?:of\s+)?{_YEAR}", _month),
        (rf"{_RECENT}{_MONTH}", _recent_month),
        (rf"{_WITHIN}{_MONTH}", _month),
        (r"\b(?P<month>january|february|april|june|july|august|september|october|november|december)\b", _month),
        (rf"{_RECENT}{_SEASON}", _recent_season),
        (rf"{_WITHIN}{_SEASON}{_OF_YEAR}", _season),
        (rf"\b{_YEAR}", _year),
        (rf"\b{_COUNT}\s+{_UNIT}\s+ago\b", _ago),
        (rf"\b(?:last|past)\s+{_COUNT}\s+{_UNIT}", _lately),
        (rf"{_RECENT}{_UNIT}", _recent_unit),
        (rf"\b(?:last|on|past)\s+(?P<weekday>{'|'.join(_WEEKDAYS)})\b", _recent_weekday),
        (r"\bthe day before yesterday\b", _near_today(2)),
        (r"\byesterday\b", _near_today(1)),
        (r"\b(?:today|tonight|this morning|this afternoon|this evening)\b", _near_today(0)),
    )
)
