"""Conformance of what a backend may declare: durable, shared, backup, secure_erase."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest

from agentmem.errors import InputError, StoreError
from agentmem.interfaces import Backend, Basis
from agentmem.testing.conformance_base import Conformance, add, ids, snapshot
from agentmem.testing.samples import NS, new_chunk, new_job, new_thought, new_turn
from agentmem.types import Chunk, Kind, Record


def bytes_on_disk(folder: Path) -> bytes:
    return b"\0\0".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file())


class EraseStorm:
    """Random writes and removals, and a list of everything that must not be found on disk afterwards."""

    def __init__(self, backend: Backend, seed: int) -> None:
        self.backend = backend
        self.random = random.Random(seed)
        self.live: dict[str, tuple[Record, list[bytes]]] = {}
        self.gone: list[bytes] = []

    def step(self) -> None:
        choice = self.random.random()
        if choice < 0.45 or len(self.live) < 5:
            self._add()
        elif choice < 0.55 and self.backend.abilities.snapshots:
            self._keep_snapshots(self.random.sample(sorted(self.live), self.random.randint(1, len(self.live))))
        elif choice < 0.6:
            self._change_summary(self.random.choice(sorted(self.live)))
        elif choice < 0.7:
            self._remove(self.random.sample(sorted(self.live), self.random.randint(1, 4)))
        elif choice < 0.9:
            self._set_vector(self.random.choice(sorted(self.live)))
        else:
            self._forget_and_check_a_few()

    def _add(self) -> None:
        records = [self._record() for _ in range(self.random.choice((1, 1, 2, 30)))]
        add(self.backend, *records)

    def _record(self) -> Record:
        secret = f"\u00e9crit-{self.random.getrandbits(80):x}-"
        text = secret * self.random.choice((1, 2, 10, 300))
        make: Callable[[], Record] = self.random.choice(
            (lambda: new_turn(text, speaker=secret), lambda: new_thought(text), lambda: new_chunk(summary=text))
        )
        record = make()
        self.live[record.id] = (record, [secret.encode(), json.dumps(secret)[1:-1].encode()])
        return record

    def _keep_snapshots(self, names: list[str]) -> None:
        """Of texts and of vectors, in which both are as they are in the records."""
        covers: dict[Kind, list[str]] = {"turn": [], "thought": [], "chunk": []}
        for name in names:
            covers[self._kind(name)].append(name)
        secrets = [secret for name in names for secret in self.live[name][1]]
        with self.backend.write() as writer:
            seen = writer.last_change(namespace=NS)
            texts = b"|".join(secret for secret in secrets if len(secret) != 48)
            for basis in get_args(Basis):
                stale = [kept.number for kept in writer.snapshots(basis, namespace=NS)]
                writer.drop_snapshots(self.random.choice([stale, stale[::2]]), namespace=NS)
            writer.put_snapshot("text", texts, covers=covers, seen=seen, namespace=NS)
            vectors = b"|".join(secret for secret in secrets if len(secret) == 48)
            writer.put_snapshot("vectors", vectors, covers=covers, seen=seen, namespace=NS)

    def _kind(self, id: str) -> Kind:
        return id.split("-")[0]  # type: ignore[return-value]

    def _remove(self, names: list[str]) -> None:
        with self.backend.write() as writer:
            for name in names:
                writer.remove(self._kind(name), [name], namespace=NS)
        for name in names:
            self.gone.extend(self.live.pop(name)[1])

    def _set_vector(self, name: str) -> None:
        size = self.random.choice((64, 64, 64, 384, 2000))
        vector = np.frombuffer(self.random.randbytes(4 * size), np.float32)[None, :]
        with self.backend.write() as writer:
            writer.set_vectors(self._kind(name), [name], vector, namespace=NS)
        record, secrets = self.live[name]
        self.gone.extend(secret for secret in secrets if len(secret) == 48)
        data = vector.tobytes()
        kept = [secret for secret in secrets if len(secret) != 48]
        self.live[name] = (record, [*kept, data[:48], data[-48:]])

    def _change_summary(self, name: str) -> None:
        record, secrets = self.live[name]
        if not isinstance(record, Chunk):
            return
        fresh = f"\u00e9crit-{self.random.getrandbits(80):x}-" * self.random.choice((1, 2, 10, 300))
        summary = self.random.choice((None, fresh))
        with self.backend.write() as writer:
            writer.replace([replace(record, summary=summary)])
        self.gone.extend(secrets)
        kept = [] if summary is None else [summary.encode()[:30]]
        self.live[name] = (replace(record, summary=summary), kept)

    def _forget_and_check_a_few(self) -> None:
        self._remove([self.random.choice(sorted(self.live))])
        assert self.backend.erase()


class FilesConformance(Conformance):
    def test_a_durable_store_is_there_again_after_closing(self, backend: Backend, tmp_path: Path) -> None:
        if not backend.abilities.durable:
            pytest.skip(f"{backend.url} does not declare `durable`")
        turn = new_turn()
        add(backend, turn, new_thought(), new_job())
        with backend.write() as writer:
            writer.set_vectors("turn", [turn.id], np.ones((1, 3), np.float32), namespace=NS)
            writer.set_meta("key", "value")
            digest = writer.digest("tea")
        before = snapshot(backend)
        backend.close()
        again = self.make_backend(tmp_path)
        try:
            assert snapshot(again) == before
            assert again.size() > 0
            with again.read() as reader:
                assert reader.digest("tea") == digest
        finally:
            again.close()

    @pytest.mark.usefixtures("needs_shared")
    def test_what_one_writes_the_other_sees(self, backend: Backend, tmp_path: Path) -> None:
        other = self.make_backend(tmp_path)
        try:
            add(backend, new_turn())
            with other.read() as reader:
                last = reader.last_change(namespace=NS)
            add(other, new_turn())
            add(backend, new_turn())
            with other.read() as reader:
                assert len(reader.changes(namespace=NS, after=last)) == 2
            assert snapshot(backend) == snapshot(other)
        finally:
            other.close()

    @pytest.mark.usefixtures("needs_shared")
    def test_erasing_waits_for_an_open_read_elsewhere_and_says_so(self, backend: Backend, tmp_path: Path) -> None:
        other = self.make_backend(tmp_path)
        try:
            turn = new_turn("the secret is out")
            add(backend, turn)
            with other.read() as reader:
                list(reader.select("turn", namespace=NS))
                with backend.write() as writer:
                    writer.remove("turn", [turn.id], namespace=NS)
                assert backend.erase() is False
            assert backend.erase() is True
            assert b"the secret is out" not in bytes_on_disk(tmp_path)
        finally:
            other.close()

    def test_a_backup_is_a_whole_store(self, backend: Backend, tmp_path: Path) -> None:
        copy = tmp_path / "copies" / "copy.db"
        copy.parent.mkdir()
        add(backend, new_turn(), new_thought())
        if not backend.abilities.backup:
            with pytest.raises(StoreError):
                backend.backup(copy)
            return
        backend.backup(copy)
        size = copy.stat().st_size
        add(backend, *(new_turn("more " * 500) for _ in range(50)))
        backend.backup(copy)
        assert copy.stat().st_size > size
        assert [path.name for path in copy.parent.iterdir()] == ["copy.db"]

    def test_a_backup_never_replaces_the_store(self, backend: Backend, tmp_path: Path) -> None:
        if not backend.abilities.backup:
            pytest.skip(f"{backend.url} does not declare `backup`")
        add(backend, new_turn())
        for path in [path for path in tmp_path.iterdir() if path.is_file() and backend.url.endswith(path.name)]:
            with pytest.raises(InputError):
                backend.backup(path)
        assert len(ids(backend, "turn")) == 1

    @pytest.mark.parametrize("seed", [1, 2, 3])
    def test_no_byte_of_what_was_removed_is_left(self, backend: Backend, tmp_path: Path, seed: int) -> None:
        if not backend.abilities.secure_erase:
            pytest.skip(f"{backend.url} does not declare `secure_erase`")
        storm = EraseStorm(backend, seed)
        for _ in range(150):
            storm.step()
        assert backend.erase()
        disk = bytes_on_disk(tmp_path)
        assert [secret for secret in storm.gone if secret in disk] == []
        if backend.abilities.durable:
            assert all(any(secret in disk for secret in secrets) for _, secrets in storm.live.values() if secrets)
        assert backend.check() == [] or "sizes of vectors" in backend.check()[0]
        backend.reclaim()
        disk = bytes_on_disk(tmp_path)
        assert [secret for secret in storm.gone if secret in disk] == []
