"""Markdown in blocks: what streams in changes the last one only, and all of it is shown."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agentmem_tui.blocks import Block, cut
from agentmem_tui.layout import lay_out

TEXT = "Before.\n\n```python\nprint('a')\n\n# no heading\n```\nAfter.\n"


def test_fences_are_blocks_of_their_own() -> None:
    assert cut(TEXT) == [
        Block("Before.\n"),
        Block("print('a')\n\n# no heading", code=True, language="python"),
        Block("After.\n", closed=False),
    ]


def test_an_open_fence_is_code_that_is_not_closed() -> None:
    assert cut("Here:\n```\none\ntwo")[-1] == Block("one\ntwo", code=True, closed=False)


def test_a_fence_closes_with_as_many_marks_as_it_opened() -> None:
    text = "````md\n```\ninner\n```\n````\nafter"
    assert [block.text for block in cut(text)] == ["```\ninner\n```", "after"]


def test_long_prose_is_cut_at_blank_lines_but_not_within_a_list() -> None:
    long = "word " * 300
    assert len(cut(f"{long}\n\nNext.")) == 2
    assert len(cut(f"{long}\n\n- item\n\n- another\n\n  its second paragraph")) == 1


@given(
    st.lists(st.sampled_from(["a b", "", "```", "~~~", "- x", "> q", "| t |", "word " * 200, "    code"]), max_size=25)
)
def test_while_a_text_grows_closed_blocks_stay_as_they_are(lines: list[str]) -> None:
    before: list[Block] = []
    for count in range(len(lines) + 1):
        now = cut("\n".join(lines[:count]) + "\n" * bool(count))
        closed = [block for block in before[:-1] if block.closed]
        assert now[: len(closed)] == closed
        before = now


@given(st.text(alphabet="ab *_`[]()<>#\n-|1.", max_size=200), st.integers(8, 60))
def test_no_line_is_wider_than_the_screen(text: str, width: int) -> None:
    assert all(len(line) <= width for line in lay_out(text, width).plain.split("\n"))


def test_html_and_links_are_text() -> None:
    shown = lay_out("a <script>x</script> [here](http://e.org) **b**", 80).plain
    assert shown == "a <script>x</script> here (http://e.org) b"
