"""Insert, retract, merge and undo, on both built-in backends."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from agentmem.errors import ConflictError, InputError, NotFoundError, SecretError
from agentmem.memory import Memory

NS = ("ada",)
MAY = datetime(2024, 5, 1, tzinfo=UTC)


def texts(memory: Memory, **how: object) -> list[str]:
    return sorted(t.text for t in memory.thoughts(namespace=NS, **how))  # type: ignore[arg-type]


def test_equal_text_strengthens(memory: Memory) -> None:
    first = memory.insert("Ada lives in Turin.", namespace=NS)
    again = memory.insert("  ada lives in   TURIN", namespace=NS)
    assert again.strengthened
    assert again.thought.id == first.thought.id
    assert again.thought.strength == 2
    assert texts(memory) == ["Ada lives in Turin."]


def test_numbers_are_told_apart(memory: Memory) -> None:
    memory.insert("Ada takes 20 mg daily", namespace=NS)
    assert not memory.insert("Ada takes 40 mg daily", namespace=NS).strengthened
    assert len(texts(memory)) == 2


def test_thought_dates_from_its_source(memory: Memory) -> None:
    turn = memory.observe("user", "I moved to Turin.", namespace=NS, occurred_at=MAY)
    thought = memory.insert("Ada lives in Turin", namespace=NS, sources=[turn.id]).thought
    assert thought.valid_from == MAY
    assert [t.id for t in memory.history(thought.id, namespace=NS).sources] == [turn.id]


def test_unknown_source_is_an_error(memory: Memory) -> None:
    with pytest.raises(NotFoundError, match="no turn nobody"):
        memory.insert("Ada lives in Turin", namespace=NS, sources=["nobody"])
    assert texts(memory) == []


@pytest.mark.parametrize("text", ["", "  \n"])
def test_empty_thought_is_refused(memory: Memory, text: str) -> None:
    with pytest.raises(InputError, match="empty"):
        memory.insert(text, namespace=NS)


def test_secret_is_refused(memory: Memory) -> None:
    with pytest.raises(SecretError):
        memory.insert("my password is Tr0ub4dor&3", namespace=NS)
    assert texts(memory) == []


def test_supersede_and_time_travel(memory: Memory) -> None:
    june = MAY + timedelta(days=31)
    old = memory.insert("Ada lives in Turin", namespace=NS, valid_from=MAY).thought
    new = memory.insert("Ada lives in Lisbon", namespace=NS, valid_from=june, supersedes=old.id).thought
    assert texts(memory) == ["Ada lives in Lisbon"]
    assert texts(memory, as_of=MAY + timedelta(days=3)) == ["Ada lives in Turin"]
    assert texts(memory, as_of=june) == ["Ada lives in Lisbon"]
    told = memory.history(old.id, namespace=NS)
    assert told.thought.valid_to == june
    assert [t.id for t in told.successors] == [new.id]
    assert [t.id for t in memory.history(new.id, namespace=NS).replaced] == [old.id]


def test_known_at_shows_what_was_believed_then(memory: Memory) -> None:
    old = memory.insert("Ada lives in Turin", namespace=NS, valid_from=MAY).thought
    before = datetime.now(UTC)
    memory.retract(old.id, namespace=NS, valid_to=MAY + timedelta(days=1))
    assert texts(memory, as_of=before, known_at=before) == ["Ada lives in Turin"]
    assert texts(memory, as_of=before) == []


def test_undo_retract(memory: Memory) -> None:
    thought = memory.insert("Ada lives in Turin", namespace=NS).thought
    operation = memory.retract(thought.id, namespace=NS)
    assert texts(memory) == []
    assert memory.undo(namespace=NS).id == operation.id
    assert memory.get_thought(thought.id, namespace=NS) == thought
    with pytest.raises(NotFoundError, match="nothing to undo"):
        memory.undo(namespace=NS)
    with pytest.raises(ConflictError, match="undone already"):
        memory.undo(operation.id, namespace=NS)


def test_undo_retract_never_doubles(memory: Memory) -> None:
    first = memory.insert("Ada lives in Turin", namespace=NS).thought
    operation = memory.retract(first.id, namespace=NS)
    memory.insert("Ada lives in Turin", namespace=NS)
    memory.undo(operation.id, namespace=NS)
    assert texts(memory) == ["Ada lives in Turin"]
    assert memory.thoughts(namespace=NS)[0].strength == 2


def test_merge_keeps_sources_and_undo_restores(memory: Memory) -> None:
    turns = [memory.observe("user", f"fact {n}", namespace=NS) for n in range(2)]
    parents = [
        memory.insert(f"Ada likes tea ({n})", namespace=NS, sources=[turn.id]).thought for n, turn in enumerate(turns)
    ]
    merged, operation = memory.merge([p.id for p in parents], "Ada likes tea", namespace=NS)
    assert texts(memory) == ["Ada likes tea"]
    assert merged.strength == 2
    told = memory.history(merged.id, namespace=NS)
    assert {t.id for t in told.sources} == {t.id for t in turns}
    assert {t.id for t in told.parents} == {p.id for p in parents}
    memory.undo(operation.id, namespace=NS)
    assert texts(memory) == ["Ada likes tea (0)", "Ada likes tea (1)"]
    with pytest.raises(NotFoundError):
        memory.get_thought(merged.id, namespace=NS)


def test_merge_takes_in_an_equal_thought(memory: Memory) -> None:
    ids = [memory.insert(text, namespace=NS).thought.id for text in ("Ada likes tea a lot", "Ada loves tea")]
    memory.insert("Ada likes tea", namespace=NS)
    memory.merge(ids, "Ada likes tea", namespace=NS)
    assert texts(memory) == ["Ada likes tea"]


def test_merge_of_one_is_refused(memory: Memory) -> None:
    thought = memory.insert("Ada likes tea", namespace=NS).thought
    with pytest.raises(InputError, match="at least two"):
        memory.merge([thought.id, thought.id], "Ada likes tea very much", namespace=NS)


def test_undo_refuses_what_has_changed_since(memory: Memory) -> None:
    ids = [memory.insert(text, namespace=NS).thought.id for text in ("Ada likes tea a lot", "Ada loves tea")]
    merged, operation = memory.merge(ids, "Ada likes tea", namespace=NS)
    memory.retract(merged.id, namespace=NS)
    with pytest.raises(ConflictError, match="changed since"):
        memory.undo(operation.id, namespace=NS)
    memory.undo(namespace=NS)
    memory.undo(operation.id, namespace=NS)
    assert len(texts(memory)) == 2


def test_what_was_superseded_never_points_to_nothing(memory: Memory) -> None:
    ids = [memory.insert(f"Ada likes tea {n}", namespace=NS).thought.id for n in range(3)]
    merged, operation = memory.merge(ids[:2], "Ada likes tea", namespace=NS)
    memory.retract(ids[2], namespace=NS, superseded_by=merged.id)
    memory.undo(operation.id, namespace=NS)
    assert memory.get_thought(ids[2], namespace=NS).superseded_by is None
    assert memory.backend.check() == []


def test_a_folded_thought_hands_on_what_it_superseded(memory: Memory) -> None:
    old, new = (memory.insert(text, namespace=NS).thought.id for text in ("Ada is in Turin", "Ada is in Lisbon"))
    memory.retract(old, namespace=NS, superseded_by=new)
    operation = memory.retract(new, namespace=NS)
    again = memory.insert("Ada is in Lisbon", namespace=NS).thought.id
    memory.undo(operation.id, namespace=NS)
    assert [t.id for t in memory.history(old, namespace=NS).successors] == [again]
    assert memory.backend.check() == []
