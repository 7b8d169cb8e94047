from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from agentmem_tui.printable import literal, one_line, printable


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


@given(st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp", "Cf"]), min_size=1))
def test_literal_markdown_shows_every_character(text: str) -> None:
    tokens = MarkdownIt("gfm-like", {"html": False}).parse(literal(f"x{text}x"))
    assert [token.type for token in tokens] == ["paragraph_open", "inline", "paragraph_close"]
    assert {child.type for child in tokens[1].children or []} == {"text"}
    assert "".join(child.content for child in tokens[1].children or []) == f"x{text}x"


def test_literal_keeps_the_list_of_quotes_and_nothing_else() -> None:
    quotes = "From memory:\n- 2026-05-01, you: “# *a* <b>”\n- 2026-05-02, you: “1. http://x.y\n# b\n- c”"
    kinds = [token.type for token in MarkdownIt("gfm-like", {"html": False}).parse(literal(quotes))]
    assert kinds.count("list_item_open") == 2
    assert not {"heading_open", "html_block", "ordered_list_open"} & set(kinds)


def test_one_line_folds_and_cuts() -> None:
    assert one_line("a  b\nc\td", 20) == "a b c d"
    assert one_line("abcdefgh", 5) == "abcd…"
