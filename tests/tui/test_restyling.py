"""A change of theme reaches what is in sight with the next picture, and every message in the end."""

from __future__ import annotations

from collections.abc import Callable

from textual.color import Color

from agentmem.memory import Memory
from agentmem.types import NewTurn
from agentmem_tui.app import ChatApp
from agentmem_tui.widgets.said import Said
from tests.tui.conftest import NAMESPACE, Driver, transcript, until


def _line(said: Said) -> Color:
    """The colour of the line beside a message, which every theme gives another."""
    return said.styles.border_left[1]


def _lines(pilot: Driver, *, in_sight: bool) -> set[Color]:
    window = transcript(pilot).window_region
    said = [s for s in transcript(pilot).said() if isinstance(s, Said)]
    return {_line(s) for s in said if s.virtual_region.overlaps(window) == in_sight}


async def test_what_is_in_sight_changes_first_and_all_of_it_in_the_end(
    chat: Callable[..., ChatApp], memory: Memory
) -> None:
    said = [NewTurn(role="user", parts=({"type": "text", "text": f"Number {n}."},), session="s") for n in range(36)]
    memory.observe_many(said, namespace=NAMESPACE)
    app = chat("Yes.", session="s")
    async with app.run_test(size=(100, 30)) as pilot:
        await until(pilot, lambda: len(transcript(pilot).said()) == 36 and transcript(pilot).max_scroll_y > 0)
        await until(pilot, lambda: transcript(pilot).scroll_y == transcript(pilot).max_scroll_y)
        (before,) = _lines(pilot, in_sight=True) | _lines(pilot, in_sight=False)
        app.theme = "textual-light"
        seen: list[tuple[set[Color], set[Color]]] = []
        app.screen.call_after_refresh(
            lambda: seen.append((_lines(pilot, in_sight=True), _lines(pilot, in_sight=False)))
        )
        await until(pilot, lambda: bool(seen))
        (after,) = seen[0][0]
        assert after != before
        assert before in seen[0][1]
        await until(pilot, lambda: _lines(pilot, in_sight=False) == {after})
