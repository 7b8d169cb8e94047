"""Talking: what is sent is answered, stored, recalled, cancelled; nothing said can harm the screen."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from textual.widgets import Static

from agentmem.errors import ModelError
from agentmem.memory import Memory
from agentmem_tui.app import ChatApp
from agentmem_tui.screens.around import AroundScreen
from agentmem_tui.screens.forget import ForgetScreen
from agentmem_tui.widgets.answer import Answer
from agentmem_tui.widgets.prompt import Prompt
from agentmem_tui.widgets.prose import Prose
from agentmem_tui.widgets.recalled import RecalledList
from agentmem_tui.widgets.said import Said
from agentmem_tui.widgets.status_bar import StatusBar
from tests.tui.conftest import NAMESPACE, SIZE, notices, recalled, say, shown, transcript, until

Chat = Callable[..., ChatApp]


async def test_answer_is_shown_and_stored(chat: Chat, memory: Memory) -> None:
    app = chat("Noted: **Lisbon**.", session="s")
    async with app.run_test(size=SIZE) as pilot:
        answer = await say(pilot, "I moved to Lisbon in May.")
        assert answer.text == "Noted: **Lisbon**."
        assert str(answer.query_one(Prose).render()) == "Noted: Lisbon."
        assert not app.screen.query_one(Prompt).text
    stored = [(t.role, t.text, t.status) for t in memory.turns(namespace=NAMESPACE, session="s")]
    assert stored == [
        ("user", "I moved to Lisbon in May.", "complete"),
        ("assistant", "Noted: **Lisbon**.", "complete"),
    ]


async def test_history_and_what_was_recalled_survive_a_restart(chat: Chat, memory: Memory) -> None:
    memory.observe("user", "I moved to Lisbon in May.", namespace=NAMESPACE, session="old")
    async with chat("Hello.", "To Lisbon.", session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "Good morning!")
        await say(pilot, "Where did I move in May?")
        before = recalled(pilot)
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: len(transcript(pilot).said()) == 4 and bool(recalled(pilot)))
        assert [w.turn_id for w in transcript(pilot).said()] == [
            t.id for t in memory.turns(namespace=NAMESPACE, session="s")
        ]
        assert recalled(pilot) == before == ["I moved to Lisbon in May."]
        await pilot.press("up")
        assert pilot.app.screen.query_one(Prompt).text == "Where did I move in May?"


async def test_what_the_stand_in_recalled_from_this_session_survives_too(chat: Chat) -> None:
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "I moved to Lisbon in May.")
        await say(pilot, "Where did I move in May?")
        assert recalled(pilot) == ["I moved to Lisbon in May."]
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: recalled(pilot) == ["I moved to Lisbon in May."])


async def test_another_session_remembers(chat: Chat) -> None:
    async with chat().run_test(size=SIZE) as pilot:
        await say(pilot, "I moved to Lisbon in May.")
    async with chat().run_test(size=SIZE) as pilot:
        answer = await say(pilot, "Where did I move in May?")
        assert "Lisbon" in answer.text
        assert "I moved to Lisbon in May." in recalled(pilot)


async def test_empty_memory_greets_and_says_how_to_get_a_model(chat: Chat) -> None:
    async with chat().run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "Welcome to agentmem" in shown(pilot))
        assert "How to get a model." in shown(pilot)
        assert "Three things to try" in shown(pilot)


async def test_cancel_keeps_what_came(chat: Chat, memory: Memory) -> None:
    going_on = threading.Event()

    def slowly(_messages: Any) -> Iterator[str]:
        yield "One two "
        going_on.wait(20)
        yield "three."

    app = chat(slowly, session="s")
    async with app.run_test(size=SIZE) as pilot:
        app.screen.query_one(Prompt).load_text("Count.")
        await pilot.press("enter")
        await until(pilot, lambda: "two" in "".join(a.text for a in app.screen.query(Answer)))
        await pilot.press("escape")
        going_on.set()
        await until(pilot, lambda: "cancelled" in app.screen.query(Answer).last().note)
    assert [(t.role, t.text.strip(), t.status) for t in memory.turns(namespace=NAMESPACE, session="s")] == [
        ("user", "Count.", "complete"),
        ("assistant", "One two", "cancelled"),
    ]


async def test_model_error_is_one_line_and_the_app_goes_on(chat: Chat) -> None:
    app = chat(ModelError("the server at http://localhost:8000/v1 did not answer\nis it running?"), "Here again.")
    async with app.run_test(size=SIZE) as pilot:
        app.screen.query_one(Prompt).load_text("Hello?")
        await pilot.press("enter")
        await until(pilot, lambda: bool(notices(pilot)))
        assert "did not answer" in notices(pilot)[0]
        assert "\n" not in notices(pilot)[0]
        answer = await say(pilot, "And now?")
        assert answer.text == "Here again."


async def test_private_mode_stores_nothing(chat: Chat, memory: Memory) -> None:
    app = chat("Between us.", "Noted.", session="s")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("f4")
        assert app.screen.query_one(StatusBar).private
        await say(pilot, "A secret.")
        assert memory.turns(namespace=NAMESPACE) == []
        await pilot.press("f4")
        await say(pilot, "Not a secret.")
    assert [t.text for t in memory.turns(namespace=NAMESPACE)] == ["Not a secret.", "Noted."]


HOSTILE = "[bold red]loud[/] [link=x]y[/] <b>tag</b> \x1b[2J\x1b]0;owned\x07 [/nothing] [@click=app.quit]go[/]"


async def test_markup_and_escapes_are_shown_never_obeyed(chat: Chat, memory: Memory) -> None:
    memory.observe("user", HOSTILE, namespace=NAMESPACE, session="s", speaker="[red]Eve[/]\x1b[2J")
    memory.observe("assistant", HOSTILE, namespace=NAMESPACE, session="s")
    thought = memory.insert(f"owned {HOSTILE}", namespace=NAMESPACE).thought
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await say(pilot, "What is loud and owned?")
        assert thought.text in recalled(pilot)
        text = shown(pilot)
        assert "[bold red]loud[/]" in text
        assert "[@click=app.quit]go[/]" in text
        assert "[red]Eve[/]␛[2J" in text
        picture = pilot.app.export_screenshot(simplify=True)
        assert "\x1b" not in picture
        assert "&lt;b&gt;tag&lt;/b&gt;" in picture.replace("&#160;", " ")
        pilot.app.screen.query_one(RecalledList).focus()
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, AroundScreen) and "[bold red]" in shown(pilot))
        await pilot.press("f")
        await until(pilot, lambda: isinstance(pilot.app.screen, ForgetScreen) and "[bold red]" in shown(pilot))


async def test_a_link_in_an_answer_shows_its_address_and_leads_nowhere(chat: Chat) -> None:
    app = chat("See [the page](http://example.org/a) and <b>this</b>.")
    async with app.run_test(size=SIZE) as pilot:
        answer = await say(pilot, "Where is it?")
        content = answer.query_one(Prose).render()
        assert str(content) == "See the page (http://example.org/a) and <b>this</b>."
        assert not [span for span in content.spans if not isinstance(span.style, str) and span.style.meta]


async def test_without_colour_the_selected_answer_still_shows(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = chat("One.", "Two.")
    async with app.run_test(size=SIZE) as pilot:
        assert app.no_color
        await say(pilot, "First?")
        await say(pilot, "Second?")
        lines = [str(line.render()) for line in app.screen.query(".note").results(Static)]
        assert [line[0] for line in lines] == ["◇", "◆"]


async def test_prompt_takes_several_lines_and_goes_through_what_was_said(chat: Chat, memory: Memory) -> None:
    app = chat("a", "b", session="s")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"one", "ctrl+j", *"two", "enter")
        await until(pilot, lambda: len(memory.turns(namespace=NAMESPACE)) == 2)
        assert memory.turns(namespace=NAMESPACE)[0].text == "one\ntwo"
        await say(pilot, "three")
        prompt = app.screen.query_one(Prompt)
        await pilot.press(*"draft", "up")
        assert prompt.text == "three"
        await pilot.press("up")
        assert prompt.text == "one\ntwo"
        await pilot.press("up", "up", "down", "down")
        assert prompt.text == "three"
        await pilot.press("down")
        assert prompt.text == "draft"
        await pilot.press("enter", "enter")
        await pilot.pause()


async def test_blank_text_is_not_sent(chat: Chat) -> None:
    app = chat("never")
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press("space", "ctrl+j", "enter")
        await pilot.pause(0.1)
        assert not app.screen.query(Said)


async def test_older_turns_come_on_demand(chat: Chat, memory: Memory) -> None:
    for n in range(60):
        memory.observe("user", f"line {n}", namespace=NAMESPACE, session="s")
    async with chat(session="s").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: len(transcript(pilot).said()) == 40)
        transcript(pilot).query_one("#earlier").focus()
        await pilot.press("enter")
        await until(pilot, lambda: len(transcript(pilot).said()) == 60)
        assert not transcript(pilot).query_one("#earlier").display


@pytest.mark.parametrize("key", ["ctrl+c", "ctrl+q"])
async def test_quits(chat: Chat, key: str) -> None:
    app = chat()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(key)
        await pilot.pause()
    assert app.return_code == 0


async def test_ctrl_c_copies_what_is_marked(chat: Chat) -> None:
    app = chat()
    async with app.run_test(size=SIZE) as pilot:
        await pilot.press(*"copy me", "f7", "ctrl+c")
        assert app.clipboard == "copy me"
        assert app.is_running
        await pilot.press("ctrl+c")
    assert app.return_code == 0


async def test_quitting_in_mid_answer_keeps_what_came(chat: Chat, memory: Memory) -> None:
    going_on = threading.Event()

    def slowly(_messages: Any) -> Iterator[str]:
        yield "One two "
        going_on.wait(20)
        yield "three."

    app = chat(slowly, session="s")
    async with app.run_test(size=SIZE) as pilot:
        app.screen.query_one(Prompt).load_text("Count.")
        await pilot.press("enter")
        await until(pilot, lambda: "two" in "".join(a.text for a in app.screen.query(Answer)))
        await pilot.press("f4")
        assert "Esc cancels" in notices(pilot)[-1]
        await pilot.press("ctrl+q")
        going_on.set()
    assert [t.status for t in memory.turns(namespace=NAMESPACE, session="s")] == ["complete", "cancelled"]


async def test_a_huge_turn_is_kept_and_does_not_hold_up_the_screen(chat: Chat, memory: Memory) -> None:
    memory.observe("user", "peanuts " * 130_000, namespace=NAMESPACE, session="s")
    async with chat("I see.", session="s").run_test(size=SIZE) as pilot:
        await until(pilot, lambda: "more characters are kept" in shown(pilot))
        await say(pilot, "What about peanuts?")
        # What a widget lays out is what holds up the screen, however quick the machine is.
        laid_out = [len(str(widget.render())) for widget in pilot.app.screen.query("Static, Prose")]
        assert 20_000 < max(laid_out) < 20_200
        listed = pilot.app.screen.query_one(RecalledList)
        assert all(len(str(listed.get_option_at_index(n).prompt)) < 1000 for n in range(listed.option_count))
    assert memory.turns(namespace=NAMESPACE, session="s")[0].text == "peanuts " * 130_000


async def test_a_sample_conversation_is_a_key_away_and_comes_once(chat: Chat, memory: Memory) -> None:
    async with chat().run_test(size=SIZE) as pilot:
        await pilot.press("f10")
        await until(pilot, lambda: "8 turns remembered" in shown(pilot))
        await pilot.press("f10")
        await until(pilot, lambda: "It is there already" in notices(pilot)[-1])
        answer = await say(pilot, "What is Elin allergic to?")
        assert "peanuts" in answer.text
    assert len(memory.turns(namespace=NAMESPACE, session="a sample conversation")) == 8


async def test_the_theme_of_high_contrast_can_be_chosen(chat: Chat) -> None:
    app = chat("Yes.")
    async with app.run_test(size=SIZE) as pilot:
        app.theme = "high-contrast"
        await say(pilot, "Does it show?")
        assert app.current_theme.background == "#000000"
