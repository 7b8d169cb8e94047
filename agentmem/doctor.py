"""What `agentmem doctor` looks at: each finding is sound, worth noting, or a fault with its remedy."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agentmem import config, plugins
from agentmem.errors import AgentmemError, StoreMissingError
from agentmem.findings import Finding

if TYPE_CHECKING:
    from agentmem.config import Settings
    from agentmem.interfaces import Backend

_WORKS_OFF = {"think": "think", "summarize": "think"}
"""The command that does the waiting work of a task, where it is not `reindex`."""
_LITTLE_SPACE = 200_000_000
"""Bytes that should stay free beside what a copy of the store takes (erasing and backup write anew)."""


def examine(overrides: Mapping[str, Any]) -> list[Finding]:
    """Examine everything that agentmem needs. Creates no store, and changes none."""
    findings = [*_sqlite(), *_plugins()]
    try:
        settings = config.load_settings(**overrides)
    except AgentmemError as error:
        return [*findings, Finding("settings", "fault", str(error), "correct it; the rest is examined then")]
    chosen_store = config.setting_sources(**overrides)["store"] != "default"
    findings += _settings()
    findings += _guarded("store", lambda: _store(settings, chosen_store))
    if settings.reranker:
        findings += _guarded("reranker", lambda: _reranker(settings, settings.reranker or ""))
    findings += _guarded("model", lambda: _model(settings))
    if settings.vllm_python:
        findings += _guarded("vllm", lambda: _vllm(settings.vllm_python))
    return findings


def _guarded(name: str, check: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """What a check finds; an error it meets is a finding too."""
    try:
        yield from check()
    except AgentmemError as error:
        yield Finding(name, "fault", str(error))
    except OSError as error:
        yield Finding(name, "fault", f"{error.filename or name}: {error.strerror or error}")


def _sqlite() -> Iterator[Finding]:
    from agentmem.backends.sqlite_files import check_sqlite

    yield from _guarded("sqlite", lambda: _passed(check_sqlite, "sqlite", f"SQLite {sqlite3.sqlite_version}"))


def _passed(check: Callable[[], None], name: str, detail: str) -> Iterator[Finding]:
    check()
    yield Finding(name, "ok", detail)


def _plugins() -> Iterator[Finding]:
    for info in plugins.installed_plugins():
        if info.error:
            remedy = "update or uninstall it; agentmem works without"
            yield Finding("plug-in", "fault", f"{info.name} {info.version} failed to load: {info.error}", remedy)


def _settings() -> Iterator[Finding]:
    path = config.config_path()
    yield Finding("settings", "ok", str(path) if path.exists() else f"defaults ({path} does not exist)")
    for name in config.unknown_variables():
        yield Finding("settings", "note", f"the variable {name} names no setting", "see `agentmem settings show`")


def _store(settings: Settings, chosen: bool) -> Iterator[Finding]:
    yield from _disk(settings)
    try:
        backend = plugins.open_store(settings.store, settings, create=False)
    except StoreMissingError as error:
        if chosen:
            raise
        yield Finding("store", "note", f"none yet ({error})", "`agentmem chat` makes it")
        yield from _guarded("embedder", lambda: _embedder(settings, None))
        return
    try:
        yield from _soundness(backend)
        yield from _queue(backend)
        yield from _guarded("adapters", lambda: _adapters(backend, settings))
        yield from _guarded("embedder", lambda: _embedder(settings, backend))
        if plugins.is_url(settings.index):
            yield from _guarded("index", lambda: _index(settings, backend))
    finally:
        backend.close()


def _disk(settings: Settings) -> Iterator[Finding]:
    if plugins.scheme_of(settings.store) != "sqlite":
        return
    from agentmem.backends.sqlite_files import file_system

    path = Path(settings.store.removeprefix("sqlite:///")).absolute()
    folder = next(parent for parent in path.parents if parent.exists())
    free, size = shutil.disk_usage(folder).free, path.stat().st_size if path.exists() else 0
    kind = file_system(folder)
    detail = f"{free / 1e9:.1f} GB free in {folder}" + (f" ({kind})" if kind else "")
    if free < size + _LITTLE_SPACE:
        yield Finding("disk", "fault", detail, "free some space: erasing and backup write as much as the store holds")
    else:
        yield Finding("disk", "ok", detail)


def _soundness(backend: Backend) -> Iterator[Finding]:
    faults = backend.check()
    for fault in faults:
        yield Finding("store", "fault", fault, "restore a backup (`agentmem restore`), or export what can be read")
    if not faults:
        yield Finding("store", "ok", f"{backend.url}, {backend.size() / 1e6:.1f} MB, checked through")


def _queue(backend: Backend) -> Iterator[Finding]:
    waiting = Counter(job.task for job in backend.jobs(state="queued"))
    parked = Counter((job.task, job.reason or "no reason given") for job in backend.jobs(state="parked"))
    for task, count in waiting.items():
        remedy = f"the next talk goes on with them, `agentmem {_WORKS_OFF.get(task, 'reindex')}` does all at once"
        yield Finding("queue", "note", f"{count} waiting to {task}", remedy)
    for (task, reason), count in parked.items():
        again = f"{_WORKS_OFF[task]} --retry" if task in _WORKS_OFF else "reindex"
        remedy = f"`agentmem {again}` tries again, `agentmem queue drop` gives up"
        yield Finding("queue", "fault", f"{count} to {task} parked: {reason}", remedy)
    if not waiting and not parked:
        yield Finding("queue", "ok", "nothing waits")


def _adapters(backend: Backend, settings: Settings) -> Iterator[Finding]:
    """Adapters that should answer and cannot, and what is left of withdrawn ones; nothing where there is none."""
    from agentmem import lineage
    from agentmem.consolidation.adapters import check, folder_of, root_of

    with backend.read() as reader:
        known = lineage.adapters(reader, namespace=settings.namespace)
    root = root_of(settings, settings.namespace)
    left = [one.name for one in known if one.state == "withdrawn" and folder_of(root, one.name).exists()]
    for name in left:
        yield Finding(
            "adapters", "fault", f"{name} learned what was forgotten and is still on disk", "`agentmem adapters`"
        )
    serving = next((one for one in known if one.state == "serving"), None)
    if serving is not None:
        check(folder_of(root, serving.name))
        yield Finding("adapters", "ok", f"{serving.name} answers, {serving.metadata.get('learned', 'some')} thoughts")


def _embedder(settings: Settings, backend: Backend | None) -> Iterator[Finding]:
    from agentmem.embed import load_embedder
    from agentmem.embedqueue import check_identity

    embedder = load_embedder(settings.embedder, device=settings.embedder_device)
    if backend is not None:
        with backend.read() as reader:
            check_identity(reader, embedder.identity)
    length = embedder.encode(["doctor"]).shape[1]
    identity = embedder.identity
    yield Finding("embedder", "ok", f"{identity.name}, {length} dimensions, {identity.digest[:12]}")


def _index(settings: Settings, backend: Backend) -> Iterator[Finding]:
    from agentmem.indexing import Indexing

    indexing = Indexing(backend, plugins.open_index(settings.index, settings))
    try:
        with backend.read() as reader:
            missed = indexing.missed(reader, namespace=settings.namespace)
    finally:
        indexing.close()
    remedy = "the next talk brings it up to date, `agentmem reindex` does at once"
    if indexing.trouble is not None:
        yield Finding("index", "fault", indexing.trouble, "recall answers from the store alone meanwhile")
    elif missed is None:
        yield Finding("index", "note", f"{settings.index} has nothing of this namespace yet", remedy)
    elif missed:
        yield Finding("index", "note", f"{settings.index} is {len(missed)} changes behind", remedy)
    else:
        yield Finding("index", "ok", f"{settings.index}, up to date")


def _reranker(settings: Settings, name: str) -> Iterator[Finding]:
    from agentmem.rerank import CrossEncoder

    CrossEncoder(name, settings.embedder_device).scores("doctor", ["doctor"])
    yield Finding("reranker", "ok", f"{name}, orders the best {settings.rerank_items}")


def _model(settings: Settings, local: str | None = None) -> Iterator[Finding]:
    from agentmem.models.abilities import look_at
    from agentmem.models.select import LOCAL_SERVER, find_place

    place = find_place(settings, local=local or LOCAL_SERVER)
    if place is None:
        detail = "none: no server is named, and none is at localhost:8000; answers quote what is remembered"
        yield Finding("model", "note", detail, "`agentmem serve MODEL` starts one, --base-url names one")
    else:
        yield from look_at(place, settings.prompt_budget_tokens)


def _vllm(python: str | None) -> Iterator[Finding]:
    from agentmem.serving import find_vllm

    found = find_vllm(python)
    yield Finding("vllm", "ok", f"{found.label}, run by {found.python}")
