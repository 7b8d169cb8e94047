"""Which thoughts are listed, and a table that draws only what is on screen."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from textual.app import App, ComposeResult

from agentmem.types import Thought
from agentmem_tui.browsing import Sort, Wanted, listed
from agentmem_tui.widgets.table import Column, Table


def thought(number: int, text: str, **how: Any) -> Thought:
    since = datetime(2026, number, 1, tzinfo=UTC)
    return Thought(id=f"t{number}", namespace=("a",), text=text, recorded_at=since, valid_from=since, **how)


ALL = [
    thought(1, "Elin is allergic to peanuts.", head="Elin", strength=3),
    thought(2, "The kiln needs 1222 degrees.", state="retracted"),
    thought(3, "Answers are short.", origin="agent"),
]


@pytest.mark.parametrize(
    ("wanted", "state", "found"),
    [
        ("", "live", ["t3", "t1"]),
        ("", "all", ["t3", "t2", "t1"]),
        ("", "retracted", ["t2"]),
        ("ALLERGIC peanuts", "live", ["t1"]),
        ("allergic kiln", "all", []),
        ("about:elin", "all", ["t1"]),
        ("from:agent short", "all", ["t3"]),
        ("since:2026-02", "all", ["t3", "t2"]),
        ("state:retr", "all", ["t2"]),
        ("other:colon", "all", []),
    ],
)
def test_filter(wanted: str, state: str, found: list[str]) -> None:
    assert [t.id for t in listed(ALL, Wanted.read(wanted), state=state, sort="newest")] == found


@pytest.mark.parametrize(
    ("sort", "found"),
    [("newest", "321"), ("oldest", "123"), ("text", "312"), ("strength", "132")],
)
def test_sort(sort: Sort, found: str) -> None:
    assert "".join(t.id[1] for t in listed(ALL, Wanted.read(""), state="all", sort=sort)) == found


class TableApp(App[None]):
    described = 0

    def compose(self) -> ComposeResult:
        yield Table[int]((Column("number", 8), Column("text")), self.describe, str)

    def describe(self, row: int) -> tuple[str, ...]:
        self.described += 1
        return str(row), f"row 日本 {row}"


async def test_a_table_of_many_rows_describes_those_on_screen_only() -> None:
    app = TableApp()
    async with app.run_test(size=(40, 12)) as pilot:
        table = app.query_one(Table)
        table.focus()
        table.show(range(100_000))
        await pilot.pause()
        await pilot.press("end")
        assert table.current == 99_999
        await pilot.press("home", "pagedown", "space", "down")
        await pilot.pause()
        assert table.chosen() == [10]
        assert app.described < 2000
        assert all(table.render_line(y).cell_length == table.size.width for y in range(table.size.height))
        table.show([])
        await pilot.press("enter", "space", "down")
        assert table.current is None
        assert table.chosen() == []


async def test_the_cursor_stays_on_its_row_when_others_go() -> None:
    app = TableApp()
    async with app.run_test(size=(40, 12)) as pilot:
        table = app.query_one(Table)
        table.focus()
        table.show(range(50))
        await pilot.press(*["down"] * 20)
        table.show(range(10, 50))
        assert table.current == 20
        table.show(range(30, 50))
        assert table.current == 30
