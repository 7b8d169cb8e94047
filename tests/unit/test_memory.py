"""The facade: ledger, chunks, ids and namespaces, on both built-in backends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from agentmem.errors import ConflictError, InputError, NamespaceError, NotFoundError
from agentmem.memory import Memory
from agentmem.types import NewTurn

NS = ("ada",)


def test_turns_keep_everything_they_were_given(memory: Memory) -> None:
    moment = datetime(2024, 5, 1, 12, tzinfo=UTC)
    parts = ({"type": "text", "text": "Look"}, {"type": "image", "caption": "a red kite"})
    turn = memory.observe(
        "user",
        parts,
        namespace=NS,
        session="s",
        speaker="Ada",
        occurred_at=moment,
        zone="Europe/Rome",
        precision="minute",
        source="test",
        external_id="1",
        metadata={"k": [1, None]},
    )
    assert memory.get_turn(turn.id, namespace=NS) == turn
    assert turn.text == "Look\n[image: a red kite]"
    assert (turn.seq, turn.occurred_at, turn.zone) == (0, moment, "Europe/Rome")


def test_naive_time_is_floating(memory: Memory) -> None:
    turn = memory.observe("user", "Hello there", namespace=NS, occurred_at=datetime(2024, 5, 1, 12))
    assert (turn.occurred_at, turn.zone) == (datetime(2024, 5, 1, 12, tzinfo=UTC), "floating")


@pytest.mark.parametrize("text", ["a\0b \ud800 c", "x" * 1_000_000, "🦊 é\u0301"])
def test_odd_text_survives(memory: Memory, text: str) -> None:
    turn = memory.observe("user", text, namespace=NS)
    assert memory.get_turn(turn.id, namespace=NS).text == text


@pytest.mark.parametrize("given", [{"role": "robot"}, {"content": " "}, {"session": ""}, {"status": "odd"}])
def test_bad_turn_is_refused(memory: Memory, given: dict[str, str]) -> None:
    wanted = {"role": "user", "content": "hello", **given}
    with pytest.raises(InputError):
        memory.observe(wanted.pop("role"), wanted.pop("content"), namespace=NS, **wanted)  # type: ignore[arg-type]
    assert memory.turns(namespace=NS) == []


@pytest.mark.parametrize(
    "given",
    [
        {"speaker": ["Ada"]},
        {"parts": ("hello",)},
        {"parts": ({"type": "text", "text": 5},)},
        {"metadata": "x"},
        {"occurred_at": "yesterday"},
        {"occurred_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
    ],
)
def test_malformed_turn_poisons_nothing(memory: Memory, given: dict[str, Any]) -> None:
    new = NewTurn(**{"role": "user", "parts": ({"type": "text", "text": "hello"},), **given})
    with pytest.raises(InputError):
        memory.observe_many([new], namespace=NS)
    memory.observe("user", "the red kite", namespace=NS)
    assert len(memory.recall("kite", namespace=NS, wait=0).items) == 1


def test_observing_twice_by_source_and_id(memory: Memory) -> None:
    first = memory.observe("user", "hello", namespace=NS, source="f", external_id="1")
    assert memory.observe("user", "hello", namespace=NS, source="f", external_id="1") == first
    other = memory.observe("user", "hello", namespace=NS, source="g", external_id="1")
    assert other.id != first.id


def test_batch_counts(memory: Memory) -> None:
    batch = [NewTurn(role="user", parts=({"type": "text", "text": t},), source="f", external_id=t) for t in "aab"]
    done = memory.observe_many([*batch, NewTurn(role="user", parts=())], namespace=NS)
    assert (len(done.added), done.known, done.empty) == (2, 1, 1)


def test_chunks_close_by_size_and_by_session(memory: Memory) -> None:
    for n in range(10):
        memory.observe("user", f"turn {n}", namespace=NS, session="one")
    memory.observe("user", "elsewhere", namespace=NS, session="two")
    with memory.backend.read() as reader:
        chunks = list(reader.select("chunk", namespace=NS))
    assert [(c.session, c.first_seq, c.last_seq) for c in chunks] == [("one", 0, 7), ("one", 8, 9), ("two", 0, None)]
    memory.observe("user", "again", namespace=NS, session="one")
    last = memory.turns(namespace=NS, session="one")[-1]
    assert [t.text for t in memory.open_chunk(last.id, namespace=NS)] == ["again"]
    assert [t.text for t in memory.open_chunk(last.id, namespace=NS, around=1)] == ["turn 8", "turn 9", "again"]


def test_chunks_never_overlap_after_the_end_was_forgotten(memory: Memory) -> None:
    ids = [memory.observe("user", f"turn {n}", namespace=NS).id for n in range(9)]
    memory.forget(ids[7:], namespace=NS)
    memory.observe("user", "one more", namespace=NS)
    with memory.backend.read() as reader:
        chunks = list(reader.select("chunk", namespace=NS))
    assert [(c.first_seq, c.last_seq) for c in chunks] == [(0, 7), (8, None)]


def test_rebuilt_chunks_hold_every_turn(memory: Memory) -> None:
    for n in range(20):
        memory.observe("user", f"turn {n}", namespace=NS)
    assert memory.rebuild_chunks(namespace=NS) == 3
    assert memory.stats(namespace=NS).chunks == 3
    memory.observe("user", "turn 20", namespace=NS)
    assert memory.stats(namespace=NS).chunks == 3


@pytest.mark.parametrize("namespace", ["ada", (), ("",), ("a", 1), None, ("a\n",)])
def test_namespace_is_required_and_checked(memory: Memory, namespace: object) -> None:
    with pytest.raises(NamespaceError):
        memory.observe("user", "hello", namespace=namespace)  # type: ignore[arg-type]
    with pytest.raises(NamespaceError):
        memory.recall("hello", namespace=namespace, wait=0)  # type: ignore[arg-type]


def test_namespaces_do_not_collide_or_leak(memory: Memory) -> None:
    memory.observe("user", "the red kite", namespace=("a", "bc"))
    memory.observe("user", "the blue kite", namespace=("ab", "c"))
    assert [i.text for i in memory.recall("kite", namespace=("a", "bc"), wait=0).items] == ["the red kite"]
    assert memory.recall("kite", namespace=("a",), wait=0).items == ()
    below = memory.recall("kite", namespace=("a",), wait=0, subtree=True).items
    assert [(i.text, i.source["namespace"]) for i in below] == [("the red kite", ["a", "bc"])]


def test_shortened_ids(memory: Memory) -> None:
    turn = memory.observe("user", "hello", namespace=NS)
    assert memory.resolve(turn.id[-8:], namespace=NS) == ("turn", turn.id)
    assert memory.resolve(turn.id, namespace=NS) == ("turn", turn.id)
    with pytest.raises(NotFoundError):
        memory.resolve(turn.id[-8:], namespace=("eve",))
    memory.observe("user", "hello", namespace=NS)
    with pytest.raises(ConflictError, match="stands for 2 ids"):
        memory.resolve(turn.id[:6], namespace=NS)


def test_status_changes_nothing_else(memory: Memory) -> None:
    turn = memory.observe("user", "first try", namespace=NS)
    changed = memory.set_status(turn.id, "superseded", namespace=NS)
    assert changed.status == "superseded"
    assert memory.get_turn(turn.id, namespace=NS).text == "first try"
    assert memory.recall("first try", namespace=NS, wait=0).items == ()


def test_recall_needs_words(memory: Memory) -> None:
    with pytest.raises(InputError, match="empty query"):
        memory.recall("  ", namespace=NS, wait=0)


def test_sessions_latest_first(memory: Memory) -> None:
    for session in ("one", "two", "one"):
        memory.observe("user", "hello", namespace=NS, session=session)
    found = memory.sessions(namespace=NS)
    assert [(s.session, s.turns) for s in found] == [("one", 2), ("two", 1)]


async def test_async_forms(memory: Memory) -> None:
    await memory.aobserve("user", "the red kite", namespace=NS)
    found = await memory.arecall("kite", namespace=NS, wait=0)
    assert [item.text for item in found.items] == ["the red kite"]


def test_closing_twice_is_quiet(memory: Memory) -> None:
    memory.close()
    memory.close()


def test_a_turn_from_the_future_is_recalled_until_a_date_is_asked_for(memory: Memory) -> None:
    soon = datetime.now(UTC) + timedelta(days=400)
    memory.observe("user", "the red kite", namespace=NS, occurred_at=soon)
    assert memory.recall("kite", namespace=NS, wait=0).items
    assert memory.recall("kite", namespace=NS, wait=0, as_of=soon - timedelta(days=1)).items == ()


def test_what_only_quotes_memory_is_not_recalled(memory: Memory) -> None:
    memory.observe("assistant", "You said: the red kite", namespace=NS, metadata={"quotes": True})
    memory.observe("assistant", "A red kite is a bird", namespace=NS)
    assert [item.text for item in memory.recall("kite", namespace=NS, wait=0).items] == ["A red kite is a bird"]
    assert len(memory.turns(namespace=NS)) == 2


def test_an_erased_namespace_that_begins_again_is_new_to_everyone(memory: Memory) -> None:
    other = Memory(memory.backend, embedder=None, settings=memory.settings)
    for n in range(5):
        memory.observe("user", f"the red kite {n}", namespace=NS)
    assert len(other.recall("kite", namespace=NS, wait=0).items) == 5
    memory.erase(namespace=NS)
    memory.observe("user", "a blue kite", namespace=NS)
    assert [item.text for item in other.recall("kite", namespace=NS, wait=0).items] == ["a blue kite"]


def thinking_jobs(memory: Memory) -> list[tuple[str, bool]]:
    """What waits to be thought about: the turn, and whether that is due."""
    due = {job.id for job in memory.backend.claim("think", limit=9, lease_seconds=0)}
    return [(job.target, job.id in due) for job in memory.backend.jobs(task="think")]


def test_thinking_about_a_turn_waits_for_the_answer_to_it(memory: Memory) -> None:
    said = memory.observe("user", "the red kite", namespace=NS, think=True)
    assert thinking_jobs(memory) == [(said.id, False)]
    memory.observe("tool", "look()", namespace=NS, parent_id=said.id)
    memory.observe("assistant", "An answer to something else", namespace=NS)
    assert thinking_jobs(memory) == [(said.id, False)]
    memory.observe("assistant", "Noted", namespace=NS, parent_id=said.id)
    assert thinking_jobs(memory) == [(said.id, True)]
    memory.forget([said.id], namespace=NS)
    assert thinking_jobs(memory) == []


def test_only_what_users_say_is_queued_and_only_once(memory: Memory) -> None:
    new = NewTurn(role="user", parts=({"type": "text", "text": "hello"},), source="test", external_id="1")
    for _ in range(2):
        memory.observe_many([new, NewTurn(role="tool", parts=new.parts)], namespace=NS, think=True)
    memory.observe("user", "not this", namespace=NS)
    assert len(thinking_jobs(memory)) == 1


def test_an_answer_is_kept_together_with_what_stood_in_its_prompt(memory: Memory) -> None:
    said = memory.observe("user", "the red kite", namespace=NS)
    answer = memory.observe("assistant", "A kite", namespace=NS, recalled=[("turn", said.id), ("thought", "gone")])
    with memory.backend.read() as reader:
        assert [e.parent for e in reader.edges(namespace=NS, children=[answer.id], relation="recalled")] == [said.id]
