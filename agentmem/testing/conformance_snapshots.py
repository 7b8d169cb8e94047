"""Conformance: columns in bulk, and snapshots, which go with what they were made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentmem.errors import InputError
from agentmem.interfaces import Backend, Basis
from agentmem.testing.conformance_base import ALL_KINDS, Conformance, add, select
from agentmem.testing.conformance_files import bytes_on_disk
from agentmem.testing.conformance_records import FULL, PLAIN
from agentmem.testing.samples import NS, ODD_TEXTS, new_chunk, new_thought, new_turn
from agentmem.types import Chunk, Kind, Namespace, Record, Thought, Turn

OTHER: Namespace = ("test", "other")
CONTENT = {"speaker", "parts", "zone", "source", "external_id", "metadata", "summary", "text", "head", "relation",
           "tail", "reason", "before", "namespace"}  # fmt: skip


def columns(backend: Backend, kind: Kind, names: Sequence[str], **options: Any) -> dict[str, Any]:
    with backend.read() as reader:
        return reader.columns(kind, names, namespace=options.pop("namespace", NS), **options)


def expected(record: Record, name: str) -> Any:
    value = getattr(record, name)
    if isinstance(value, datetime):
        return value.timestamp()
    return -1 if value is None and name == "last_seq" else value


def same(found: Any, wanted: Any) -> bool:
    """Equal, where NaN stands for a time that is unset."""
    return bool(found == wanted or (wanted is None and found != found))


def put(
    backend: Backend,
    data: bytes,
    *records: Record,
    basis: Basis = "text",
    seen: int | None = None,
    namespace: Namespace = NS,
    instead: bool = False,
) -> bool:
    covers: dict[Kind, list[str]] = {"turn": [], "thought": [], "chunk": []}
    kinds: Mapping[type[Any], Kind] = {Turn: "turn", Thought: "thought", Chunk: "chunk"}
    for record in records:
        covers[kinds[type(record)]].append(record.id)
    with backend.write() as writer:
        last = writer.last_change(namespace=namespace) if seen is None else seen
        return writer.put_snapshot(basis, data, covers=covers, seen=last, namespace=namespace, instead=instead)


def held(backend: Backend, basis: Basis = "text", namespace: Namespace = NS) -> list[bytes]:
    with backend.read() as reader:
        return [kept.data for kept in reader.snapshots(basis, namespace=namespace)]


def last_change(backend: Backend) -> int:
    with backend.read() as reader:
        return reader.last_change(namespace=NS)


def set_vectors(backend: Backend, *turns: Turn) -> None:
    with backend.write() as writer:
        vectors = np.ones((len(turns), 4), np.float32)
        writer.set_vectors("turn", [turn.id for turn in turns], vectors, namespace=NS)


def remove(backend: Backend, *turns: Turn) -> None:
    with backend.write() as writer:
        writer.remove("turn", [turn.id for turn in turns], namespace=NS)


class SnapshotsConformance(Conformance):
    @pytest.fixture
    def keeper(self, backend: Backend) -> Backend:
        if not backend.abilities.snapshots:
            pytest.skip(f"{backend.url} does not declare `snapshots`")
        return backend

    @pytest.mark.parametrize("kind", ALL_KINDS)
    def test_columns_hold_what_the_records_do(self, backend: Backend, kind: Kind) -> None:
        names = [f.name for f in fields(FULL[kind]) if f.name not in CONTENT]
        assert all(len(column) == 0 for column in columns(backend, kind, names).values())
        add(backend, FULL[kind], PLAIN[kind])
        found = columns(backend, kind, names)
        assert list(found) == names
        for name in names:
            wanted = [expected(record, name) for record in (FULL[kind], PLAIN[kind])]
            assert all(same(*pair) for pair in zip(list(found[name]), wanted, strict=True)), name

    def test_columns_are_in_order_of_insertion_and_meet_conditions(self, backend: Backend) -> None:
        turns = [new_turn(seq=seq, session=session) for session in "ab" for seq in (3, 1, 2)]
        for turn in turns:
            add(backend, turn, new_turn(namespace=OTHER))
        assert columns(backend, "turn", ["id"])["id"] == [turn.id for turn in turns]
        found = columns(backend, "turn", ["seq", "session"], where={"session": "b", "seq": range(2, 9)})
        assert (found["seq"].tolist(), found["session"]) == ([3, 2], ["b", "b"])
        assert columns(backend, "turn", ["id"], where={"speaker": "nobody"})["id"] == []
        assert columns(backend, "turn", ["id"], namespace=("none",))["id"] == []

    @pytest.mark.parametrize("odd", [*ODD_TEXTS[:-1], "\x1f", "a\x1fb", "=", "\x1e"], ids=repr)
    def test_columns_of_any_text(self, backend: Backend, odd: str) -> None:
        turns = [new_turn(session=odd, parent_id=odd), new_turn(session="s", parent_id=None)]
        add(backend, *turns)
        found = columns(backend, "turn", ["session", "parent_id", "seq", "occurred_at"])
        assert (found["session"], found["parent_id"]) == ([odd, "s"], [odd, None])
        assert found["seq"].tolist() == [turn.seq for turn in turns]
        assert found["occurred_at"].tolist() == [turn.occurred_at.timestamp() for turn in turns]

    @pytest.mark.parametrize("name", ["parts", "speaker", "namespace", "colour", "n; DROP TABLE turns"])
    def test_columns_of_content_are_refused(self, backend: Backend, name: str) -> None:
        with pytest.raises(InputError, match="field"):
            columns(backend, "turn", ["id", name])

    def test_without_the_ability_nothing_is_kept(self, backend: Backend) -> None:
        turn = new_turn()
        add(backend, turn)
        assert put(backend, b"derived", turn) is backend.abilities.snapshots
        assert held(backend) == ([b"derived"] if backend.abilities.snapshots else [])

    def test_snapshots_are_kept_by_namespace_and_basis_in_order(self, keeper: Backend, tmp_path: Path) -> None:
        turns = [new_turn() for _ in range(3)]
        add(keeper, *turns, new_turn(namespace=OTHER))
        large = bytes(range(256)) * 2000
        assert put(keeper, large, turns[0])
        assert put(keeper, b"", turns[1])
        assert put(keeper, b"graph", turns[0], basis="vectors")
        assert put(keeper, b"last\0", turns[2])
        assert held(keeper) == [large, b"", b"last\0"]
        assert held(keeper, "vectors") == [b"graph"]
        assert held(keeper, namespace=OTHER) == held(keeper, namespace=("none",)) == []
        assert keeper.check() == []
        if keeper.abilities.durable:
            keeper.close()
            again = self.make_backend(tmp_path)
            assert held(again) == [large, b"", b"last\0"]
            again.close()

    def test_dropped_ones_go_and_no_others(self, keeper: Backend) -> None:
        turns, elsewhere = [new_turn() for _ in range(3)], new_turn(namespace=OTHER)
        add(keeper, *turns, elsewhere)
        for data, turn in zip((b"one", b"two", b"three"), turns, strict=True):
            assert put(keeper, data, turn)
        put(keeper, b"other", elsewhere, namespace=OTHER)
        with keeper.write() as writer:
            numbers = [kept.number for kept in writer.snapshots("text", namespace=NS)]
            others = [kept.number for kept in writer.snapshots("text", namespace=OTHER)]
            writer.drop_snapshots([numbers[1], *others, 10_000], namespace=NS)
        assert held(keeper) == [b"one", b"three"]
        assert held(keeper, namespace=OTHER) == [b"other"]

    def test_what_covers_a_removed_record_goes_and_nothing_else(self, keeper: Backend) -> None:
        turns, thoughts = [], []
        for _ in range(6):
            turns.append(new_turn())
            thoughts.append(new_thought())
            add(keeper, turns[-1], new_turn(namespace=OTHER), thoughts[-1])
        put(keeper, b"ends", turns[0], turns[5])
        put(keeper, b"middle", turns[2], turns[3])
        put(keeper, b"thoughts", *thoughts)
        put(keeper, b"graph", turns[2], basis="vectors")
        remove(keeper, turns[1], turns[4])
        assert held(keeper) == [b"ends", b"middle", b"thoughts"]
        remove(keeper, turns[2])
        assert held(keeper) == [b"ends", b"thoughts"]
        assert held(keeper, "vectors") == []
        with keeper.write() as writer:
            writer.remove("thought", [thoughts[3].id], namespace=NS)
        assert held(keeper) == [b"ends"]
        assert keeper.check() == []

    def test_a_record_has_one_of_a_basis(self, keeper: Backend) -> None:
        turns = [new_turn() for _ in range(5)]
        add(keeper, *turns)
        assert put(keeper, b"one", turns[1], turns[3])
        assert not put(keeper, b"again", turns[0], turns[1])
        assert not put(keeper, b"again", *turns)
        assert put(keeper, b"between and around", turns[0], turns[2], turns[4])
        assert put(keeper, b"graph", *turns, basis="vectors")
        assert held(keeper) == [b"one", b"between and around"]
        assert put(keeper, b"instead", turns[0], turns[3], instead=True)
        assert held(keeper) == [b"instead"]
        assert held(keeper, "vectors") == [b"graph"]

    def test_states_may_change_under_a_snapshot_and_content_may_not(self, keeper: Backend) -> None:
        turn, chunk, thought = new_turn(), new_chunk(summary="They met."), new_thought()
        add(keeper, turn, chunk, thought)
        put(keeper, b"records", turn, thought)
        put(keeper, b"summary", chunk)
        with keeper.write() as writer:
            writer.replace([replace(turn, status="cancelled"), replace(chunk, last_seq=9)])
            writer.replace([replace(thought, state="retracted")])
        assert held(keeper) == [b"records", b"summary"]
        with keeper.write() as writer:
            writer.replace([replace(chunk, summary=None)])
        assert held(keeper) == [b"records"]

    def test_one_made_from_vectors_goes_with_them(self, keeper: Backend) -> None:
        turns = [new_turn() for _ in range(3)]
        add(keeper, *turns)
        set_vectors(keeper, turns[0], turns[1])
        put(keeper, b"words", *turns)
        for vectors in (turns[:1], turns[1:2]):
            assert put(keeper, vectors[0].id.encode(), *vectors, basis="vectors")
        set_vectors(keeper, turns[1], turns[2])
        assert held(keeper, "vectors") == [turns[0].id.encode()]
        with keeper.write() as writer:
            writer.clear_vectors(namespace=NS)
        assert held(keeper, "vectors") == []
        assert held(keeper) == [b"words"]

    def test_what_changed_since_is_not_kept(self, keeper: Backend) -> None:
        turns = [new_turn() for _ in range(4)]
        add(keeper, *turns)
        seen = last_change(keeper)
        remove(keeper, turns[0])
        add(keeper, turns[0], new_turn())
        set_vectors(keeper, turns[1])
        assert not put(keeper, b"an older text of it", turns[0], turns[2], seen=seen)
        assert not put(keeper, b"an older vector of it", turns[1], turns[2], seen=seen, basis="vectors")
        assert not put(keeper, b"never there", turns[2], new_turn())
        assert not put(keeper, b"of the future", turns[2], seen=last_change(keeper) + 1)
        assert put(keeper, b"words", turns[1], turns[2], seen=seen)
        assert put(keeper, b"graph", turns[2], seen=seen, basis="vectors")
        with keeper.write() as writer:
            writer.compact_changes(keep=0)
        assert not put(keeper, b"nobody can tell", turns[3], seen=seen)
        assert (held(keeper), held(keeper, "vectors")) == ([b"words"], [b"graph"])

    def test_a_removal_that_is_rolled_back_leaves_them(self, keeper: Backend) -> None:
        turn = new_turn()
        add(keeper, turn)
        put(keeper, b"derived" * 20_000, turn)

        def remove_and_fail() -> None:
            with keeper.write() as writer:
                writer.remove("turn", [turn.id], namespace=NS)
                assert list(writer.snapshots("text", namespace=NS)) == []
                raise ZeroDivisionError

        with pytest.raises(ZeroDivisionError):
            remove_and_fail()
        assert held(keeper) == [b"derived" * 20_000]
        assert select(keeper, "turn") == [turn]

    def test_no_byte_is_left_of_what_covered_a_removed_record(self, keeper: Backend, tmp_path: Path) -> None:
        if not keeper.abilities.secure_erase:
            pytest.skip(f"{keeper.url} does not declare `secure_erase`")
        turns = [new_turn() for _ in range(3)]
        add(keeper, *turns, new_turn(namespace=OTHER))
        secrets = [f"derived-secret-{n:04}".encode() for n in range(3)]
        for turn, secret in zip(turns, secrets, strict=True):
            put(keeper, (secret + b" ") * 9000, turn)
        if keeper.abilities.durable:
            assert all(secret in bytes_on_disk(tmp_path) for secret in secrets)
        remove(keeper, turns[1])
        assert keeper.erase()
        assert [secret in bytes_on_disk(tmp_path) for secret in secrets] == [True, False, True]
        put(keeper, b"shorter", turns[0])
        with keeper.write() as writer:
            writer.remove_namespace(namespace=NS)
        assert keeper.erase()
        assert held(keeper) == []
        assert b"derived-secret" not in bytes_on_disk(tmp_path)
        assert keeper.check() == []

    def test_space_is_used_again(self, keeper: Backend) -> None:
        turns = [new_turn() for _ in range(30)]
        add(keeper, *turns)
        sizes = []
        for turn in turns:
            assert put(keeper, b"much " * 100_000, *turns[turns.index(turn) :])
            remove(keeper, turn)
            assert keeper.erase()
            sizes.append(keeper.size())
        assert sizes[-1] <= sizes[0] + 65_536
