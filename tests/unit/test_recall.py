from __future__ import annotations

import random
import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from agentmem.backends.memory import MemoryBackend
from agentmem.diversity import LOSSES
from agentmem.errors import EmbedderMismatchError
from agentmem.explain import MEASURES
from agentmem.filters import Conditions
from agentmem.ids import new_id
from agentmem.recall import RecallEngine
from agentmem.text import stems
from agentmem.types import Chunk, Edge, Kind, RecallItem, Thought, Turn

NS = ("tests", "recall")
START = datetime(2024, 3, 1, tzinfo=UTC)
NOW = START + timedelta(days=365)
_HOW = ("namespace", "k", "budget")


def _turn(text: str, seq: int = 0, **fields: Any) -> Turn:
    at = START + timedelta(minutes=seq)
    known: dict[str, Any] = {
        "id": new_id(),
        "namespace": NS,
        "role": "user",
        "parts": ({"type": "text", "text": text},),
        "seq": seq,
        "occurred_at": at,
        "recorded_at": at,
    }
    return Turn(**(known | fields))


def _thought(text: str, **fields: Any) -> Thought:
    known: dict[str, Any] = {"id": new_id(), "namespace": NS, "text": text, "recorded_at": START, "valid_from": START}
    return Thought(**(known | fields))


def _vector(text: str) -> NDArray[np.float32]:
    """A stand-in for an embedding: texts with the same stems are near. Only arithmetic is looked at here."""
    vector = np.full(32, 0.01, np.float32)
    for stem in stems(text):
        vector[sum(map(ord, stem)) % 32] += 1
    return vector / np.float32(np.linalg.norm(vector))


class Bench:
    """An engine on a backend in RAM."""

    def __init__(self, **how: Any) -> None:
        self.backend = MemoryBackend()
        self.engine = RecallEngine(self.backend, clock=lambda: NOW, **how)

    def add(self, *records: Any, embed: bool = False) -> Any:
        with self.backend.write() as writer:
            writer.add(records)
        if embed:
            self.embed(*records)
        return records[0] if len(records) == 1 else records

    def embed(self, *records: Turn | Thought) -> None:
        with self.backend.write() as writer:
            for record in records:
                kind: Kind = "turn" if isinstance(record, Turn) else "thought"
                writer.set_vectors(kind, [record.id], _vector(record.text)[None], namespace=NS)

    def replace(self, record: Any, **fields: Any) -> None:
        with self.backend.write() as writer:
            writer.replace([replace(record, **fields)])

    def remove(self, kind: Any, *ids: str) -> None:
        with self.backend.write() as writer:
            writer.remove(kind, ids, namespace=NS)

    def ask(self, query: str, *, dense: bool = False, **conditions: Any) -> list[RecallItem]:
        vector = _vector(query) if dense else None
        how = {"namespace": NS} | {name: conditions.pop(name) for name in _HOW if name in conditions}
        return self.engine.recall(query, vector, **how, conditions=Conditions(**conditions))

    def texts(self, query: str, **conditions: Any) -> list[str]:
        return [item.text for item in self.ask(query, **conditions)]


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_words_find_in_any_inflection(bench: Bench) -> None:
    bench.add(_turn("I was painting a sunrise"), _turn("We had pasta", 1))
    assert bench.texts("Who painted sunrises?")[0] == "I was painting a sunrise"
    assert bench.texts("zebra") == []
    assert bench.texts("what is it?") == []


def test_nothing_is_found_in_nothing_or_next_door(bench: Bench) -> None:
    assert bench.texts("tea") == []
    bench.add(_turn("tea"), _thought("likes tea"))
    assert bench.texts("tea", namespace=("tests",)) == []
    assert bench.texts("tea", namespace=("tests", "recall", "deeper")) == []


def test_signals_add_up_to_the_score_and_why_names_them(bench: Bench) -> None:
    bench.add(_turn("Where did you paint?", 0, speaker="Bo"), _turn("At the lake", 1, speaker="Ann"), embed=True)
    bench.add(_thought("Ann paints at the lake"), embed=True)
    items = bench.ask("Where did you paint, Ann?", dense=True)
    assert len(items) == 3
    for item in items:
        assert sum(signal.contribution for signal in item.signals) == pytest.approx(item.score, abs=1e-4)
        assert all(signal.contribution == signal.value * signal.weight != 0 for signal in item.signals)
        assert set(item.measures) == set(MEASURES)
    reply = next(item for item in items if item.text == "At the lake")
    assert "named speaker" in reply.why
    assert "neighbours" in reply.why
    assert reply.measures["context"] > reply.measures["coverage"]
    assert items[0].why.startswith("words paint, ann · meaning 0.")


def test_a_query_is_read_as_stems_and_speakers(bench: Bench) -> None:
    bench.add(_turn("tea at the lake", speaker="Ann Lee"), _turn("painting it", 1, speaker="Bo"))
    read = bench.engine.reading("Did Ann and I paint zebras on 3 May 2024?", namespace=NS)
    assert read == {
        "stems": ("ann", "paint", "zebra", "3", "may", "2024"),
        "unheard": ("zebra", "3", "may", "2024"),
        "speakers": ("Ann Lee",),
        "times": ("2024-05-03",),
    }


def test_items_say_where_they_come_from(bench: Bench) -> None:
    turn = _turn(
        "Tea at four", 3, session="s", speaker="Ann", source="f.json", external_id="7", metadata={"dia_id": "D1:4"}
    )
    bench.add(turn)
    thought = bench.add(_thought("Ann has tea at four", origin="agent", valid_from=START + timedelta(days=1)))
    with bench.backend.write() as writer:
        writer.link([Edge("thought", thought.id, "turn", turn.id, "source")], namespace=NS)
    found = {item.kind: item for item in bench.ask("tea at four")}
    place = {"session": "s", "seq": 3, "role": "user", "speaker": "Ann"}
    origin = {"source": "f.json", "external_id": "7", "dia_id": "D1:4"}
    assert found["turn"].source == place | origin
    assert found["turn"].time == turn.occurred_at
    assert found["thought"].source == {"origin": "agent", "trusted": True, "turns": [turn.id]}
    assert found["thought"].time == thought.valid_from


def test_a_turn_is_lifted_by_its_neighbours_also_when_they_arrive_late(bench: Bench) -> None:
    bench.add(_turn("An Alsatian surely", 1, session="a"), _turn("An Alsatian indeed", 1, session="b"))
    assert bench.texts("dog breed Alsatian")[0] == "An Alsatian surely"
    bench.add(_turn("Which dog breed do you keep?", 0, session="b"))
    found = bench.texts("dog breed Alsatian")
    assert found.index("An Alsatian indeed") < found.index("An Alsatian surely")


def test_asking_does_not_lift_what_stands_around_the_question(bench: Bench) -> None:
    bench.add(_turn("The heron nested by the mill", 0, session="a"), _turn("Good weather today", 0, session="b"))
    bench.add(*(_turn(f"talk of matter {n}", 0, session=f"other {n}") for n in range(20)))
    query = "Where did the heron nest?"
    before = {item.text: item.score for item in bench.ask(query, kinds=("turn",))}
    bench.add(_turn(query, 1, session="b"), _turn("where did the heron nest", 2, session="b", speaker="Ann"))
    after = {item.text: item.score for item in bench.ask(query)}
    assert "Good weather today" not in after
    assert after[query] > 0
    assert after["The heron nested by the mill"] == pytest.approx(before["The heron nested by the mill"], rel=0.3)


def test_first_person_questions_prefer_what_the_user_said(bench: Bench) -> None:
    bench.add(
        _turn("deadline plan: the deadline", role="assistant", session="a"), _turn("deadline is in June", session="b")
    )
    assert bench.texts("When is my deadline?")[0] == "deadline is in June"


def test_a_question_of_what_the_assistant_said_prefers_no_user(bench: Bench) -> None:
    bench.add(_turn("Rest your knee, I recommend rest", role="assistant", session="a"), _turn("My knee", session="b"))
    assert bench.texts("What did you recommend for my knee?")[0] == "Rest your knee, I recommend rest"
    of_me, of_you = (
        {signal.name for item in bench.ask(question) for signal in item.signals}
        for question in ("What is wrong with my knee?", "What did you recommend for my knee?")
    )
    assert "asker" in of_me
    assert "asker" not in of_you


def test_small_words_and_asking_tell_texts_apart(bench: Bench) -> None:
    said = ("I had tea", "I like tea", "Do I like tea?", "Do I like tea", "tea")
    bench.add(*(_turn(text, n) for n, text in enumerate(said)))
    assert sorted(bench.texts("tea")) == sorted(said)


def test_equal_texts_are_taken_once_and_contradictions_never(bench: Bench) -> None:
    bench.add(
        *(
            _turn(text, seq)
            for seq, text in enumerate(["Takes 20 mg daily", "takes 20 mg, daily!", "Takes 40 mg daily"])
        )
    )
    bench.add(
        _thought("Rex bit Tom"), _thought("Tom bit Rex"), _thought("Rex is allergic"), _thought("Rex is not allergic")
    )
    doses = bench.ask("mg daily")
    assert sorted(item.text for item in doses) == ["Takes 20 mg daily", "Takes 40 mg daily"]
    assert sorted("said 2 times" in item.why for item in doses) == [False, True]
    assert set(bench.texts("bit")) == {"Rex bit Tom", "Tom bit Rex"}
    assert set(bench.texts("allergic")) == {"Rex is allergic", "Rex is not allergic"}


def test_many_repeats_leave_room_for_the_rest(bench: Bench) -> None:
    bench.add(
        *(_turn("tea please", seq, session=f"s{seq}") for seq in range(60)),
        _turn("tea was cold in the end", session="x"),
    )
    assert bench.texts("tea please", k=2) == ["tea please", "tea was cold in the end"]


def test_two_who_say_the_same_are_two(bench: Bench) -> None:
    bench.add(_turn("I have a dog", speaker="Ann"), _turn("I have a dog", 1, speaker="Bo"))
    assert len(bench.ask("dog")) == 2


def test_scores_of_two_namespaces_can_be_ranked_together(bench: Bench) -> None:
    other = ("tests", "other")
    bench.add(
        *(_turn(text, n) for n, text in enumerate(["The heron nested by the mill", "Pasta tonight", "A new bike"]))
    )
    bench.add(_turn("The mill is closed", namespace=other), _turn("The mill burnt down", 1, namespace=other))
    query = "Where did the heron nest?"
    assert bench.ask(query)[0].score > 1.5 * max([i.score for i in bench.ask(query + " mill", namespace=other)])


def test_the_budget_is_kept_and_filled_with_what_fits(bench: Bench) -> None:
    bench.add(_turn("tea " * 400, 0), _turn("tea at four", 1), _turn("more tea at five", 2))
    assert len(bench.ask("tea")) == 3
    assert bench.texts("tea at four", budget=4) == ["tea at four"]
    assert all(len(text) < 40 for text in bench.texts("tea", budget=20))
    assert len(bench.texts("tea", budget=20)) == 2
    assert bench.texts("tea", budget=0) == []


def test_filters(bench: Bench) -> None:
    bench.add(_turn("tea one", session="a"), _turn("tea two", session="b"), _thought("tea three"))
    assert bench.texts("tea", session="a") == ["tea one"]
    assert bench.texts("tea", session="none") == []
    assert bench.texts("tea", kinds=("thought",)) == ["tea three"]
    assert set(bench.texts("tea", kinds=("turn",))) == {"tea one", "tea two"}
    assert len(bench.texts("tea", k=2)) == 2


def test_superseded_turns_stay_away_and_cancelled_ones_come(bench: Bench) -> None:
    first = bench.add(_turn("tea first draft"))
    bench.add(_turn("tea half an answ", 1, status="cancelled"))
    assert len(bench.ask("tea")) == 2
    bench.replace(first, status="superseded")
    assert bench.texts("tea") == ["tea half an answ"]


def test_thoughts_are_those_that_hold_at_the_time_asked_for(bench: Bench) -> None:
    day = [START + timedelta(days=n) for n in range(100)]
    old = bench.add(_thought("lives in Rome", recorded_at=day[1], valid_from=day[1]))
    bench.replace(old, state="retracted", valid_to=day[10], retracted_at=day[12])
    bench.add(_thought("lives in Oslo", recorded_at=day[12], valid_from=day[10]))
    bench.add(_thought("lives in Mars", recorded_at=day[2], state="merged", retracted_at=day[20]))
    bench.add(_thought("lives in space", recorded_at=day[2], valid_from=NOW + timedelta(days=1)))
    assert bench.texts("lives") == ["lives in Oslo"]
    assert bench.texts("lives", as_of=day[9]) == ["lives in Rome"]
    assert bench.texts("lives", as_of=day[10]) == ["lives in Oslo"]
    assert set(bench.texts("lives", known_at=day[11])) == {"lives in Rome", "lives in Mars"}
    assert bench.texts("lives", known_at=START) == []


def test_turns_said_or_recorded_later_are_left_out_of_a_look_back(bench: Bench) -> None:
    bench.add(_turn("tea", 0), _turn("tea late", 9, recorded_at=NOW))
    assert bench.texts("tea", as_of=START) == ["tea"]
    assert bench.texts("tea", known_at=START + timedelta(days=9)) == ["tea"]


def test_what_is_not_embedded_yet_is_found_among_what_is(bench: Bench) -> None:
    bench.add(_turn("blue bicycle in the shed", 0), _turn("pasta tonight", 1), embed=True)
    bench.add(_turn("the red bicycle was stolen", 0, session="b"))
    items = bench.ask("red bicycle stolen", dense=True)
    assert items[0].text == "the red bicycle was stolen"
    assert "cosine" not in items[0].measures
    assert "cosine" in items[1].measures


@pytest.mark.parametrize("whole", [0, 100])
def test_who_has_nothing_in_common_is_not_taken_for_one_not_embedded_yet(whole: int) -> None:
    bench = Bench(whole=whole)
    turns = [_turn(f"number {n}", 0, session=f"s{n}") for n in range(3)]
    bench.add(*turns)
    with bench.backend.write() as writer:
        vectors = np.array([[1, 0], [0, 1]], np.float32)
        writer.set_vectors("turn", [turn.id for turn in turns[:2]], vectors, namespace=NS)
    found = bench.engine.recall("number", np.array([1, 0], np.float32), namespace=NS)
    meaning = {i.text: next((s.value for s in i.signals if s.name == "meaning"), 0) for i in found}
    assert meaning == pytest.approx({"number 0": 1, "number 1": 0, "number 2": 0.5})


def test_vectors_set_later_are_seen(bench: Bench) -> None:
    turn = bench.add(_turn("blue bicycle"))
    assert "cosine" not in bench.ask("bicycle", dense=True)[0].measures
    bench.embed(turn)
    assert bench.ask("bicycle", dense=True)[0].measures["cosine"] > 0.5


def test_a_vector_of_another_embedder_is_an_error_that_names_the_way_out(bench: Bench) -> None:
    bench.add(_turn("tea"), embed=True)
    with pytest.raises(EmbedderMismatchError, match="reindex"):
        bench.engine.recall("tea", np.ones(7, np.float32), namespace=NS)


def test_turns_with_all_terms(bench: Bench) -> None:
    a, b = bench.add(_turn("The cats are sleeping on Anna's bed"), _turn("cats on a bed", 1))
    bench.add(_thought("cats sleep on the bed"))
    assert bench.engine.turns_with_all_terms("cat, bed!", namespace=NS) == [a.id, b.id]
    assert bench.engine.turns_with_all_terms("the cat slept sleeping bed", namespace=NS) == []
    assert bench.engine.turns_with_all_terms("is it?", namespace=NS) == []


def test_nearest_thoughts_are_live_ones(bench: Bench) -> None:
    near, far, gone = bench.add(_thought("red car"), _thought("green tree"), _thought("red car gone"), embed=True)
    bench.add(_turn("red car"), embed=True)
    bench.add(_thought("red car not embedded"))
    bench.replace(gone, state="merged")
    found = bench.engine.nearest_thoughts(_vector("red car"), namespace=NS)
    assert [id_ for id_, _ in found] == [near.id, far.id]
    assert found[0][1] == pytest.approx(1, abs=1e-4)
    assert len(bench.engine.nearest_thoughts(_vector("red car"), namespace=NS, k=1)) == 1


def test_what_is_removed_leaves_ram_with_its_words(bench: Bench) -> None:
    turn, _ = bench.add(_turn("the zyzzyva password", speaker="Quux"), _turn("tea", 1), embed=True)
    assert bench.texts("zyzzyva")
    bench.remove("turn", turn.id)
    assert bench.texts("zyzzyva", dense=True)[:1] != ["the zyzzyva password"]
    cache = bench.engine._cache(NS)
    held = repr([vars(cache.postings), vars(cache.sessions), vars(cache.speakers), vars(cache.ids)])
    assert "zyzzyva" not in held
    assert "Quux" not in held
    assert turn.id not in held
    assert len(cache.vectors) == 1


def test_a_dropped_or_erased_namespace_starts_anew(bench: Bench) -> None:
    bench.add(_turn("tea"))
    assert bench.texts("tea")
    with bench.backend.write() as writer:
        writer.remove_namespace(namespace=NS)
    assert bench.texts("tea") == []
    bench.engine.drop(NS)
    bench.add(_turn("tea again"))
    assert bench.texts("tea") == ["tea again"]


def test_recalls_in_threads_while_turns_arrive(bench: Bench) -> None:
    bench.add(_turn("tea number 0"))
    failures: list[BaseException] = []

    def ask() -> None:
        try:
            for _ in range(30):
                assert bench.ask("tea")
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for seq in range(1, 60):
        bench.add(_turn(f"tea number {seq}", seq))
    for thread in threads:
        thread.join()
    assert not failures
    assert len(bench.ask("tea", k=100)) == 60


@pytest.mark.parametrize("seed", range(6))
def test_catching_up_gives_what_building_anew_gives(bench: Bench, seed: int) -> None:
    chance = random.Random(seed)
    for step in range(60):
        _change(bench, chance, step)
        if chance.random() < 0.5:
            query = " ".join(chance.choices(["tea", "milk", "cake", "rain", "Ann"], k=3))
            fresh = RecallEngine(bench.backend, clock=lambda: NOW)
            expected = fresh.recall(query, _vector(query), namespace=NS, k=30)
            found = bench.ask(query, dense=True, k=30)
            assert _unspread(found) == _unspread(expected)
            assert [round(i.score, 3) for i in found] == [round(i.score, 3) for i in expected]


def _unspread(items: Sequence[RecallItem]) -> dict[str, float]:
    """Scores without what an item loses by those before it: of equals either may come first."""
    return {i.id: round(sum(s.contribution for s in i.signals if s.name not in LOSSES), 3) for i in items}


def _change(bench: Bench, chance: random.Random, step: int) -> None:
    text = f"{step} " + " ".join(chance.choices(["tea", "milk", "cake", "rain", "sun"], k=4))
    with bench.backend.read() as reader:
        turns, thoughts, chunks = (list(reader.select(kind, namespace=NS)) for kind in ("turn", "thought", "chunk"))
    what = chance.randrange(9)
    session = chance.choice("ab")
    if what < 3:
        bench.add(
            _turn(text, 1000 - step, session=session, speaker=chance.choice(["Ann", None])), embed=chance.random() < 0.6
        )
    elif what == 3:
        bench.add(_thought(text), embed=chance.random() < 0.6)
    elif what == 4 and turns:
        bench.remove("turn", *(turn.id for turn in chance.sample(turns, min(2, len(turns)))))
    elif what == 5 and thoughts:
        bench.replace(chance.choice(thoughts), state="retracted", valid_to=START, retracted_at=START)
    elif what == 6:
        last = chance.choice([None, 1000 - step + 5])
        bench.add(
            Chunk(id=new_id(), namespace=NS, session=session, first_seq=1000 - step, last_seq=last, recorded_at=START)
        )
    elif what == 7 and chunks:
        bench.remove("chunk", chance.choice(chunks).id)
    elif what == 8 and chance.random() < 0.3:
        with bench.backend.write() as writer:
            writer.compact_changes(keep=1)


def test_a_time_that_the_question_names_lifts_what_was_said_then(bench: Bench) -> None:
    said = [
        replace(_turn(f"I saw a heron, number {n}", n), occurred_at=datetime(2024, n, 5, tzinfo=UTC))
        for n in range(1, 9)
    ]
    bench.add(*said)
    found = bench.ask("Which heron did I see in May 2024?")
    assert found[0].text == "I saw a heron, number 5"
    assert "time named" in found[0].why
    assert bench.ask("Which heron did I see on 6 July?")[0].text == "I saw a heron, number 7"
    assert "when" not in {signal.name for item in bench.ask("Which heron did I see?") for signal in item.signals}


def test_of_two_alike_the_one_that_tells_something_comes_first(bench: Bench) -> None:
    bench.add(_turn("Did you see the heron?", 0, session="a"), _turn("I did see the heron", 0, session="b"))
    assert bench.texts("heron")[0] == "I did see the heron"
    assert bench.texts("zebra") == []
