"""Conformance: records go in and come out as they were, are found by conditions, and keep to their namespace."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from agentmem.errors import ConflictError, InputError, NamespaceError, NotFoundError
from agentmem.interfaces import Backend
from agentmem.testing.conformance_base import ALL_KINDS, Conformance, add, ids, select, snapshot
from agentmem.testing.samples import (
    NS,
    ODD_TEXTS,
    START,
    new_adapter,
    new_chunk,
    new_job,
    new_operation,
    new_suppression,
    new_thought,
    new_turn,
)
from agentmem.types import Kind, Record

LATER = START + timedelta(days=400, microseconds=1)
FULL: dict[Kind, Record] = {
    "turn": new_turn(
        parts=({"type": "text", "text": "Hé"}, {"type": "image", "caption": "a cat", "size": [3, 4]}),
        role="tool",
        speaker="Ada",
        zone="Europe/Lisbon",
        precision="minute",
        source="chat.json",
        external_id="D1:3",
        parent_id="turn-parent",
        status="superseded",
        metadata={"dia_id": "D1:3", "nested": {"list": [1, 2.5, None, True]}},
    ),
    "chunk": new_chunk(last_seq=9, summary="They talked about Lisbon."),
    "thought": new_thought(
        valid_to=LATER,
        head="Ada",
        relation="went to",
        tail="Lisbon",
        origin="tool",
        trusted=False,
        strength=3,
        state="retracted",
        retracted_at=LATER,
        superseded_by="thought-next",
        metadata={"from": "post-thinking"},
    ),
    "job": new_job(state="parked", attempts=4, lease_until=LATER, reason="the model said nothing"),
    "operation": new_operation(before={"thought-1": {"state": "live", "valid_to": None}}, undone_at=LATER),
    "suppression": new_suppression(),
    "adapter": new_adapter(state="serving", served_at=LATER, metadata={"seed": 3, "gates": {"recall": [0.98, 0.95]}}),
}
PLAIN: dict[Kind, Record] = {
    "turn": new_turn(),
    "chunk": new_chunk(),
    "thought": new_thought(),
    "job": new_job(),
    "operation": new_operation(),
    "suppression": new_suppression(),
    "adapter": new_adapter(),
}
NAMESPACES = [("a", "bc"), ("ab", "c"), ("a",), ("a", "b", "c"), ("a/bc",), ("A", "BC"), ("é",), ('a","bc',)]


class RecordsConformance(Conformance):
    @pytest.mark.parametrize("kind", ALL_KINDS)
    @pytest.mark.parametrize("records", [FULL, PLAIN], ids=["full", "plain"])
    def test_a_record_comes_back_as_it_was(self, backend: Backend, records: dict[Kind, Record], kind: Kind) -> None:
        add(backend, records[kind])
        assert select(backend, kind) == [records[kind]]

    @pytest.mark.parametrize("text", ODD_TEXTS, ids=range(len(ODD_TEXTS)))
    def test_any_text_comes_back_as_it_was(self, backend: Backend, text: str) -> None:
        fields = {"speaker": text, "source": text, "external_id": text, "metadata": {text: text}}
        turn = new_turn(text, session=f"s{text[:50]}", **fields)
        thought = new_thought(text, head=text, metadata={"said": [text]})
        add(backend, turn, thought)
        assert select(backend, "turn", where={"session": turn.session}) == [turn]
        assert select(backend, "turn", where={"source": text, "external_id": text}) == [turn]
        assert select(backend, "thought") == [thought]

    def test_a_stored_record_shares_nothing_with_the_callers(self, backend: Backend) -> None:
        metadata: dict[str, Any] = {"tags": ["old"]}
        add(backend, new_turn(metadata=metadata))
        metadata["tags"].append("new")
        (turn,) = select(backend, "turn")
        assert turn.metadata == {"tags": ["old"]}

    def test_content_that_is_not_json_is_refused(self, backend: Backend) -> None:
        with pytest.raises(InputError, match="JSON"):
            add(backend, new_turn(metadata={"object": object()}))
        assert ids(backend, "turn") == []

    def test_get_keeps_the_order_asked_for_and_leaves_out_unknown_ids(self, backend: Backend) -> None:
        first, second, third = (new_turn() for _ in range(3))
        add(backend, first, second, third)
        with backend.read() as reader:
            assert reader.get("turn", [third.id, "unknown", "\ud800", first.id], namespace=NS) == [third, first]
            assert reader.get("turn", [], namespace=NS) == []
            assert reader.get("thought", [first.id], namespace=NS) == []

    @pytest.mark.parametrize(
        ("where", "found"),
        [
            ({}, [0, 1, 2, 3]),
            ({"session": "b"}, [2, 3]),
            ({"session": "b", "status": "complete"}, [3]),
            ({"seq": range(1, 3)}, [1, 2]),
            ({"seq": range(5, 5)}, []),
            ({"seq": [3, 0, 77]}, [0, 3]),
            ({"seq": set()}, []),
            ({"speaker": None}, [0]),
            ({"speaker": ("Bo", None)}, [0, 2]),
            ({"parent_id": None}, [0, 1, 2]),
            ({"parent_id": {None, "x"}}, [0, 1, 2, 3]),
            ({"occurred_at": slice(START + timedelta(days=1), START + timedelta(days=3))}, [1, 2]),
            ({"occurred_at": slice(None, START + timedelta(days=1))}, [0]),
            ({"occurred_at": slice(START + timedelta(days=2), None)}, [2, 3]),
            ({"occurred_at": START}, [0]),
            ({"source": "f", "external_id": "1"}, [1]),
            ({"source": "f", "external_id": ["1", "2", "9"]}, [1, 2]),
            ({"source": None, "external_id": "3"}, [3]),
            ({"source": "f", "external_id": None}, []),
            ({"source": "f"}, [0, 1, 2][1:]),
        ],
    )
    def test_select_and_count_meet_every_condition(
        self, backend: Backend, where: dict[str, Any], found: list[int]
    ) -> None:
        turns = [
            new_turn(seq=0, session="a", occurred_at=START),
            new_turn(seq=1, session="a", speaker="Ada", source="f", external_id="1"),
            new_turn(seq=2, session="b", speaker="Bo", source="f", external_id="2", status="cancelled"),
            new_turn(seq=3, session="b", speaker="Cy", external_id="3", parent_id="x"),
        ]
        turns = [replace(turn, occurred_at=START + timedelta(days=turn.seq)) for turn in turns]
        add(backend, *turns)
        assert select(backend, "turn", where=where) == [turns[i] for i in found]
        with backend.read() as reader:
            assert reader.count("turn", namespace=NS, where=where) == len(found)

    def test_one_of_takes_many_values(self, backend: Backend) -> None:
        turns = [new_turn() for _ in range(20)]
        add(backend, *turns)
        wanted = [f"unknown-{n}" for n in range(70_000)] + [turns[3].id, turns[17].id]
        assert ids(backend, "turn", where={"id": wanted}) == [turns[3].id, turns[17].id]
        with backend.read() as reader:
            assert reader.get("turn", wanted, namespace=NS) == [turns[3], turns[17]]

    def test_a_thought_is_found_by_the_digest_of_an_equal_text(self, backend: Backend) -> None:
        same, other = new_thought("Ada  likes\tTEA."), new_thought("Ada likes no tea")
        add(backend, same, other)
        with backend.read() as reader:
            digest = reader.digest("ada likes tea")
            assert digest != reader.digest("ada likes no tea")
            where = {"text_digest": digest, "state": "live"}
            assert list(reader.select("thought", namespace=NS, where=where)) == [same]

    @pytest.mark.parametrize("name", ["colour", "text_digest", "n; DROP TABLE turns"])
    def test_a_field_that_is_not_there_is_refused(self, backend: Backend, name: str) -> None:
        with backend.read() as reader:
            with pytest.raises(InputError, match="field"):
                list(reader.select("turn", namespace=NS, where={name: 1}))
            with pytest.raises(InputError, match="field"):
                list(reader.select("turn", namespace=NS, order=name))

    def test_order_and_limit(self, backend: Backend) -> None:
        a, b, c = new_turn(seq=2, speaker="y"), new_turn(seq=3, speaker=None), new_turn(seq=1, speaker="x")
        add(backend, a, b, c)
        assert ids(backend, "turn") == [a.id, b.id, c.id]
        assert ids(backend, "turn", descending=True) == [c.id, b.id, a.id]
        assert ids(backend, "turn", order="seq") == [c.id, a.id, b.id]
        assert ids(backend, "turn", order="seq", descending=True, limit=2) == [b.id, a.id]
        assert ids(backend, "turn", order="speaker") == [b.id, c.id, a.id]
        assert ids(backend, "turn", order="session", descending=True) == [a.id, b.id, c.id]
        assert ids(backend, "turn", where={"speaker": ["x", "y"]}, limit=1) == [a.id]
        assert ids(backend, "turn", limit=0) == []

    def test_a_selection_may_be_removed_while_it_is_read(self, backend: Backend) -> None:
        add(backend, *(new_turn() for _ in range(50)))
        with backend.write() as writer:
            seen = [writer.remove("turn", [turn.id], namespace=NS) for turn in writer.select("turn", namespace=NS)]
        assert seen == [1] * 50
        assert ids(backend, "turn") == []

    @pytest.mark.parametrize("namespace", NAMESPACES, ids=str)
    def test_a_namespace_sees_only_its_own(self, backend: Backend, namespace: tuple[str, ...]) -> None:
        for other in NAMESPACES:
            if other != namespace:
                turn = new_turn(id="the-same", seq=0, namespace=other, source="f", external_id="1")
                add(backend, turn, new_thought(namespace=other))
        with backend.write() as writer:
            assert list(writer.select("turn", namespace=namespace)) == []
            assert writer.get("turn", ["the-same"], namespace=namespace) == []
            assert writer.count("thought", namespace=namespace) == 0
            assert writer.sessions(namespace=namespace) == []
            assert writer.last_change(namespace=namespace) == 0
            assert writer.changes(namespace=namespace, after=0) == []
            assert writer.remove("turn", ["the-same"], namespace=namespace) == 0
            assert writer.remove_namespace(namespace=namespace) == {}
        turn = new_turn(id="the-same", seq=0, namespace=namespace, source="f", external_id="1")
        add(backend, turn)
        assert select(backend, "turn", namespace=namespace) == [turn]

    @pytest.mark.parametrize("namespace", [(), "abc", None, ("",), ("a", 1)], ids=str)
    def test_a_malformed_namespace_is_refused(self, backend: Backend, namespace: Any) -> None:
        with pytest.raises(NamespaceError):
            ids(backend, "turn", namespace=namespace)
        with pytest.raises(NamespaceError):
            add(backend, new_turn(namespace=namespace))

    @pytest.mark.parametrize(
        "fields",
        [
            {"id": "taken"},
            {"session": "s", "seq": 7},
            {"source": "f", "external_id": "x"},
            {"source": None, "external_id": "y"},
        ],
        ids=["id", "place", "identity", "identity without source"],
    )
    def test_what_is_taken_is_refused_and_nothing_of_the_call_stays(
        self, backend: Backend, fields: dict[str, Any]
    ) -> None:
        taken = new_turn(id="taken", session="s", seq=7, source="f", external_id="x")
        add(backend, taken, new_turn(source=None, external_id="y"))
        before = snapshot(backend)
        with backend.write() as writer:
            with pytest.raises(ConflictError):
                writer.add([new_turn(), new_thought(), new_turn(**fields)])
            writer.set_meta("other", "written after the refusal")
        assert snapshot(backend) == before
        with backend.read() as reader:
            assert reader.meta("other") == "written after the refusal"

    def test_the_same_external_id_from_two_sources_is_two_turns(self, backend: Backend) -> None:
        add(backend, *(new_turn(source=source, external_id="1") for source in ("a", "b", "", None)))
        add(backend, new_turn(source="a", external_id=None), new_turn(source="a", external_id=None))
        assert len(ids(backend, "turn")) == 6

    def test_states_are_replaced_and_the_place_in_order_is_kept(self, backend: Backend) -> None:
        turn, thought = new_turn(source="f", external_id="1"), new_thought("Tea.")
        add(backend, turn, new_turn(), thought, new_thought())
        changed = replace(turn, status="superseded")
        retracted = replace(thought, state="retracted", valid_to=LATER, strength=2)
        with backend.write() as writer:
            writer.replace([changed, retracted])
        assert select(backend, "turn", limit=1) == [changed]
        assert select(backend, "thought", limit=1) == [retracted]
        assert select(backend, "turn", where={"source": "f", "external_id": "1"}) == [changed]

    @pytest.mark.parametrize("summary", [None, "short", "They talked about Porto!!", "a longer one" * 900])
    def test_content_that_may_change_is_replaced(self, backend: Backend, summary: str | None) -> None:
        chunk = new_chunk(summary="They talked about Lisbon.")
        add(backend, chunk, new_chunk())
        for changed in (replace(chunk, last_seq=3, summary=summary), chunk):
            with backend.write() as writer:
                writer.replace([changed])
            assert select(backend, "chunk", limit=1) == [changed]
        assert backend.check() == []

    def test_replace_refuses_what_is_not_there_and_content_that_never_changes(self, backend: Backend) -> None:
        thought, turn = new_thought(), new_turn()
        add(backend, thought, turn, new_turn(session="s", seq=1))
        before = snapshot(backend)
        for record, error in (
            (new_turn(), NotFoundError),
            (replace(thought, text="Ada never went to Lisbon."), ConflictError),
            (replace(turn, metadata={"more": 1}), ConflictError),
            (replace(turn, session="s", seq=1), ConflictError),
        ):
            with backend.write() as writer, pytest.raises(error):
                writer.replace([replace(turn, status="cancelled"), record])
        assert snapshot(backend) == before

    def test_remove_counts_and_sets_free(self, backend: Backend) -> None:
        turn = new_turn(source="f", external_id="1")
        add(backend, turn, new_turn())
        with backend.write() as writer:
            assert writer.remove("turn", [turn.id, "unknown", turn.id], namespace=NS) == 1
            assert writer.remove("turn", [turn.id], namespace=NS) == 0
            writer.add([turn])
        assert ids(backend, "turn")[1] == turn.id

    def test_sessions_latest_first(self, backend: Backend) -> None:
        days = [START + timedelta(days=day) for day in range(4)]
        for session, day in (("old", 1), ("new", 3), ("old", 0), ("new", 2), ("\ud800", 1)):
            add(backend, new_turn(session=session, occurred_at=days[day]))
        with backend.read() as reader:
            found = [(s.namespace, s.session, s.turns, s.first_at, s.last_at) for s in reader.sessions(namespace=NS)]
        assert found[0] == (NS, "new", 2, days[2], days[3])
        assert sorted(found[1:]) == [(NS, "old", 2, days[0], days[1]), (NS, "\ud800", 1, days[1], days[1])]

    def test_titles_of_sessions_keep_to_their_namespace_and_go_for_good(self, backend: Backend) -> None:
        """A rename is an operation whose content is a title: it is found by its name, and gone when it is removed."""
        renames = [
            new_operation(name="rename", before={"session": "s", "title": title}, namespace=namespace)
            for title, namespace in (("First\ud800", NS), ("Theirs", ("other",)), ("Second", NS))
        ]
        add(backend, new_operation(), *renames)
        found = select(backend, "operation", where={"name": "rename"}, order="id")
        assert [op.before for op in found] == [renames[0].before, renames[2].before]
        with backend.write(NS) as writer:
            writer.remove("operation", [renames[0].id, renames[1].id], namespace=NS)
        assert select(backend, "operation", where={"name": ("rename", "retract")}) == [renames[2]]

    def test_namespaces_that_hold_a_record(self, backend: Backend) -> None:
        for namespace in (("b",), ("a", "y"), ("a", "x"), ("ab",), ("gone",)):
            add(backend, new_job(namespace=namespace))
        with backend.write() as writer:
            writer.remove("job", [job.id for job in writer.select("job", namespace=("gone",))], namespace=("gone",))
        with backend.read() as reader:
            assert reader.namespaces() == [("a", "x"), ("a", "y"), ("ab",), ("b",)]
            assert reader.namespaces(root=("a",)) == [("a", "x"), ("a", "y")]
            assert reader.namespaces(root=("a", "x")) == [("a", "x")]
            assert reader.namespaces(root=("c",)) == []

    def test_remove_namespace_takes_everything_of_exactly_that_one(self, backend: Backend) -> None:
        add(backend, new_turn(), new_turn(), new_thought(), new_job(), new_turn(namespace=(*NS, "below")))
        with backend.write() as writer:
            assert writer.remove_namespace(namespace=NS) == {"turn": 2, "thought": 1, "job": 1}
            assert writer.remove_namespace(namespace=NS) == {}
        assert all(ids(backend, kind) == [] for kind in ALL_KINDS)
        assert len(ids(backend, "turn", namespace=(*NS, "below"))) == 1
