"""Near-duplicates leave room for the rest; what differs in a number, a name or a negation stays where it is."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from agentmem.diversity import ALIKE, CROWD, REPETITION
from agentmem.embed import load_embedder
from agentmem.interfaces import Embedder
from agentmem.memory import Memory
from agentmem.types import RecallItem

NS = ("tests", "diversity")
ENDS = ("", " again", " as usual", " before work", " in the sun", ", like every day", " and had a rest")


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return load_embedder()


def recall(embedder: Embedder | None, said: Sequence[tuple[str, str]], query: str, k: int = 99) -> list[RecallItem]:
    """Items for a query where speakers said these texts, each in a session of its own."""
    with Memory("memory:", embedder=embedder) as memory:
        for number, (speaker, text) in enumerate(said):
            memory.observe("user", text, namespace=NS, session=str(number), speaker=speaker)
        memory.flush()
        return list(memory.recall(query, namespace=NS, k=k).items)


def lost(items: Sequence[RecallItem]) -> dict[str, float]:
    return {item.text: signal.contribution for item in items for signal in item.signals if signal.name == REPETITION}


def test_repetitions_leave_room_and_nothing_is_dropped(embedder: Embedder) -> None:
    repeated = [("Ann", f"I watered the tomatoes in the garden{end}") for end in ENDS]
    once = [("Ann", "The window of the greenhouse broke"), ("Ann", "Black spots on the roses of the garden")]
    query = "What about the tomatoes and the garden, the greenhouse and the roses?"
    items = recall(embedder, [*repeated, *once], query)
    assert {item.text for item in items} == {text for _, text in [*repeated, *once]}
    assert {text for _, text in once} < {item.text for item in items[:4]}
    assert len(lost(items)) == len(repeated) - 1


def test_scores_descend_and_signals_add_up_with_what_is_lost(embedder: Embedder) -> None:
    items = recall(
        embedder, [("Ann", f"I watered the tomatoes in the garden{end}") for end in ENDS], "tomatoes, garden"
    )
    assert lost(items)
    assert all(value < 0 for value in lost(items).values())
    assert [item.score for item in items] == sorted((item.score for item in items), reverse=True)
    for item in items:
        assert sum(signal.contribution for signal in item.signals) == pytest.approx(item.score, abs=1e-4)


@pytest.mark.parametrize(
    "pair",
    [
        ("I take 20 mg of it daily", "I take 40 mg of it daily"),
        ("I take twenty drops of it daily", "I take forty drops of it daily"),
        ("I am allergic to nuts", "I am not allergic to nuts"),
        ("I can eat nuts", "I can't eat nuts"),
        (
            "Anna lives by the lake with a big old dog and a boat",
            "Emma lives by the lake with a big old dog and a boat",
        ),
        ("I moved to the house in Lisbon", "I moved to the house in Porto"),
        ("We meet on the 5th of May", "We meet on the 6th of May"),
    ],
)
def test_numbers_names_and_negations_keep_both_where_they_are(embedder: Embedder, pair: tuple[str, str]) -> None:
    one, other = embedder.encode(pair)
    assert one @ other > ALIKE
    said = [*(("Ann", text) for text in pair), ("Ann", "It rained all day and I stayed in the house")]
    items = recall(embedder, said, pair[0])
    assert {item.text for item in items[:2]} == set(pair)
    assert lost(items) == {}


def test_two_who_say_nearly_the_same_are_two(embedder: Embedder) -> None:
    said = [("Ann", "I watered the tomatoes in the garden"), ("Bo", "I watered the tomatoes in the garden again")]
    assert lost(recall(embedder, said, "tomatoes in the garden")) == {}


def test_without_vectors_nothing_is_near(embedder: Embedder) -> None:
    said = [("Ann", f"I watered the tomatoes in the garden{end}") for end in ENDS]
    assert lost(recall(None, said, "tomatoes in the garden")) == {}
    assert lost(recall(embedder, said[:1], "tomatoes in the garden")) == {}


def test_a_session_that_had_its_say_leaves_room(embedder: Embedder) -> None:
    with Memory("memory:", embedder=embedder) as memory:
        for session, birds in (("a", ("heron", "egret", "stork", "crane")), ("b", ("gull",))):
            for bird in birds:
                memory.observe("user", f"A {bird} nested by the mill", namespace=NS, session=session)
        memory.flush()
        items = memory.recall("What nested by the mill?", namespace=NS).items
        alone = memory.recall("What nested by the mill?", namespace=NS, session="a").items
    crowds = {item.text: -s.value for item in items for s in item.signals if s.name == CROWD}
    assert sorted(crowds.values()) == [1, 2, 3]
    assert [item.score for item in items] == sorted((item.score for item in items), reverse=True)
    assert all(signal.name != CROWD for item in alone for signal in item.signals)
