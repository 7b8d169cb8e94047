"""Backends that are broken on purpose, one fault each, under the suite that must find it (see test_mutants.py).

A fault is a function that stands for a method of readers and writers: it gets the sound one, and its arguments.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar

from agentmem.backends.memory import MemoryBackend
from agentmem.digests import digest
from agentmem.errors import ConflictError
from agentmem.interfaces import Backend
from agentmem.testing.conformance import BackendConformance
from agentmem.types import Job, Namespace
from minimal_backend import MinimalBackend


class Changed:
    """A reader or writer with some methods replaced."""

    def __init__(self, sound: Any, faults: dict[str, Callable[..., Any]]) -> None:
        self._sound = sound
        self._faults = faults

    def __getattr__(self, name: str) -> Any:
        return partial(self._faults[name], self._sound) if name in self._faults else getattr(self._sound, name)


class Mutant(MemoryBackend):
    faults: ClassVar[dict[str, Callable[..., Any]]] = {}

    @contextmanager
    def read(self) -> Iterator[Any]:
        with super().read() as reader:
            yield Changed(reader, self.faults)

    @contextmanager
    def write(self, namespace: Namespace | None = None) -> Iterator[Any]:
        with super().write(namespace) as writer:
            yield Changed(writer, self.faults)


def get_from_anywhere(sound: Any, kind: Any, ids: Any, *, namespace: Any) -> Any:
    found = [sound.get(kind, ids, namespace=other) for other in [namespace, *sound.namespaces()]]
    return next((records for records in found if records), [])


def remove_without_edges(sound: Any, kind: Any, ids: Any, *, namespace: Any) -> Any:
    edges = sound.edges(namespace=namespace)
    removed = sound.remove(kind, ids, namespace=namespace)
    sound.link(edges, namespace=namespace)
    return removed


def select_in_any_order(sound: Any, kind: Any, *, namespace: Any, limit: Any = None, **options: Any) -> Any:
    found = sorted(sound.select(kind, namespace=namespace, **options), key=lambda record: str(record.id)[::-1])
    return iter(found[:limit])


def select_beyond_the_range(sound: Any, kind: Any, *, namespace: Any, where: Any = None, **options: Any) -> Any:
    wide = {n: range(c.start, c.stop + 1) if isinstance(c, range) else c for n, c in (where or {}).items()}
    return sound.select(kind, namespace=namespace, where=wide, **options)


def select_without_nul(sound: Any, kind: Any, *, namespace: Any, **options: Any) -> Any:
    for record in sound.select(kind, namespace=namespace, **options):
        yield replace(record, text=record.text.replace("\0", "")) if kind == "thought" else record


def changes_but_the_newest(sound: Any, *, namespace: Any, after: int) -> Any:
    return sound.changes(namespace=namespace, after=after)[:-1]


def changes_though_compacted(sound: Any, *, namespace: Any, after: int) -> Any:
    try:
        return sound.changes(namespace=namespace, after=after)
    except KeyError:
        return []


def add_what_is_not_taken(sound: Any, records: Any) -> None:
    for record in records:
        try:
            sound.add([record])
        except ConflictError:
            continue


def digest_of_the_letter(sound: Any, text: str) -> str:
    return digest(sound.meta("digest_key"), text.encode("utf-8", "surrogatepass").hex())


def vectors_in_order_of_ids(sound: Any, kind: Any, *, namespace: Any, ids: Any = None) -> Any:
    return sound.vectors(kind, namespace=namespace, ids=None if ids is None else sorted(ids))


class CommitsWhatFailed(Mutant):
    @contextmanager
    def write(self, namespace: Namespace | None = None) -> Iterator[Any]:
        failure = None
        with super().write(namespace) as writer:
            try:
                yield writer
            except BaseException as error:
                failure = error
        if failure is not None:
            raise failure


class WritesBeyondItsScope(Mutant):
    @contextmanager
    def write(self, namespace: Namespace | None = None) -> Iterator[Any]:  # noqa: ARG002 - that is the fault
        with super().write() as writer:
            yield writer


class CountsNoAttempt(Mutant):
    def claim(self, task: str, *, limit: int, lease_seconds: float, namespace: Any = None) -> list[Job]:
        jobs = super().claim(task, limit=limit, lease_seconds=lease_seconds, namespace=namespace)
        with self.write() as writer:
            writer.replace([replace(job, attempts=0) for job in jobs])
        return jobs


class LosesTheLastWrite(MinimalBackend):
    @contextmanager
    def write(self, namespace: Namespace | None = None) -> Iterator[Any]:
        with self._records.write(namespace) as writer:
            self._save()
            yield writer


class KeepsTheOldFile(MinimalBackend):
    def _save(self) -> None:
        if self.path.exists():
            self.path.rename(self.path.with_name(f"old-{self._records.size()}"))
        super()._save()


FAULTS: dict[str, tuple[Callable[..., Any], ...]] = {
    "LeaksANamespace": (get_from_anywhere,),
    "ForgetsIncompletely": (remove_without_edges,),
    "BreaksTheOrder": (select_in_any_order,),
    "FiltersInexactly": (select_beyond_the_range,),
    "ManglesTexts": (select_without_nul,),
    "SkipsAChange": (changes_but_the_newest,),
    "HidesThatItsLogIsCut": (changes_though_compacted,),
    "DropsWhatConflicts": (add_what_is_not_taken,),
    "TellsEqualTextsApart": (digest_of_the_letter,),
    "MixesVectorsUp": (vectors_in_order_of_ids,),
}
WHOLE = (CommitsWhatFailed, WritesBeyondItsScope, CountsNoAttempt, LosesTheLastWrite, KeepsTheOldFile)
MUTANTS: dict[str, type[Any]] = {
    **{
        name: type(name, (Mutant,), {"faults": {fault.__name__.split("_")[0]: fault for fault in faults}})
        for name, faults in FAULTS.items()
    },
    **{cls.__name__: cls for cls in WHOLE},
}


def suite(mutant: type[Any]) -> type[BackendConformance]:
    class Suite(BackendConformance):
        def make_backend(self, tmp_path: Path) -> Backend:
            made: Backend = mutant(tmp_path / "store") if issubclass(mutant, MinimalBackend) else mutant()
            return made

    return Suite


globals().update({f"Test{name}": suite(mutant) for name, mutant in MUTANTS.items()})
