"""The cascade of a forget, on both built-in backends; tests/integration looks for the bytes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from agentmem.config import Settings
from agentmem.errors import ConflictError, InputError, NotFoundError
from agentmem.memory import Memory
from agentmem.types import NewTurn

NS = ("ada",)


def say(memory: Memory, text: str, **how: object) -> str:
    return memory.observe("user", text, namespace=NS, **how).id  # type: ignore[arg-type]


def think(memory: Memory, text: str, *sources: str, **how: object) -> str:
    return memory.insert(text, namespace=NS, sources=sources, **how).thought.id  # type: ignore[arg-type]


def turns(memory: Memory) -> list[str]:
    return [t.text for t in memory.turns(namespace=NS)]


def thoughts(memory: Memory) -> list[str]:
    return sorted(t.text for t in memory.thoughts(namespace=NS))


def test_thought_takes_its_source_but_not_its_siblings(memory: Memory) -> None:
    turn = say(memory, "I'm allergic to nuts and I live in Turin.")
    nuts = think(memory, "Ada is allergic to nuts", turn)
    home = think(memory, "Ada lives in Turin", turn)
    receipt = memory.forget([nuts], namespace=NS)
    assert receipt.forgotten["thoughts"] == (nuts,)
    assert receipt.forgotten["turns"] == (turn,)
    assert receipt.erased == "done"
    assert turns(memory) == []
    assert thoughts(memory) == ["Ada lives in Turin"]
    assert memory.history(home, namespace=NS).erased_sources == 1


def test_turn_takes_all_that_was_derived(memory: Memory) -> None:
    turn, other = say(memory, "I'm allergic to nuts and I live in Turin."), say(memory, "Nice weather today, isn't it?")
    think(memory, "Ada is allergic to nuts", turn)
    think(memory, "Ada lives in Turin", turn)
    memory.forget([turn], namespace=NS)
    assert thoughts(memory) == []
    assert [t.id for t in memory.turns(namespace=NS)] == [other]


def test_merge_dissolves_and_other_parents_return(memory: Memory) -> None:
    first, second = say(memory, "Tea every morning"), say(memory, "Tea every evening")
    ids = [think(memory, "Ada drinks tea at dawn", first), think(memory, "Ada drinks tea at dusk", second)]
    merged, _ = memory.merge(ids, "Ada drinks tea twice a day", namespace=NS)
    plan = memory.plan_forget([first], namespace=NS)
    assert set(plan.thoughts) == {ids[0], merged.id}
    assert plan.restored == (ids[1],)
    assert memory.forget(plan, namespace=NS).restored == (ids[1],)
    assert thoughts(memory) == ["Ada drinks tea at dusk"]
    assert turns(memory) == ["Tea every evening"]
    with pytest.raises(NotFoundError, match="nothing to undo"):
        memory.undo(namespace=NS)


def test_forgetting_a_merged_thought_takes_its_parents(memory: Memory) -> None:
    ids = [think(memory, "Ada drinks tea at dawn"), think(memory, "Ada drinks tea at dusk")]
    merged, _ = memory.merge(ids, "Ada drinks tea twice a day", namespace=NS)
    memory.forget([merged.id], namespace=NS)
    assert memory.thoughts(namespace=NS, state=None) == []


def test_repeats_and_echoes_are_listed_and_taken(memory: Memory) -> None:
    turn = say(memory, "My sister Ida lives in Oslo.")
    echo = say(memory, "As I said: my sister Ida lives in Oslo. And it rains.")
    bystander = say(memory, "Oslo is a fine city for a sister like Ida, who lives well.")
    one = think(memory, "Ida lives in Oslo", turn, head="Ida", relation="lives in", tail="Oslo")
    two = think(memory, "Ida has her home in Oslo", head="Ida", relation="home", tail="Oslo")
    plan = memory.plan_forget([one], namespace=NS)
    assert plan.repeats == (two,)
    assert plan.echoes == (echo,)
    assert plan.samples[echo].startswith("As I said")
    memory.forget(plan, namespace=NS)
    assert [t.id for t in memory.turns(namespace=NS)] == [bystander]
    assert thoughts(memory) == []


def test_echoes_and_repeats_stay_when_told_so(memory: Memory) -> None:
    turn = say(memory, "My sister Ida lives in Oslo.")
    echo = say(memory, "As I said: my sister Ida lives in Oslo.")
    thought = think(memory, "Ada's sister lives in Oslo", turn)
    memory.forget([thought], namespace=NS, echoes=False, repeats=False)
    assert [t.id for t in memory.turns(namespace=NS)] == [echo]


def test_answers_given_with_it_are_echoes(memory: Memory) -> None:
    turn = say(memory, "My locker code is hidden under the blue vase")
    answer = memory.observe("assistant", "The code is hidden under your blue vase, you said.", namespace=NS)
    unrelated = memory.observe("assistant", "I wish you a nice day.", namespace=NS)
    for told in (answer, unrelated):
        memory.record_recalled(told.id, [("turn", turn)], namespace=NS)
    assert memory.plan_forget([turn], namespace=NS).echoes == (answer.id,)


def test_short_words_are_no_echo(memory: Memory) -> None:
    turn = say(memory, "Yes.")
    say(memory, "Yes, and it rains.")
    assert memory.plan_forget([turn], namespace=NS).echoes == ()


def test_keep_source_leaves_the_turn_and_suppresses_the_thought(memory: Memory) -> None:
    turn = say(memory, "I'm allergic to nuts.")
    thought = think(memory, "Ada is allergic to nuts", turn)
    memory.forget([thought], namespace=NS, keep_source=True)
    assert turns(memory) == ["I'm allergic to nuts."]
    with pytest.raises(ConflictError, match="forgotten"):
        think(memory, "ada is allergic to nuts.", turn, origin="agent")
    assert think(memory, "Ada is allergic to nuts", turn)
    assert think(memory, "Ada is allergic to nuts", turn, origin="agent")


def test_keep_source_with_a_turn_is_refused(memory: Memory) -> None:
    turn = say(memory, "I'm allergic to nuts.")
    with pytest.raises(InputError, match="name thoughts only"):
        memory.forget([turn], namespace=NS, keep_source=True)


def test_forgotten_turn_is_not_ingested_again(memory: Memory) -> None:
    new = NewTurn(role="user", parts=({"type": "text", "text": "A secret place"},), source="file", external_id="1")
    added = memory.observe_many([new], namespace=NS).added
    assert memory.observe_many([new], namespace=NS).known == 1
    memory.forget([added[0].id], namespace=NS)
    assert memory.observe_many([new], namespace=NS).suppressed == 1
    assert turns(memory) == []


def test_superseded_by_a_forgotten_thought_stays_retracted(memory: Memory) -> None:
    old = think(memory, "Ada lives in Turin")
    new = think(memory, "Ada lives in Lisbon", supersedes=old)
    memory.forget([new], namespace=NS, repeats=False)
    left = memory.get_thought(old, namespace=NS)
    assert (left.state, left.superseded_by) == ("retracted", None)


def test_another_namespace_is_out_of_reach(memory: Memory) -> None:
    turn = say(memory, "I'm allergic to nuts.")
    with pytest.raises(NotFoundError):
        memory.forget([turn], namespace=("eve",))
    plan = memory.plan_forget([turn], namespace=NS)
    with pytest.raises(InputError, match="another namespace"):
        memory.forget(plan, namespace=("eve",))
    assert turns(memory) == ["I'm allergic to nuts."]


def test_session_and_retention(memory: Memory) -> None:
    now = datetime.now(UTC)
    say(memory, "An old story", session="a", occurred_at=now - timedelta(days=40))
    say(memory, "A new story", session="a")
    say(memory, "Another one", session="b")
    receipt = memory.expire(namespace=NS, older_than=timedelta(days=30))
    assert receipt is not None
    assert len(receipt.forgotten["turns"]) == 1
    assert memory.expire(namespace=NS, older_than=timedelta(days=30)) is None
    memory.forget(memory.plan_forget(namespace=NS, session="a"), namespace=NS)
    assert turns(memory) == ["Another one"]


def test_chunks_lose_what_they_lost(memory: Memory) -> None:
    ids = [say(memory, f"turn number {n}", session="s") for n in range(10)]
    memory.forget(ids[:8], namespace=NS)
    assert [t.id for t in memory.open_chunk(ids[9], namespace=NS, around=5)] == ids[8:]
    assert memory.stats(namespace=NS).chunks == 1


def test_erase_takes_one_namespace_whole(memory: Memory) -> None:
    turn = say(memory, "I'm allergic to nuts.")
    think(memory, "Ada is allergic to nuts", turn)
    memory.observe("user", "I stay.", namespace=("ada", "work"))
    receipt = memory.erase(namespace=NS)
    assert receipt.forgotten["turns"] == (turn,)
    assert turns(memory) == []
    assert memory.namespaces() == [("ada", "work")]
    assert memory.recall("stay", namespace=("ada", "work"), wait=0).items


def test_a_paraphrase_repeats_but_another_number_does_not(tmp_path: Path) -> None:
    with Memory(tmp_path / "m.db", settings=Settings()) as memory:
        texts = ("Ida lives in Oslo", "Ida has her home in Oslo", "Ada takes 20 mg daily", "Ada takes 40 mg daily")
        oslo, home, twenty, forty = (think(memory, text) for text in texts)
        memory.flush()
        assert [t.id for t in memory.history(home, namespace=NS).similar] == [oslo]
        assert [t.id for t in memory.history(forty, namespace=NS).similar] == [twenty]
        assert memory.plan_forget([oslo], namespace=NS).repeats == (home,)
        assert memory.plan_forget([twenty], namespace=NS).repeats == ()


def test_what_repeats_a_forgotten_turn_takes_what_was_derived_from_it(memory: Memory) -> None:
    turn, echo = say(memory, "The code is hidden in the vase"), say(memory, "I repeat: the code is hidden in the vase")
    think(memory, "Ada trusts her vase", echo)
    plan = memory.plan_forget([turn], namespace=NS)
    assert (plan.turns, plan.echoes, len(plan.thoughts)) == ((turn,), (echo,), 1)
    memory.forget(plan, namespace=NS)
    assert (turns(memory), thoughts(memory)) == ([], [])


def test_what_an_echo_takes_with_it_has_echoes_too(memory: Memory) -> None:
    turn, echo = say(memory, "The code is hidden in the vase"), say(memory, "I repeat: the code is hidden in the vase")
    think(memory, "Ada trusts her vase", echo)
    second = say(memory, "You told me this: Ada trusts her vase. Nice!")
    plan = memory.plan_forget([turn], namespace=NS)
    assert (plan.turns, set(plan.echoes), len(plan.thoughts)) == ((turn,), {echo, second}, 1)
    memory.forget([turn], namespace=NS)
    assert (turns(memory), thoughts(memory)) == ([], [])


def test_echo_is_found_whatever_folding_does_to_it(memory: Memory) -> None:
    turn, echo = say(memory, "Größe zweiundvierzig ist meine"), say(memory, "Nochmal: GRÖSSE zweiundvierzig ist meine!")
    assert memory.plan_forget([turn], namespace=NS).echoes == (echo,)


def test_what_came_after_the_preview_goes_too(memory: Memory) -> None:
    turn = say(memory, "My locker is number nine")
    other = think(memory, "Ada swims on Mondays")
    late = memory.plan_forget([turn], namespace=NS)
    derived = think(memory, "Ada has locker nine", turn)
    merged, _ = memory.merge([derived, other], "Ada swims on Mondays and has locker nine", namespace=NS)
    receipt = memory.forget(late, namespace=NS)
    assert set(receipt.forgotten["thoughts"]) == {derived, merged.id}
    assert receipt.restored == (other,)
    assert thoughts(memory) == ["Ada swims on Mondays"]
