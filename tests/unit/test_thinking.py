"""Post-thinking as a whole: from what was said to thoughts, through every fault of a model, with nothing lost or
doubled."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from agentmem.agent import Agent
from agentmem.config import Settings
from agentmem.costs import costs
from agentmem.errors import ConflictError, ModelError
from agentmem.memory import Memory
from agentmem.thinking.applying import Applying
from agentmem.thinking.thinker import Thinker
from agentmem.types import NewTurn
from tests.unit.thinking_support import NOON, NS, Clock, Mind

OSLO = "I moved to Oslo yesterday, from Lisbon."
LIVES_IN_OSLO = {"text": "Ann moved to Oslo on 2024-05-05.", "head": "Ann", "relation": "moved to", "tail": "Oslo"}


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture(params=["memory:", "sqlite"])
def memory(request: pytest.FixtureRequest, tmp_path: Path, clock: Clock) -> Iterator[Memory]:
    store = "memory:" if request.param == "memory:" else str(tmp_path / "memory.db")
    with Memory(store, embedder=None, settings=Settings(store=store), clock=clock) as opened:
        yield opened


def say(memory: Memory, text: str, answer: str | None = "Noted.", **how: Any) -> str:
    """An exchange; returns the id of the user's turn."""
    said = memory.observe("user", text, namespace=NS, speaker="Ann", think=True, **how)
    if answer is not None:
        memory.observe("assistant", answer, namespace=NS, parent_id=said.id)
    return said.id


def think(memory: Memory, mind: Mind) -> Thinker:
    thinker = memory.thinker(mind.model())
    thinker.flush()
    return thinker


def texts(memory: Memory, **how: Any) -> list[str]:
    return [thought.text for thought in memory.thoughts(namespace=NS, **how)]


def counted(memory: Memory) -> dict[str, int]:
    with memory.backend.read() as reader:
        return costs(reader)


def jobs(memory: Memory, state: str = "queued") -> list[Any]:
    return memory.backend.jobs(task="think", state=state)


# -- from turns to thoughts -------------------------------------------------------------------------------------


def test_a_thought_names_its_turn_its_time_and_who_said_it(memory: Memory, clock: Clock) -> None:
    turn = say(memory, OSLO)
    clock.pass_(hours=3)
    think(memory, Mind({OSLO: [LIVES_IN_OSLO]}))
    (thought,) = memory.thoughts(namespace=NS)
    assert (thought.text, thought.head, thought.relation, thought.tail) == tuple(LIVES_IN_OSLO.values())
    assert (thought.origin, thought.trusted) == ("user", True)
    assert thought.valid_from == memory.get_turn(turn, namespace=NS).occurred_at
    assert [source.id for source in memory.history(thought.id, namespace=NS).sources] == [turn]
    assert jobs(memory) == []
    assert counted(memory)["exchanges"] == counted(memory)["calls"] == counted(memory)["inserted"] == 1


def test_an_agent_thinks_behind_its_answer(memory: Memory) -> None:
    mind = Mind({OSLO: ["The user moved to Oslo on 2024-05-05."]})
    model = mind.model("Welcome to Oslo!")
    Agent(memory, model, namespace=NS).ask(OSLO)
    memory.thinker(model).flush()  # waits for the worker, which may be at it
    assert texts(memory) == ["The user moved to Oslo on 2024-05-05."]
    assert len(model.requests) == 1


def test_nothing_is_queued_where_nobody_thinks(memory: Memory) -> None:
    model = Mind().model()
    Agent(memory, namespace=NS).ask(OSLO)
    Agent(memory, model, namespace=NS, think=False).ask(OSLO)
    Agent(memory, model, namespace=NS, settings=Settings(think=False)).ask(OSLO)
    Agent(memory, model, namespace=NS, private=True).ask(OSLO)
    assert jobs(memory) == []


def test_what_is_said_again_strengthens(memory: Memory) -> None:
    mind = Mind({OSLO: [LIVES_IN_OSLO]})
    for _ in range(2):
        say(memory, OSLO)
        think(memory, mind)
    (thought,) = memory.thoughts(namespace=NS)
    assert thought.strength == 2
    assert len(memory.history(thought.id, namespace=NS).sources) == 2
    assert [name for name, _ in mind.calls] == ["thoughts", "thoughts"]


def test_a_rewording_strengthens_where_the_model_says_so(memory: Memory) -> None:
    again = "My home is in Oslo now."
    mind = Mind({OSLO: ["Ann moved to Oslo."], again: ["Ann has her home in Oslo."]})
    mind.decides = {"Ann has her home in Oslo.": ("same", ["Ann moved to Oslo."])}
    for text in (OSLO, again):
        say(memory, text)
        think(memory, mind)
    (thought,) = memory.thoughts(namespace=NS)
    assert (thought.text, thought.strength) == ("Ann moved to Oslo.", 2)
    assert len(memory.history(thought.id, namespace=NS).sources) == 2


CITIES = {
    "I live in Lisbon.": [{"text": "Ann lives in Lisbon.", "head": "Ann"}],
    "I moved to Oslo.": [{"text": "Ann moved to Oslo.", "head": "Ann"}],
}
MOVED = {"Ann moved to Oslo.": ("replaces", ["Ann lives in Lisbon."])}


def test_what_is_true_no_more_is_retracted_and_still_true_of_its_time(memory: Memory, clock: Clock) -> None:
    mind = Mind(CITIES, MOVED)
    for text in CITIES:
        say(memory, text)
        think(memory, mind)
        clock.pass_(days=30)
    assert texts(memory) == ["Ann moved to Oslo."]
    assert texts(memory, as_of=NOON + timedelta(days=1)) == ["Ann lives in Lisbon."]
    old = next(t for t in memory.thoughts(namespace=NS, state="retracted"))
    (new,) = memory.thoughts(namespace=NS)
    assert (old.superseded_by, old.valid_to) == (new.id, new.valid_from)


def test_what_was_so_earlier_does_not_undo_what_is_newer(memory: Memory) -> None:
    """An old conversation is thought about after a newer one: the newer one holds."""
    earlier = NOON - timedelta(days=300)
    mind = Mind(CITIES, {"Ann lives in Lisbon.": ("replaces", ["Ann moved to Oslo."])})
    say(memory, "I moved to Oslo.")
    think(memory, mind)
    say(memory, "I live in Lisbon.", occurred_at=earlier)
    think(memory, mind)
    assert texts(memory) == ["Ann moved to Oslo."]
    (old,) = memory.thoughts(namespace=NS, state="retracted")
    assert (old.text, old.valid_from) == ("Ann lives in Lisbon.", earlier)
    assert texts(memory, as_of=earlier + timedelta(days=1)) == ["Ann lives in Lisbon."]


def test_two_that_say_parts_of_one_are_merged(memory: Memory) -> None:
    whole = "Ann has a dog called Rex."
    mind = Mind({"I have a dog.": ["Ann has a dog."], "Rex is my dog.": ["Rex is the dog of Ann."]})
    mind.decides = {"Rex is the dog of Ann.": ("merge", ["Ann has a dog."], whole)}
    for text in mind.draws:
        say(memory, text)
        think(memory, mind)
    (merged,) = memory.thoughts(namespace=NS)
    assert merged.text == whole
    assert len(memory.history(merged.id, namespace=NS).parents) == 2
    memory.undo(namespace=NS)
    assert sorted(texts(memory)) == ["Ann has a dog.", "Rex is the dog of Ann."]


def test_a_new_statement_is_compared_with_earlier_ones_of_the_same_batch(memory: Memory) -> None:
    mind = Mind(CITIES, MOVED)
    for text in CITIES:
        say(memory, text)
    think(memory, mind)
    assert texts(memory) == ["Ann moved to Oslo."]
    assert [name for name, _ in mind.calls] == ["thoughts", "decisions"]


def test_what_was_shown_as_two_and_became_one_is_retracted_once(memory: Memory) -> None:
    mind = Mind(CITIES, MOVED)
    first, second = CITIES
    say(memory, first)
    think(memory, mind)
    say(memory, first)  # strengthens the thought, which is then shown as stored and as new
    say(memory, second)
    decided = {"new": 3, "action": "replaces", "existing": [1, 2], "text": ""}
    both = [
        {"turn": n, "head": "", "relation": "", "tail": "", **CITIES[said][0]} for n, said in ((1, first), (3, second))
    ]
    mind.faults = [json.dumps({"thoughts": both}), json.dumps({"decisions": [decided]})]
    think(memory, mind)
    assert texts(memory) == ["Ann moved to Oslo."]
    assert [t.strength for t in memory.thoughts(namespace=NS, state="retracted")] == [2]


def test_what_cannot_be_stored_is_put_off_and_keeps_nothing_waiting(
    memory: Memory, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_arguments: Any) -> None:
        raise ConflictError(f"{OSLO} is refused")

    say(memory, OSLO)
    with monkeypatch.context() as broken:
        broken.setattr(Applying, "apply", refuse)
        thinker = think(memory, Mind({OSLO: [LIVES_IN_OSLO]}))
        assert [(job.attempts, job.reason) for job in jobs(memory)] == [(1, None)]
        for _ in range(4):
            clock.pass_(hours=1)
            thinker.flush()
    (parked,) = jobs(memory, "parked")
    assert parked.reason == "what was decided could not be stored (ConflictError) in 4 tries"


@pytest.mark.parametrize(
    ("known", "again", "one"),
    [
        ("Ann lives in Turin.", "Ann moved to Turin on 2024-05-05.", True),
        ("Ann has a date on 2024-05-05.", "Ann has a date on 2024-05-06.", False),
        ("Ann takes 20 mg.", "Ann takes 40 mg.", False),
        ("Ann is allergic to nuts.", "Ann is not allergic to nuts.", False),
        ("Ann has a dog called Rex.", "Ann has a dog.", True),
    ],
)
def test_what_is_the_same_loses_no_number_and_no_negation(memory: Memory, known: str, again: str, one: bool) -> None:
    memory.insert(known, namespace=NS, head="Ann")
    said = f"{again.replace('Ann', 'I')} Yesterday."
    mind = Mind({said: [{"text": again, "head": "Ann"}]}, {again: ("same", [known])})
    say(memory, said)
    think(memory, mind)
    assert (len(texts(memory)) == 1) is one


BAD_DECISIONS: list[dict[str, Any]] = [
    {"new": 2, "action": "replaces", "existing": [9], "text": ""},
    {"new": 7, "action": "replaces", "existing": [1], "text": ""},
    {"new": 2, "action": "replaces", "existing": [], "text": ""},
    {"new": 2, "action": "same", "existing": [1], "text": ""},  # Oslo is not Lisbon
    {"new": 2, "action": "merge", "existing": [1], "text": ""},
    {"new": 2, "action": "merge", "existing": [1], "text": "Ann lives in Oslo and Paris, not Lisbon."},
    {"new": 2, "action": "merge", "existing": [1], "text": "Ann moved to Oslo."},
]


@pytest.mark.parametrize("decision", BAD_DECISIONS, ids=str)
def test_a_decision_that_cannot_be_right_is_refused_and_nothing_is_lost(
    memory: Memory, decision: dict[str, Any]
) -> None:
    mind = Mind(CITIES)
    first, second = CITIES
    say(memory, first)
    think(memory, mind)
    say(memory, second)
    mind.faults = [mind.draws_only(second), json.dumps({"decisions": [decision]})]
    think(memory, mind)
    assert texts(memory) == ["Ann lives in Lisbon.", "Ann moved to Oslo."]
    assert counted(memory)["refused"] >= 1


def test_decisions_that_contradict_each_other_are_refused(memory: Memory) -> None:
    mind = Mind(CITIES)
    first, second = CITIES
    say(memory, first)
    think(memory, mind)
    say(memory, second)
    both = [{"new": 2, "action": action, "existing": [1], "text": ""} for action in ("replaces", "new")]
    mind.faults = [mind.draws_only(second), json.dumps({"decisions": both})]
    think(memory, mind)
    assert len(texts(memory)) == 2


def test_another_persons_fact_is_never_replaced(memory: Memory) -> None:
    mind = Mind({"Bob lives in Lisbon.": [{"text": "Bob lives in Lisbon.", "head": "Bob"}], **CITIES})
    mind.decides = {"Ann moved to Oslo.": ("replaces", ["Bob lives in Lisbon."])}
    say(memory, "Bob lives in Lisbon.")
    say(memory, "I moved to Oslo.")
    think(memory, mind)
    assert texts(memory) == ["Bob lives in Lisbon.", "Ann moved to Oslo."]


# -- never lose -------------------------------------------------------------------------------------------------

FAULTS: dict[str, Any] = {
    "cut off": AIMessage('{"thoughts": [{"turn": 1, "te', response_metadata={"finish_reason": "length"}),
    "empty": "",
    "repetitive": '{"thoughts": [' + '{"turn": 1, "text": "Ann", ' * 40,
    "not JSON": '{"thoughts": [{"turn": 1',
    "against the schema": '{"facts": []}',
    "over-long": json.dumps({"thoughts": [{"turn": n, "text": str(n * 7919)} for n in range(3000)]}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_is_tried_again_later_and_loses_nothing(memory: Memory, clock: Clock, name: str) -> None:
    mind = Mind({OSLO: [LIVES_IN_OSLO]}, faults=[FAULTS[name]])
    say(memory, OSLO)
    thinker = think(memory, mind)
    assert (texts(memory), len(jobs(memory)), counted(memory)["faults"]) == ([], 1, 1)
    assert thinker.flush() == 0  # not due yet
    clock.pass_(minutes=1)
    assert thinker.flush() == 1
    assert (texts(memory), jobs(memory)) == ([LIVES_IN_OSLO["text"]], [])


@pytest.mark.parametrize("name", FAULTS)
def test_after_the_last_try_it_is_parked_with_its_reason_and_without_content(
    memory: Memory, clock: Clock, name: str
) -> None:
    mind = Mind({OSLO: [LIVES_IN_OSLO]}, faults=[FAULTS[name]] * 4)
    say(memory, OSLO)
    thinker = think(memory, mind)
    for _ in range(5):
        clock.pass_(hours=1)
        thinker.flush()
    (parked,) = jobs(memory, "parked")
    assert (parked.attempts, parked.reason) == (4, f"the answer to `thoughts` was {name} in 4 tries")
    assert memory.stats(namespace=NS).parked == 1
    thinker.hurry(parked=True)
    thinker.flush()
    assert texts(memory) == [LIVES_IN_OSLO["text"]]


def test_a_fault_of_the_second_call_stores_nothing_by_halves(memory: Memory, clock: Clock) -> None:
    mind = Mind(CITIES, MOVED)
    first, second = CITIES
    say(memory, first)
    think(memory, mind)
    say(memory, second)
    mind.faults = [mind.draws_only(second), "{"]
    thinker = think(memory, mind)
    assert texts(memory) == ["Ann lives in Lisbon."]
    clock.pass_(hours=1)
    thinker.flush()
    assert texts(memory) == ["Ann moved to Oslo."]


def test_a_dead_server_is_waited_for_and_counts_as_no_try(memory: Memory, clock: Clock) -> None:
    mind = Mind({OSLO: [LIVES_IN_OSLO]}, faults=[ConnectionError("nobody is there")] * 9)
    say(memory, OSLO)
    thinker = memory.thinker(mind.model())
    for _ in range(9):
        with pytest.raises(ModelError):
            thinker.flush()
        clock.pass_(hours=1)
    assert [(job.attempts, job.lease_until) for job in jobs(memory)] == [(0, None)]
    thinker.flush()
    assert texts(memory) == [LIVES_IN_OSLO["text"]]


def test_of_a_batch_that_fails_each_is_tried_alone(memory: Memory) -> None:
    said = {f"I have {n} cats.": [f"Ann has {n} cats."] for n in range(2, 6)}
    mind = Mind(said)
    poison = "I have 3 cats."
    mind.faults = [lambda name, text: "{" if poison in text else Mind(said)(name, text)] * 5
    for text in said:
        say(memory, text)
    think(memory, mind)
    assert sorted(texts(memory)) == ["Ann has 2 cats.", "Ann has 4 cats.", "Ann has 5 cats."]
    (job,) = jobs(memory)
    assert memory.get_turn(job.target, namespace=NS).text == poison


def test_what_another_process_claimed_is_left_to_it(memory: Memory, clock: Clock) -> None:
    say(memory, OSLO)
    memory.backend.claim("think", limit=9, lease_seconds=60)
    mind = Mind({OSLO: [LIVES_IN_OSLO]})
    thinker = think(memory, mind)
    assert (mind.calls, len(jobs(memory))) == ([], 1)
    clock.pass_(minutes=2)
    thinker.flush()
    assert texts(memory) == [LIVES_IN_OSLO["text"]]


def test_two_that_think_about_the_same_store_it_once(memory: Memory) -> None:
    """The slower of two processes, whose lease had run out, finds the job gone."""
    say(memory, OSLO)

    def meanwhile(name: str, text: str) -> Any:
        other = Thinker(memory.backend, memory._engine, memory._queue, memory.settings, memory._clock)
        memory._clock.pass_(minutes=10)  # type: ignore[attr-defined]
        other.use(Mind({OSLO: [LIVES_IN_OSLO]}).model())
        other.flush()
        return Mind({OSLO: [LIVES_IN_OSLO]})(name, text)

    think(memory, Mind(faults=[meanwhile]))
    (thought,) = memory.thoughts(namespace=NS)
    assert thought.strength == 1


def test_thinking_that_was_put_off_can_be_hurried(memory: Memory) -> None:
    mind = Mind({OSLO: [LIVES_IN_OSLO]}, faults=["{"])
    say(memory, OSLO)
    unanswered = say(memory, "I have a cat.", None)
    thinker = think(memory, mind)
    thinker.hurry()
    thinker.flush()
    assert texts(memory) == [LIVES_IN_OSLO["text"]]
    assert [job.target for job in jobs(memory)] == [unanswered]  # its answer may be on the way


def test_a_turn_that_nobody_answers_is_thought_about_after_a_while(memory: Memory, clock: Clock) -> None:
    say(memory, OSLO, None)
    mind = Mind({OSLO: [LIVES_IN_OSLO]})
    thinker = think(memory, mind)
    assert texts(memory) == []
    clock.pass_(minutes=6)
    thinker.flush()
    assert texts(memory) == [LIVES_IN_OSLO["text"]]


# -- forgetting -------------------------------------------------------------------------------------------------


def test_an_answer_that_names_no_turn_is_to_the_one_before_it(memory: Memory) -> None:
    mind = Mind({"I live in Oslo.": ["Ada lives in Oslo."], "I keep a cat.": ["Ada keeps a cat."]})
    memory.observe("user", "I live in Oslo.", namespace=NS, speaker="Ada", think=True)
    memory.observe("assistant", "Noted.", namespace=NS)
    said = [("user", "I keep a cat."), ("assistant", "Noted.")]
    turns = [NewTurn(role=role, parts=({"type": "text", "text": text},), speaker="Ada") for role, text in said]  # type: ignore[arg-type]
    memory.observe_many(turns, namespace=NS, think=True)
    assert memory.thinker(mind.model()).flush() == 2
    assert len(memory.thoughts(namespace=NS)) == 2


def test_forgetting_a_turn_removes_its_waiting_thinking_and_its_thoughts(memory: Memory) -> None:
    waiting, done = say(memory, "I have a cat."), say(memory, OSLO)
    memory.forget([waiting], namespace=NS)
    assert [job.target for job in jobs(memory)] == [done]
    think(memory, Mind({OSLO: [LIVES_IN_OSLO]}))
    memory.forget([done], namespace=NS)
    assert memory.thoughts(namespace=NS, state=None) == []


def test_what_is_forgotten_while_the_model_thinks_does_not_come_back(memory: Memory) -> None:
    turn = say(memory, OSLO)
    mind = Mind({OSLO: [LIVES_IN_OSLO]})

    def forget_meanwhile(name: str, text: str) -> Any:
        memory.forget([turn], namespace=NS)
        return mind(name, text)

    think(memory, Mind(faults=[forget_meanwhile]))
    assert memory.thoughts(namespace=NS, state=None) == []
    assert jobs(memory) == []


def test_a_thought_forgotten_while_the_model_compares_lends_nothing_to_a_merge(memory: Memory) -> None:
    whole = "Ann has a dog called Rex."
    mind = Mind({"My dog is called Rex.": ["Ann has Rex, a dog."], "I have a dog.": ["Ann has a dog."]})
    say(memory, "My dog is called Rex.")
    think(memory, mind)
    (known,) = memory.thoughts(namespace=NS)
    mind.decides = {"Ann has a dog.": ("merge", [known.text], whole)}
    say(memory, "I have a dog.")

    def forget_meanwhile(name: str, text: str) -> Any:
        memory.forget([known.id], namespace=NS)
        return mind(name, text)

    mind.faults = [mind.draws_only("I have a dog."), forget_meanwhile]
    think(memory, mind)
    assert texts(memory) == ["Ann has a dog."]


def test_a_suppressed_thought_is_not_drawn_again(memory: Memory) -> None:
    mind = Mind({OSLO: [LIVES_IN_OSLO]})
    say(memory, OSLO)
    think(memory, mind)
    (thought,) = memory.thoughts(namespace=NS)
    memory.forget([thought.id], namespace=NS, keep_source=True)
    say(memory, OSLO)
    think(memory, mind)
    assert memory.thoughts(namespace=NS, state=None) == []
    assert counted(memory)["suppressed"] == 1


def test_a_secret_is_not_made_into_a_thought(memory: Memory) -> None:
    told = "My password is hunter2hunter2, keep it."
    say(memory, told)
    think(memory, Mind({told: ["The password of Ann is hunter2hunter2."]}))
    assert memory.thoughts(namespace=NS, state=None) == []
    assert counted(memory)["secret"] == 1


def test_no_job_holds_what_was_said(tmp_path: Path, clock: Clock) -> None:
    """Parked with its reason, then forgotten: not one byte of the text is left in the store's files."""
    word, store = "zanzibarquux", tmp_path / "memory.db"
    with Memory(store, embedder=None, settings=Settings(), clock=clock) as memory:
        turn = say(memory, f"I like {word}.")
        mind = Mind(faults=[f'{{"thoughts": [{{"text": "{word}"}}]}}'] * 9)
        thinker = think(memory, mind)
        for _ in range(5):
            clock.pass_(hours=1)
            thinker.flush()
        assert len(jobs(memory, "parked")) == 1
        assert word in "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())
        memory.forget([turn], namespace=NS)
        assert jobs(memory, "parked") == []
    assert word not in "".join(path.read_bytes().decode("latin-1") for path in tmp_path.iterdir())


# -- how much it costs ------------------------------------------------------------------------------------------


def test_a_long_queue_takes_few_calls(memory: Memory) -> None:
    said = {f"I have {n} cats.": [f"Ann has {n} cats."] for n in range(2, 202)}
    mind = Mind(said)
    for text in said:
        say(memory, text)
    think(memory, mind)
    assert len(texts(memory)) == 200
    found = counted(memory)
    assert (found["exchanges"], found["calls"]) == (200, len(mind.calls))
    assert sum(name != "summary" for name, _ in mind.calls) <= 2 * 200 / 10


def test_one_exchange_takes_two_calls_at_most(memory: Memory) -> None:
    mind = Mind(CITIES, MOVED)
    for n, text in enumerate(CITIES):
        say(memory, text)
        think(memory, mind)
        assert len(mind.calls) <= 2 * (n + 1)


def test_what_tells_nothing_takes_no_call(memory: Memory) -> None:
    mind = Mind()
    say(memory, "Where is Oslo?", "In Norway.")
    say(memory, "?", "Pardon?")
    think(memory, mind)
    assert (mind.calls, jobs(memory)) == ([], [])


def test_a_prompt_has_no_more_turns_than_the_budget_has_room_for(memory: Memory) -> None:
    mind = Mind()
    for n in range(40):
        say(memory, f"I went to place {n}: " + "it was fine there and we stayed. " * 10)
    say(memory, "I wrote " + "a very long story. " * 2000)
    think(memory, mind)
    assert max(len(text) for _, text in mind.calls) < 4 * 1.2 * memory.settings.prompt_budget_tokens


def test_namespaces_are_thought_about_apart(memory: Memory) -> None:
    mind = Mind({OSLO: [LIVES_IN_OSLO]})
    for name in ("one", "two"):
        said = memory.observe("user", OSLO, namespace=(name,), speaker="Ann", think=True)
        memory.observe("assistant", "Noted.", namespace=(name,), parent_id=said.id)
    think(memory, mind)
    for name in ("one", "two"):
        assert [t.strength for t in memory.thoughts(namespace=(name,))] == [1]
    assert len(mind.calls) == 2


# -- summaries of chunks ----------------------------------------------------------------------------------------


def fill_a_chunk(memory: Memory, word: str = "hike") -> list[str]:
    """Four exchanges, which are a chunk, and one more, which closes it; ids of the users' turns."""
    return [say(memory, f"I went on {word} number {n}.") for n in range(2, 7)]


def test_a_closed_chunk_is_summed_up(memory: Memory) -> None:
    fill_a_chunk(memory)
    mind = Mind()
    think(memory, mind)
    first, second = memory.chunks(namespace=NS)
    assert (first.summary, second.summary) == ("Talk.", None)
    (asked,) = (text for name, text in mind.calls if name == "summary")
    assert [n for n in range(2, 7) if f"number {n}" in asked] == [2, 3, 4, 5]
    assert memory.backend.jobs(task="summarize") == []
    assert counted(memory)["summaries"] == 1


def test_forgetting_a_turn_has_the_summary_made_anew_without_it(memory: Memory) -> None:
    turns = fill_a_chunk(memory)
    think(memory, Mind())
    memory.forget([turns[0]], namespace=NS)
    assert memory.chunks(namespace=NS)[0].summary is None
    mind = Mind()
    think(memory, mind)
    assert memory.chunks(namespace=NS)[0].summary == "Talk."
    assert not any("number 2" in text for _, text in mind.calls)


def test_a_summary_with_a_name_of_its_own_is_refused(memory: Memory) -> None:
    fill_a_chunk(memory)
    mind = Mind(summary="Ann went on a hike with Mallory.")
    think(memory, mind)
    assert memory.chunks(namespace=NS)[0].summary is None
    assert memory.backend.jobs(task="summarize") == []
    assert counted(memory)["refused"] == 1


def test_a_turn_forgotten_while_the_model_sums_up_is_in_no_summary(memory: Memory) -> None:
    turns = fill_a_chunk(memory)

    class Forgetting(Mind):
        def __call__(self, name: str, text: str) -> Any:
            if name == "summary" and "number 2" in text:
                memory.forget([turns[0]], namespace=NS)
                return '{"summary": "Ann went on hike number 2."}'
            return super().__call__(name, text)

    think(memory, Forgetting())
    assert memory.chunks(namespace=NS)[0].summary == "Talk."


def test_a_summary_that_fails_is_parked_and_tried_again(memory: Memory, clock: Clock) -> None:
    fill_a_chunk(memory)
    mind = Mind()
    thinker = think(memory, Mind(summary="and on " * 60))
    for _ in range(5):
        clock.pass_(hours=1)
        thinker.flush()
    (parked,) = memory.backend.jobs(task="summarize", state="parked")
    assert parked.reason == "the answer to `summary` was repetitive in 4 tries"
    mind.summary = "Talk of hikes."
    again = memory.thinker(mind.model())
    again.hurry(parked=True)
    again.flush()
    assert memory.chunks(namespace=NS)[0].summary == "Talk of hikes."
