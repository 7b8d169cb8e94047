"""The page of weights, on records and folders as consolidation leaves them: nothing is shown that is not so."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.widgets import Static, TextArea

from agentmem import lineage
from agentmem.clock import utc_now
from agentmem.consolidation import adapters as folders
from agentmem.consolidation.gates import Gate, Judgement
from agentmem.consolidation.watching import Journal
from agentmem.ids import new_id
from agentmem.memory import Memory
from agentmem.types import Adapter
from agentmem_tui.app import ChatApp
from agentmem_tui.conversation import Target
from agentmem_tui.screens.confirm import AgreeScreen
from agentmem_tui.screens.weights import WeightsPage
from agentmem_tui.screens.write import WriteScreen
from tests.tui.conftest import NAMESPACE, SIZE, Driver, notices, shown, turn_to, until

Chat = Callable[..., ChatApp]
GOOD = Gate("recall", 0.981, 0.95, 0.9, 200, "passed")
BAD = Gate("older", 0.31, 0.38, 0.02, 160, "failed")


@pytest.fixture(autouse=True)
def no_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Whatever may listen on this machine is none of these tests' business."""
    with monkeypatch.context() as changed:
        changed.setattr("agentmem.models.select._look", lambda _address: None)
        yield


def made(
    memory: Memory,
    *thoughts: str,
    gates: tuple[Gate, ...] = (GOOD,),
    serve: bool = False,
    state: Any = None,
    parents: Sequence[str] = (),
) -> Adapter:
    """An adapter with its folder, as a cycle publishes and records it; its weights are a few bytes."""
    root = folders.root_of(memory.settings, NAMESPACE)
    root.mkdir(parents=True, exist_ok=True)
    work = folders.work_folder(root, new_id())
    work.mkdir(exist_ok=True)
    (work / folders.WEIGHTS).write_bytes(new_id().encode())
    (work / folders.CONFIG).write_text("{}", "utf-8")
    told = {"base": "/models/base", "strategy": "from-base", "seed": 0, "writer": "templates", "learned": len(thoughts)}
    told |= {"new": len(thoughts), "judgement": Judgement(gates).as_json(), "model": None}
    name = folders.publish(work, root, told).name
    adapter = Adapter(id=new_id(), namespace=NAMESPACE, name=name, recorded_at=utc_now(), metadata=told)
    with memory.backend.write() as writer:
        lineage.record(writer, adapter, thoughts, parents)
        if serve:
            lineage.put_in_service(writer, adapter, namespace=NAMESPACE, now=utc_now())
        if state is not None:
            writer.replace([replace(adapter, state=state)])
    return adapter


async def opened(pilot: Driver) -> WeightsPage:
    await turn_to(pilot, 4)
    page = pilot.app.screen
    assert isinstance(page, WeightsPage)
    await until(pilot, lambda: "Reading" not in counted(pilot) and "asking" not in counted(pilot))
    return page


def counted(pilot: Driver) -> str:
    return str(pilot.app.screen.query_one("#count", Static).render())


def serving(memory: Memory) -> str | None:
    with memory.backend.read() as reader:
        found = lineage.serving(reader, namespace=NAMESPACE)
    return None if found is None else found.name


async def agreed(pilot: Driver, key: str, answer: str) -> str:
    """Press a key, answer what is asked, and return what was asked."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, AgreeScreen))
    await pilot.pause()
    asked = shown(pilot)
    await pilot.press(answer)
    await until(pilot, lambda: isinstance(pilot.app.screen, WeightsPage))
    return asked


async def test_without_an_adapter_the_page_says_how_to_get_one(chat: Chat) -> None:
    async with chat().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "No adapter yet" in shown(pilot))
        assert counted(pilot) == "the base model alone answers"
        await pilot.press("r")
        await until(pilot, lambda: any("no adapter to go back to" in notice for notice in notices(pilot)))
        await pilot.press("b", "t")
        assert "The base model alone answers already" in notices(pilot)


async def test_what_must_be_installed_first_is_named(chat: Chat, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentmem.consolidation.cycle.find_spec", lambda _name: None)
    async with chat().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "pip install 'agentmem[lora]'" in shown(pilot))


async def test_adapters_are_shown_with_lineage_gates_and_what_they_learned(chat: Chat, memory: Memory) -> None:
    thought = memory.insert("Elin is allergic to peanuts.", namespace=NAMESPACE).thought
    first = made(memory, thought.id, serve=True)
    made(memory, thought.id, gates=(GOOD, BAD), state="rejected", parents=[first.id])
    async with chat().run_test(size=SIZE) as pilot:
        page = await opened(pilot)
        assert [adapter.state for adapter in page.table.rows] == ["rejected", "serving"]
        await until(pilot, lambda: "it did not pass its gates" in shown(pilot))
        text = shown(pilot)
        assert "at least 0.9" in text
        assert "at most 0.02" in text
        assert "✗ failed" in text
        assert f"goes on from {first.name}" in text
        assert "· Elin is allergic to peanuts." in text
        assert f"2 adapters · {first.name} answers · No model server answers" in counted(pilot)
        await pilot.press("down")
        await until(pilot, lambda: "it answers in this namespace · since" in shown(pilot))
        memory.forget([thought.id], namespace=NAMESPACE)
        await pilot.press("l")
        await until(pilot, lambda: "the base model alone answers" in counted(pilot))
        await until(pilot, lambda: "of 1, 0 still remembered" in shown(pilot))
        assert "withdrawn" in [adapter.state for adapter in page.table.rows]


async def test_a_rollback_is_asked_first_and_then_so(chat: Chat, memory: Memory) -> None:
    first, second = made(memory, serve=True), made(memory, serve=True)
    async with chat().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        asked = await agreed(pilot, "r", "n")
        assert f"Now {second.name} answers" in asked
        assert first.name in asked
        assert serving(memory) == second.name
        await agreed(pilot, "r", "y")
        await until(pilot, lambda: f"{first.name} answers" in counted(pilot))
        assert serving(memory) == first.name
        await agreed(pilot, "t", "y")  # the newest is under the cursor
        await until(pilot, lambda: f"{second.name} answers" in counted(pilot))
        await agreed(pilot, "b", "y")
        await until(pilot, lambda: "the base model alone answers" in counted(pilot))
        assert serving(memory) is None


async def test_a_rollback_that_does_not_work_is_not_shown_as_done(chat: Chat, memory: Memory) -> None:
    first, second = made(memory, serve=True), made(memory, serve=True)
    folders.remove(folders.folder_of(folders.root_of(memory.settings, NAMESPACE), first.name))
    async with chat().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await agreed(pilot, "r", "y")
        await until(pilot, lambda: any("consolidate anew" in notice for notice in notices(pilot)))
        await until(pilot, lambda: f"{second.name} answers" in counted(pilot))
        assert not [notice for notice in notices(pilot) if "From now on" in notice]
    assert serving(memory) == second.name


async def test_one_that_did_not_pass_cannot_be_had(chat: Chat, memory: Memory) -> None:
    adapter = made(memory, gates=(BAD,), state="rejected")
    async with chat().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await pilot.press("t")
        assert notices(pilot)[-1] == f"{adapter.name} is rejected: it did not pass its gates and never answers"


def under_way(memory: Memory, steps: int) -> Path:
    """The folder of a cycle that has trained so many of 400 steps, as its process leaves it."""
    folder = folders.root_of(memory.settings, NAMESPACE) / "work-0123456789abcdef"
    folder.mkdir(parents=True, exist_ok=True)
    with Journal(folder) as journal:
        for step in range(1, steps + 1):
            told = {"stage": "train", "done": step, "of": 400, "loss": 2.0 / step}
            journal.note(told | ({"right": step / 400} if step % 40 == 0 else {}))
    return folder


async def test_a_cycle_that_runs_is_watched_until_its_end(chat: Chat, memory: Memory) -> None:
    folder = under_way(memory, 200)
    async with chat().run_test(size=(80, 24)) as pilot:
        await opened(pilot)
        await until(pilot, lambda: "A cycle is running: train" in shown(pilot))
        assert "200 of 400" in shown(pilot)
        assert "share answered right 0.5" in shown(pilot)
        assert "█" in shown(pilot)
        under_way(memory, 300)
        await until(pilot, lambda: "300 of 400" in shown(pilot))
        made(memory, serve=True)
        folders.remove(folder)
        await until(pilot, lambda: "1 adapter" in counted(pilot))
        assert not pilot.app.screen.query_one("#run").display


async def test_what_was_forgotten_in_this_chat_is_looked_for(chat: Chat, memory: Memory) -> None:
    thought = memory.insert("Elin is allergic to peanuts.", namespace=NAMESPACE).thought
    made(memory, thought.id, serve=True)
    app = chat()
    async with app.run_test(size=SIZE) as pilot:
        await opened(pilot)
        await looked_for(pilot, thought.id)
        await until(pilot, lambda: f"{thought.id}: ✗ not gone" in shown(pilot))
        talk = app.conversation
        talk.forget(talk.plan_forget(Target((thought.id,)), keep_source=False, repeats=True, echoes=True))
        await looked_for(pilot)
        await until(pilot, lambda: f"{thought.id}: ✓ nothing of it is left" in shown(pilot))


async def looked_for(pilot: Driver, written: str | None = None) -> None:
    """Have these ids looked for, or those that stand there."""
    await pilot.press("v")
    await until(pilot, lambda: isinstance(pilot.app.screen, WriteScreen))
    if written is not None:
        pilot.app.screen.query_one(TextArea).load_text(written)
    await pilot.press("enter")
