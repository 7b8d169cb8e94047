"""The times that a question names."""

from __future__ import annotations

from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmem.dates import mentions, spans

TODAY = date(2023, 8, 16)  # a Wednesday


def read(text: str, years: tuple[int, ...] = (2023,)) -> list[str]:
    return [f"{start}/{stop}" for start, stop in spans(text, today=TODAY, years=years)]


@pytest.mark.parametrize(
    ("said", "span"),
    [
        ("What did she show me on October 13, 2023?", "2023-10-13/2023-10-14"),
        ("on the 3rd of May", "2023-05-03/2023-05-04"),
        ("Sept. 5", "2023-09-05/2023-09-06"),
        ("on 2023-04-05", "2023-04-05/2023-04-06"),
        ("in August 2023", "2023-08-01/2023-09-01"),
        ("in May", "2023-05-01/2023-06-01"),
        ("the second week of November", "2023-11-08/2023-11-15"),
        ("the last weekend of November", "2023-11-24/2023-12-01"),
        ("at the end of June", "2023-06-21/2023-07-01"),
        ("the week before 16 November", "2023-11-09/2023-11-16"),
        ("two weeks after 3 May", "2023-05-11/2023-05-18"),
        ("in the summer of 2022", "2022-06-01/2022-09-01"),
        ("back in 2021", "2021-01-01/2022-01-01"),
        ("last May", "2023-05-01/2023-06-01"),
        ("last August", "2022-08-01/2022-09-01"),
        ("this August", "2023-08-01/2023-09-01"),
        ("last December", "2022-12-01/2023-01-01"),
        ("last winter", "2022-12-01/2023-03-01"),
        ("yesterday", "2023-08-15/2023-08-16"),
        ("the day before yesterday", "2023-08-14/2023-08-15"),
        ("this morning", "2023-08-16/2023-08-17"),
        ("last week", "2023-08-07/2023-08-14"),
        ("this weekend", "2023-08-19/2023-08-21"),
        ("last month", "2023-07-01/2023-08-01"),
        ("last year", "2022-01-01/2023-01-01"),
        ("three days ago", "2023-08-13/2023-08-14"),
        ("in the last two weeks", "2023-08-02/2023-08-17"),
        ("on Friday", "2023-08-11/2023-08-12"),
        ("last Wednesday", "2023-08-09/2023-08-10"),
    ],
)
def test_a_time_is_read(said: str, span: str) -> None:
    assert read(said) == [span]
    assert mentions(said)


def test_what_has_no_year_is_read_in_each() -> None:
    assert read("on 3 May", (2021, 2022)) == ["2021-05-03/2021-05-04", "2022-05-03/2022-05-04"]
    assert read("on 29 February", (2023, 2024)) == ["2024-02-29/2024-03-01"]


@pytest.mark.parametrize(
    "said",
    ["I may march with them", "the fall of Rome", "how long ago?", "a second opinion", "30 February", "1,999 of them"],
)
def test_what_only_looks_like_a_time_is_none(said: str) -> None:
    assert read(said) == []


def test_several_times_are_all_read() -> None:
    assert read("between 3 May and June 2022, or yesterday") == [
        "2023-05-03/2023-05-04",
        "2022-06-01/2022-07-01",
        "2023-08-15/2023-08-16",
    ]


@given(st.text(alphabet="0123456789 adegklmnorstuwy-,", max_size=40), st.dates())
def test_no_text_is_too_much(text: str, today: date) -> None:
    for start, stop in spans(text, today=today, years=(1, 2000, 9999)):
        assert start < stop
