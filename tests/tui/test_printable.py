from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentmem_tui.printable import one_line, printable


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("\x1b[2J\x1b]0;title\x07", "␛[2J␛]0;title␇"),
        ("a\r\nb\rc\u2028d", "a\nb\nc\nd"),
        ("\x9b31m", "\N{REPLACEMENT CHARACTER}31m"),
        ("\u202egnp.exe", "\N{REPLACEMENT CHARACTER}gnp.exe"),
        ("lone \ud800", "lone \N{REPLACEMENT CHARACTER}"),
        ("nul \x00 del \x7f", "nul ␀ del ␡"),
        ("tab\tand [bold]brackets[/] stay", "tab\tand [bold]brackets[/] stay"),
        ("čeština, 日本語, 👩‍🍳", "čeština, 日本語, 👩‍🍳"),
    ],
)
def test_control_characters_become_visible(text: str, safe: str) -> None:
    assert printable(text) == safe


@given(st.text())
def test_no_control_character_is_left(text: str) -> None:
    left = {c for c in printable(text) if ord(c) < 32 or 0x7F <= ord(c) < 0xA0}
    assert left <= {"\n", "\t"}
    printable(text).encode()


def test_one_line_folds_and_cuts() -> None:
    assert one_line("a  b\nc\td", 20) == "a b c d"
    assert one_line("abcdefgh", 5) == "abcd…"
