"""Which thoughts are learned, and the reasons for leaving out the others."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from agentmem.clock import utc_now
from agentmem.consolidation.selection import Rules, Selection, select
from agentmem.consolidation.writing import Templates
from agentmem.memory import Memory
from agentmem.types import Thought

NS = ("ada",)
LATER = timedelta(days=3)


def tell(memory: Memory, text: str, head: str | None = "Ada", tail: str | None = None, **given: Any) -> Thought:
    relation = given.pop("relation", "likes")
    return memory.insert(text, namespace=NS, head=head, relation=relation, tail=tail or text, **given).thought


def choose(memory: Memory, **rules: Any) -> Selection:
    with memory.backend.read() as reader:
        now = utc_now() + LATER
        return select(reader, namespace=NS, now=now, teachable=Templates().unfit, rules=Rules(**rules))


def reason_for(memory: Memory, thought: Thought, **rules: Any) -> str | None:
    chosen = choose(memory, **rules)
    assert {t.id for t in chosen.chosen} | {t.id for t, _ in chosen.left_out} >= {thought.id}
    return next((reason for t, reason in chosen.left_out if t.id == thought.id), None)


def test_a_plain_thought_is_learned(memory: Memory) -> None:
    assert reason_for(memory, tell(memory, "Ada likes tea.", tail="tea")) is None


@pytest.mark.parametrize(
    ("text", "given", "reason"),
    [
        ("The page says that Ada likes tea.", {"origin": "tool"}, "tool"),
        ("Ada may like tea.", {"trusted": False}, "untrusted"),
        ("Ada's code is in the drawer.", {"metadata": {"secret": True}}, "secret"),
        ("Ada is on a train.", {"metadata": {"volatile": True}}, "volatile"),
        ("Ada is tired today.", {}, "passing"),
        ("Ada likes tea. " * 100, {}, "longer than"),
        ("Ada will move.", {"valid_from": utc_now() + timedelta(days=30)}, "not true yet"),
        ("Tea is good.", {"head": None}, "no head"),
    ],
)
def test_what_is_not_settled_or_not_trusted_is_left_out(
    memory: Memory, text: str, given: dict[str, Any], reason: str
) -> None:
    found = reason_for(memory, tell(memory, text, **given))
    assert found is not None
    assert reason in found


def test_what_was_superseded_retracted_or_merged_is_left_out(memory: Memory) -> None:
    old = tell(memory, "Ada lives in Oslo.", relation="lives in", tail="Oslo")
    new = tell(memory, "Ada lives in Bern.", relation="lives in", tail="Bern", supersedes=old.id)
    gone = tell(memory, "Ada likes rain.", tail="rain")
    memory.retract(gone.id, namespace=NS)
    parents = [tell(memory, f"Ada likes {what}.", tail=what) for what in ("mint", "thyme")]
    memory.merge([p.id for p in parents], "Ada likes herbs.", namespace=NS)
    assert reason_for(memory, old) == "superseded"
    assert reason_for(memory, gone) == "no longer true"
    assert [reason_for(memory, p) for p in parents] == ["merged into another thought"] * 2
    assert reason_for(memory, new) is None


def test_what_changes_often_is_left_out(memory: Memory) -> None:
    thought = tell(memory, "Ada is in room 0.", relation="is in", tail="room 0")
    for number in range(1, 4):
        where = f"room {number}"
        thought = tell(memory, f"Ada is in {where}.", relation="is in", tail=where, supersedes=thought.id)
    assert reason_for(memory, thought) == "changes too often"
    assert reason_for(memory, thought, changes=3) is None


def test_of_what_says_the_same_the_strongest_is_learned(memory: Memory) -> None:
    weak = tell(memory, "Tea is what Ada likes.", tail="tea")
    strong = tell(memory, "Ada likes tea.", tail="Tea")
    tell(memory, "Ada likes tea.", tail="tea")
    assert reason_for(memory, weak) == "says the same as another"
    assert reason_for(memory, strong) is None


def test_a_question_with_several_answers_is_not_asked(memory: Memory) -> None:
    both = [tell(memory, f"Ada likes {what}.", tail=what) for what in ("tea", "milk")]
    assert {reason_for(memory, one) for one in both} == {"one of several answers to the same question"}


def test_one_answer_does_not_occur_too_often(memory: Memory) -> None:
    told = [tell(memory, f"Friend {n} likes tea.", head=f"Friend {n}", tail="tea") for n in range(6)]
    reasons = [reason_for(memory, one, same_answer=4) for one in told]
    assert reasons == [None] * 4 + ["4 others have the same answer"] * 2


def test_strength_age_and_number_are_limits(memory: Memory) -> None:
    once, twice = (tell(memory, f"Ada likes {x}.", relation=f"likes {x}", tail=x) for x in ("tea", "rain"))
    tell(memory, "Ada likes rain.", relation="likes rain", tail="rain")
    assert reason_for(memory, once, strength=2) == "stated fewer than 2 times"
    assert reason_for(memory, twice, strength=2) is None
    assert reason_for(memory, once, settled=timedelta(days=7)) == "younger than 7 days"
    assert reason_for(memory, once, most=1) == "beyond the 1 strongest"
    assert [t.id for t in choose(memory).chosen] == [twice.id, once.id]


def test_another_namespace_is_not_looked_into(memory: Memory) -> None:
    memory.insert("Bo likes tea.", namespace=("ada", "b"), head="Bo", relation="likes", tail="tea")
    assert choose(memory) == Selection((), ())
