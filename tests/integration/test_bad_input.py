"""Bad input, through the command line and through Python: one clear line, a non-zero exit, nothing lost, and the store
usable afterwards."""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest

from agentmem.backends.sqlite_files import check_sqlite, file_system
from agentmem.config import Settings
from agentmem.errors import (
    AgentmemError,
    EmbedderMismatchError,
    InputError,
    NamespaceError,
    StoreBusyError,
    StoreClosedError,
    StoreError,
    StoreForeignError,
    StoreMissingError,
    StoreReadOnlyError,
    StoreVersionError,
)
from agentmem.memory import Memory
from agentmem.types import NewTurn
from tests.integration.support import NS, HashEmbedder, cli, environment, faults, heard, said, start

STORE, EMBEDDER = 3, 4
"""Exit codes, as agentmem.errors has them."""
_BUG = 70
FACT = "The cellar key hangs behind the clock"


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with a few turns and a thought, closed."""
    path = tmp_path / "store" / "memory.db"
    path.parent.mkdir()
    with opened(path) as memory:
        turns = memory.observe_many([said(f"line {n} of what was there") for n in range(200)], namespace=NS).added
        memory.insert(FACT, namespace=NS, sources=[turns[0].id])
    return path


def opened(path: Path, *, create: bool = True, **settings: Any) -> Memory:
    return Memory(str(path), embedder=None, create=create, settings=Settings(store=str(path), **settings))


def agentmem(store: Path, *args: str | Path, env: dict[str, str] | None = None, **how: Any) -> Any:
    home = store.parent.parent if store.parent.name == "store" else store.parent
    return cli(*args, "--store", store, "--namespace", "ada", home=home, env=env, **how)


def refused(done: Any, *words: str, code: int | None = None) -> str:
    """The one line in which a command said no, the last that it said."""
    lines: list[str] = [line for line in done.stderr.splitlines() if line.strip()][::-1]
    assert "Traceback" not in done.stderr
    assert done.returncode not in (0, _BUG), f"exit code {done.returncode}: {done.stderr}"
    assert [line.startswith("error:") for line in lines[:2]] in ([True], [True, False]), f"not one: {done.stderr!r}"
    assert code is None or done.returncode == code
    for wanted in words:
        assert wanted in lines[0], f"{wanted!r} is not in {lines[0]!r}"
    return lines[0]


def usable(store: Path, *, turns: int = 200) -> None:
    """The store holds what it held, and takes more."""
    with opened(store, create=False) as memory:
        assert memory.stats(namespace=NS).turns == turns
        assert [t.text for t in memory.thoughts(namespace=NS)][:1] == [FACT]
        assert memory.recall("cellar key", namespace=NS, wait=0).items[0].text == FACT
        added = memory.observe("user", "one more line", namespace=NS)
        assert added.id in [i.id for i in memory.recall("one more line", namespace=NS, wait=0).items]
        assert faults(memory, NS) == []


COMMANDS: dict[str, list[str]] = {
    "recall": ["recall", "cellar"],
    "ask": ["ask", "Where is the cellar key?"],
    "thoughts": ["thoughts", "list"],
    "stats": ["stats"],
    "sessions": ["sessions"],
    "export": ["export", "out.jsonl"],
    "backup": ["backup", "copy.db"],
    "erase": ["erase", "--all", "--yes"],
}


# -- the database -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("command", ["recall", "stats", "thoughts", "export", "backup", "erase"])
def test_a_missing_database(command: str, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere" / "memory.db"
    done = agentmem(nowhere, *COMMANDS[command]) if nowhere.parent.exists() else None
    done = done or cli(*COMMANDS[command], "--store", nowhere, "--namespace", "ada", home=tmp_path)
    refused(done, str(nowhere), code=STORE)
    assert not nowhere.parent.exists(), "reading made a store"


def test_a_missing_database_in_python(tmp_path: Path) -> None:
    with pytest.raises(StoreMissingError):
        opened(tmp_path / "memory.db", create=False)
    assert list(tmp_path.iterdir()) == []


@contextmanager
def held_by_another(store: Path, begin: str) -> Iterator[None]:
    with start("reader_child", begin, store, home=store.parent.parent) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        next(heard(child.stdout))
        yield
        child.stdin.write("\n")
        child.stdin.close()
        assert child.wait(20) == 0


def test_a_locked_database(store: Path) -> None:
    short = {"AGENTMEM_BUSY_TIMEOUT_SECONDS": "0.3"}
    with held_by_another(store, "BEGIN IMMEDIATE"):
        refused(agentmem(store, "thoughts", "add", "This waits in vain", env=short), str(store), code=STORE)
        assert agentmem(store, "stats", env=short).returncode == 0, "readers don't wait for a writer"
        with opened(store, busy_timeout_seconds=0.2) as memory:
            with pytest.raises(StoreBusyError):
                memory.observe("user", "in vain", namespace=NS)
            assert memory.recall("cellar key", namespace=NS, wait=0).items
        hurried = Settings(store=str(store), busy_timeout_seconds=0.2)
        with Memory(str(store), embedder=HashEmbedder(), settings=hurried) as memory:
            # What waits to be embedded cannot be stored now: that is no reason not to answer.
            assert memory.recall("cellar key", namespace=NS).items
    assert agentmem(store, "thoughts", "add", "This does not wait").returncode == 0
    usable(store)


def test_a_writer_waits_for_another(store: Path) -> None:
    """Within the busy timeout, waiting is no error."""
    with held_by_another(store, "BEGIN IMMEDIATE"):
        waiting = start_cli(store, "thoughts", "add", "This waits a little", "--json")
        with pytest.raises(subprocess.TimeoutExpired):
            waiting.wait(3)
    out, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    assert json.loads(out)["id"]


def start_cli(store: Path, *args: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "agentmem", *args, "--store", str(store), "--namespace", "ada"]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=environment(store.parent.parent))


def without_overrides() -> None:
    """In a child of root's: permissions bind it as they bind everyone."""
    drop_from_bounding_set, override = 24, 1
    if os.getuid() == 0 and ctypes.CDLL(None).prctl(drop_from_bounding_set, override, 0, 0, 0) != 0:
        os._exit(99)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="drops root's override of permissions with prctl")
@pytest.mark.parametrize("what", ["file", "folder", "both"])
def test_a_read_only_database(what: str, store: Path) -> None:
    before = store.read_bytes()
    modes = {store: 0o444 if what != "folder" else 0o644, store.parent: 0o555 if what != "file" else 0o755}
    for path, mode in modes.items():
        path.chmod(mode)
    try:
        if what != "both":
            probe = f"open({str(store)!r}, 'ab')" if what == "file" else f"open({str(store)!r} + 'x', 'ab')"
            tried = subprocess.run([sys.executable, "-c", probe], preexec_fn=without_overrides, capture_output=True)
            if tried.returncode == 0:
                pytest.skip("permissions don't bind this user")
        for command in (["thoughts", "add", "This cannot be kept"], COMMANDS["recall"], COMMANDS["stats"]):
            done = agentmem(store, *command, preexec_fn=without_overrides)
            if command[0] == "thoughts" or done.returncode:
                refused(done, str(store), code=STORE)
    finally:
        store.chmod(0o644)
        store.parent.chmod(0o755)
    assert store.read_bytes() == before
    usable(store)


@pytest.mark.skipif(
    os.getuid() == 0, reason="permissions don't bind root; the command line is tried without that power"
)
def test_a_read_only_database_in_python(store: Path) -> None:
    store.chmod(0o444)
    with pytest.raises(StoreReadOnlyError):
        opened(store)


@pytest.mark.parametrize("keep", [0.9, 4096 * 3, 4096 * 2 + 100, 600, 16])
def test_a_truncated_database(keep: float, store: Path) -> None:
    backup = store.parent / "backup.db"
    with opened(store) as memory:
        memory.backup(backup)
    whole = store.read_bytes()
    cut = whole[: int(keep * len(whole)) if keep < 1 else int(keep)]
    store.write_bytes(cut)
    refused(agentmem(store, *COMMANDS["recall" if keep > 1 else "ask"]), str(store), code=STORE)
    refused(agentmem(store, "thoughts", "add", "a new statement"), str(store), code=STORE)
    with pytest.raises(StoreForeignError):
        opened(store)
    assert store.read_bytes() == cut, "the damaged file was changed"
    done = agentmem(store, "restore", backup, "--yes")
    assert done.returncode == 0, done.stderr
    usable(store)


def test_an_emptied_database_is_not_taken_for_a_store(store: Path) -> None:
    store.write_bytes(b"")
    refused(agentmem(store, "recall", "cellar"), str(store), code=STORE)


@pytest.mark.parametrize("page", [1, 4, 8, 13])
def test_a_damaged_page_is_never_silent(page: int, store: Path) -> None:
    """Whatever page is garbage: commands answer or say so in a line, and `doctor` notices."""
    data = bytearray(store.read_bytes())
    assert len(data) > 4096 * (page + 1)
    data[4096 * page : 4096 * (page + 1)] = os.urandom(4096)
    store.write_bytes(data)
    for command in ("thoughts", "ask"):
        done = agentmem(store, *COMMANDS[command])
        if done.returncode:
            refused(done, str(store))
    done = agentmem(store, "doctor")
    assert done.returncode not in (0, _BUG)
    assert "Traceback" not in done.stderr


def test_a_torn_log_loses_only_what_was_not_acknowledged(store: Path) -> None:
    """Half a transaction at the end of the write-ahead log, as a power cut leaves it."""
    with closing(sqlite3.connect(store)) as keeper, opened(store) as memory:
        keeper.execute("SELECT count(*) FROM sqlite_master").fetchall()
        log = store.with_name(store.name + "-wal")
        memory.observe("user", "acknowledged before the cut", namespace=NS)
        length = log.stat().st_size
        memory.observe("user", "torn by the cut", namespace=NS)
        crashed = store.parent.parent / "crashed" / "memory.db"
        crashed.parent.mkdir()
        shutil.copy(store, crashed)
        torn = log.read_bytes()
        crashed.with_name(log.name).write_bytes(torn[: length + (len(torn) - length) // 2])
    with opened(crashed, create=False) as memory:
        texts = [t.text for t in memory.turns(namespace=NS)]
        assert "acknowledged before the cut" in texts
        assert "torn by the cut" not in texts
        assert faults(memory, NS) == []


FOREIGN: dict[str, Callable[[Path], None]] = {}


def foreign(make: Callable[[Path], None]) -> Callable[[Path], None]:
    FOREIGN[make.__name__] = make
    return make


@foreign
def text_file(path: Path) -> None:
    path.write_text("Dear diary, this is no database.\n" * 100)


@foreign
def other_database(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE accounts (id INTEGER PRIMARY KEY, name TEXT)")
        db.execute("INSERT INTO accounts VALUES (1, 'Ada')")
        db.commit()


@foreign
def other_database_with_our_tables_names(path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.execute("CREATE TABLE turns (id TEXT PRIMARY KEY, said TEXT)")
        db.execute("PRAGMA user_version = 1")
        db.commit()


@foreign
def directory(path: Path) -> None:
    path.mkdir()


@foreign
def noise(path: Path) -> None:
    path.write_bytes(os.urandom(20_000))


@foreign
def magic_and_noise(path: Path) -> None:
    path.write_bytes(b"SQLite format 3\0" + os.urandom(20_000))


@pytest.mark.parametrize("kind", sorted(FOREIGN))
def test_a_foreign_file(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "theirs.db"
    FOREIGN[kind](path)
    before = None if path.is_dir() else path.read_bytes()
    for command in (COMMANDS["recall"], ["thoughts", "add", "Something"]):
        refused(agentmem(path, *command), str(path), code=STORE)
    with pytest.raises(StoreForeignError):
        opened(path)
    assert before is None or path.read_bytes() == before, "another program's file was changed"


def test_a_newer_schema(store: Path) -> None:
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA user_version = 4711")
        db.commit()
    before = store.read_bytes()
    for command in (COMMANDS["recall"], ["thoughts", "add", "Something"]):
        assert "4711" in refused(agentmem(store, *command), str(store), code=STORE)
    with pytest.raises(StoreVersionError):
        opened(store)
    assert store.read_bytes() == before
    with closing(sqlite3.connect(store)) as db:
        db.execute("PRAGMA user_version = 1")
        db.commit()
    usable(store)


def test_a_sqlite_that_is_too_old() -> None:
    with pytest.raises(StoreVersionError, match=r"3\.8\.2"):
        check_sqlite((3, 8, 2))
    check_sqlite()


MOUNTS = """\
/dev/vda / ext4 rw,relatime 0 0
server:/export /home/ada nfs4 rw,vers=4.2 0 0
//server/share /mnt/with\\040space cifs rw 0 0
tmpfs /home/ada/local tmpfs rw 0 0
"""


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/srv/memory.db", "ext4"),
        ("/home/ada/memory.db", "nfs4"),
        ("/home/ada/local/memory.db", "tmpfs"),
        ("/home/adams/memory.db", "ext4"),
        ("/mnt/with space/memory.db", "cifs"),
    ],
)
def test_the_file_system_of_a_path(path: str, kind: str, tmp_path: Path) -> None:
    mounts = tmp_path / "mounts"
    mounts.write_text(MOUNTS)
    assert file_system(Path(path), mounts) == kind


def test_a_network_file_system_is_refused(store: Path, tmp_path: Path) -> None:
    """The machine's list of mounts is the one thing replaced here: a network file system cannot be had in a test."""
    mounts = tmp_path / "mounts"
    mounts.write_text(f"/dev/vda / ext4 rw 0 0\nserver:/x {os.path.realpath(tmp_path)} nfs rw 0 0\n")
    patched = (
        "from pathlib import Path; import agentmem.backends.sqlite_files as files; "
        f"files.file_system.__defaults__ = (Path({str(mounts)!r}),); from agentmem.cli import main; main()"
    )
    for path in (store, tmp_path / "new" / "memory.db"):
        command = [
            sys.executable,
            "-c",
            patched,
            "thoughts",
            "add",
            "Something",
            "--store",
            str(path),
            "--namespace",
            "a",
        ]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(tmp_path))
        assert "network" in refused(done, str(path), code=STORE)
    assert not (tmp_path / "new").exists()
    usable(store)


# -- a full disk ------------------------------------------------------------------------------------------------------


def fill(store: Path, limit: int) -> None:
    """Let a child write until it is told that the disk is full; everything acknowledged must stay."""
    with start("full_disk_child", store, str(limit), home=store.parent, stderr=subprocess.PIPE) as child:
        out, err = child.communicate(timeout=60)
    assert child.returncode == 0, err
    report = json.loads(out)
    assert report["error"], "the disk did not become full"
    assert str(store) in report["error"]
    assert report["readable"], "what was acknowledged cannot be read while the disk is full"
    assert report["found"]
    with opened(store, create=False) as memory:
        assert {t.id for t in memory.turns(namespace=NS)} == set(report["ids"])
        assert faults(memory, NS) == []


def test_a_limit_on_file_sizes(tmp_path: Path) -> None:
    store = tmp_path / "memory.db"
    fill(store, 400_000)
    with opened(store) as memory:
        memory.observe("user", "there is room again", namespace=NS)


def test_a_full_disk(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=9m", "none", str(disk)], capture_output=True)
    if mounted.returncode:
        pytest.skip("this user may not mount a small file system")
    try:
        store = disk / "memory.db"
        ballast = disk / "ballast"
        ballast.write_bytes(b"x" * 6_000_000)
        fill(store, 0)
        ballast.write_bytes(b"")
        with ballast.open("wb", buffering=0) as file:
            fill_up(file.write)
        text = "nothing more fits " * 300_000
        refused(
            cli("thoughts", "add", "-", "--store", store, "--namespace", "ada", home=tmp_path, stdin=text), str(store)
        )
        answer = cli("recall", "batch 0-3", "--store", store, "--namespace", "ada", home=tmp_path)
        assert answer.returncode == 0, (
            f"what was acknowledged cannot be recalled while the disk is full: {answer.stderr}"
        )
        ballast.unlink()
        done = cli("thoughts", "add", "There is room again", "--store", store, "--namespace", "ada", home=tmp_path)
        assert done.returncode == 0, done.stderr
        with opened(store) as memory:
            assert faults(memory, NS) == []
            turn = memory.turns(namespace=NS, limit=1)[0]
            assert memory.forget([turn.id], namespace=NS).erased == "done"
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def fill_up(write: Callable[[bytes], int | None]) -> None:
    for size in (65536, 4096, 1):
        try:
            while write(b"x" * size):
                pass
        except OSError:
            continue


# -- the embedder -----------------------------------------------------------------------------------------------------


def with_vectors_of(store: Path, embedder: HashEmbedder) -> None:
    with Memory(str(store), embedder=embedder) as memory:
        memory.flush()


@pytest.mark.timeout(150)
def test_a_wrong_embedder(store: Path) -> None:
    with_vectors_of(store, HashEmbedder("another", 64))
    for command in (["recall", "cellar key"], ["reindex", "--help"][:1]):
        if command[0] == "recall":
            line = refused(agentmem(store, *command), "agentmem reindex", code=EMBEDDER)
            assert "another" in line
    with opened(store) as memory:
        assert memory.recall("cellar key", namespace=NS, wait=0).items[0].text == FACT
    done = agentmem(store, "reindex")
    assert done.returncode == 0, done.stderr
    done = agentmem(store, "recall", "cellar key", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["items"][0]["text"] == FACT


@pytest.mark.parametrize("other", [HashEmbedder("hash", 32), HashEmbedder("another", 64)], ids=["dimension", "name"])
def test_a_wrong_embedder_in_python(other: HashEmbedder, store: Path) -> None:
    with_vectors_of(store, HashEmbedder())
    with Memory(str(store), embedder=other) as memory:
        added = memory.observe("user", "said with the wrong embedder", namespace=NS)
        assert memory.recall("cellar key", namespace=NS, wait=0).items[0].text == FACT
        with pytest.raises(EmbedderMismatchError, match="agentmem reindex"):
            memory.recall("cellar key", namespace=NS)
        with pytest.raises(EmbedderMismatchError):
            memory.flush()
    with Memory(str(store), embedder=HashEmbedder()) as memory:
        memory.flush()
        assert added.id in [i.id for i in memory.recall("said with the wrong embedder", namespace=NS).items]
    with Memory(str(store), embedder=other) as memory:
        memory.reindex()
        assert memory.stats(namespace=NS).waiting == 0
        assert memory.recall("cellar key", namespace=NS).dense
        assert faults(memory, NS) == []


def test_the_former_embedder_cannot_write_after_a_reindex(store: Path) -> None:
    """A process that was open before must not mix its vectors in."""
    with Memory(str(store), embedder=HashEmbedder()) as former:
        former.flush()
        with Memory(str(store), embedder=HashEmbedder("another", 32)) as memory:
            memory.reindex()
            former.observe("user", "said by the process that was open", namespace=NS)
            with pytest.raises(EmbedderMismatchError):
                former.flush()
            with pytest.raises(EmbedderMismatchError):
                former.recall("cellar key", namespace=NS)
            memory.flush()
            with memory.backend.read() as reader:
                assert reader.vectors("turn", namespace=NS)[1].shape == (201, 32)


@pytest.mark.parametrize("bad", ["/nowhere/model", "no-such-model-name"])
def test_an_embedder_that_is_not_there(bad: str, store: Path) -> None:
    refused(agentmem(store, "reindex", env={"AGENTMEM_EMBEDDER": bad}), bad, code=EMBEDDER)
    done = agentmem(store, "thoughts", "add", "This is kept all the same", env={"AGENTMEM_EMBEDDER": bad})
    assert done.returncode == 0, done.stderr


class FailingEmbedder(HashEmbedder):
    """Fails on one text, as a model may on a strange one, and gives a vector of NaN for another."""

    def __init__(self, failure: type[Exception] = RuntimeError) -> None:
        super().__init__()
        self.failure = failure

    def encode(self, texts: Any) -> Any:
        if any("poison" in text for text in texts):
            raise self.failure("cannot embed this")
        vectors = super().encode(texts)
        for row, text in enumerate(texts):
            if "nan" in text:
                vectors[row] = float("nan")
        return vectors


@pytest.mark.parametrize("failure", [RuntimeError, TypeError, KeyError, OSError])
def test_one_text_that_cannot_be_embedded_keeps_no_other_waiting(failure: type[Exception], store: Path) -> None:
    """Tokenizers raise TypeError for a lone surrogate, and a model that is reached over a wire OSError."""
    with Memory(str(store), embedder=FailingEmbedder(failure)) as memory:
        memory.observe_many([said(t) for t in ("good before", "the poison", "good after")], namespace=NS)
        memory.flush()
        stats = memory.stats(namespace=NS)
        assert (stats.waiting, stats.parked) == (0, 1)
        assert memory.recall("the poison", namespace=NS, wait=0).items[0].text == "the poison"
        assert memory.recall("good after", namespace=NS).items[0].text == "good after"
    done = agentmem(store, "doctor")
    assert failure.__name__ in done.stdout + done.stderr, "a parked job and its reason show in doctor"


def test_a_vector_of_nan_spoils_no_other_answer(store: Path) -> None:
    with Memory(str(store), embedder=FailingEmbedder()) as memory:
        memory.observe_many([said(t) for t in ("good one", "nan", "good other")], namespace=NS)
        memory.flush()
        items = memory.recall("good other", namespace=NS).items
        assert items[0].text == "good other"
        assert all(item.score == item.score for item in items)


# -- turns, thoughts and queries --------------------------------------------------------------------------------------

STRANGE = {
    "megabyte": "long " * 200_000 + "end",
    "one long word": "x" * 1_000_000,
    "nul": "before\0after the nul",
    "lone surrogate": "before \ud800 after \udfff",
    "controls": "\x1b[31mred\x1b[0m \x07 \r \x7f \u202e reversed \u2066",
    "combining": "e" + "\u0301" * 5000,
    "not characters": "\ufffe \uffff \U0010ffff",
    "spaces": " \t leading and trailing \n ",
}


@pytest.mark.parametrize("name", sorted(STRANGE))
def test_a_strange_turn_is_kept_verbatim_or_refused(name: str, store: Path) -> None:
    text = STRANGE[name]
    with Memory(str(store), embedder=HashEmbedder()) as memory:
        try:
            turn = memory.observe("user", text, namespace=NS, speaker="Ada", metadata={"again": text[:50]})
        except InputError:
            assert memory.stats(namespace=NS).turns == 200
        else:
            assert memory.get_turn(turn.id, namespace=NS).text == text
            assert memory.get_turn(turn.id, namespace=NS).metadata == {"again": text[:50]}
            memory.flush()
            assert turn.id in [t.id for t in memory.open_chunk(turn.id, namespace=NS)]
            memory.forget([turn.id], namespace=NS)
        assert memory.stats(namespace=NS).waiting == 0
    usable(store)


@pytest.mark.parametrize("name", sorted(STRANGE))
def test_a_strange_thought_and_query(name: str, store: Path) -> None:
    text = STRANGE[name]
    with Memory(str(store), embedder=HashEmbedder()) as memory:
        try:
            thought = memory.insert(text, namespace=NS).thought
            assert memory.get_thought(thought.id, namespace=NS).text == text.strip()
            assert memory.insert(text, namespace=NS).strengthened
            memory.forget([thought.id], namespace=NS, keep_source=True)
        except InputError:
            assert len(memory.thoughts(namespace=NS, state=None)) == 1
        try:
            memory.recall(text, namespace=NS)
        except InputError:
            assert memory.recall("cellar key", namespace=NS).items[0].text == FACT
    usable(store)


@pytest.mark.parametrize("name", sorted(STRANGE.keys() - {"one long word"}))
def test_the_bundled_embedder_takes_strange_texts(name: str) -> None:
    import numpy as np

    from agentmem.embed import load_embedder

    embedder = load_embedder()
    for texts in ([STRANGE[name]], [STRANGE[name], "and a plain one", ""]):
        vectors = embedder.encode(texts)
        assert vectors.shape == (len(texts), embedder.identity.dimension)
        assert np.isfinite(vectors).all()
    alone, among = embedder.encode(["and a plain one"])[0], embedder.encode([STRANGE[name], "and a plain one"])[1]
    assert float(alone @ among) > 0.999


@pytest.mark.parametrize("empty", ["", " ", "\n\t", "\u2003"])
def test_an_empty_turn_thought_and_query(empty: str, store: Path) -> None:
    with opened(store) as memory:
        for refusing in (
            lambda: memory.observe("user", empty, namespace=NS),
            lambda: memory.insert(empty, namespace=NS),
            lambda: memory.recall(empty, namespace=NS),
        ):
            with pytest.raises(InputError):
                refusing()
        assert memory.observe_many([said(empty), said("not empty")], namespace=NS).empty == 1
    usable(store, turns=201)


BAD_TURNS: dict[str, dict[str, Any]] = {
    "role": {"role": "narrator"},
    "no parts": {"parts": ()},
    "part is no mapping": {"parts": ("text",)},
    "text is no string": {"parts": ({"type": "text", "text": 5},)},
    "part without type": {"parts": ({"text": "hello"},)},
    "metadata not JSON": {"metadata": {"key": {1, 2}}},
    "metadata with bytes": {"metadata": {"key": b"bytes"}},
    "metadata key": {"metadata": {("a", "b"): 1}},
    "status": {"status": "forgotten"},
    "precision": {"precision": "fortnight"},
    "session empty": {"session": ""},
    "session no string": {"session": 5},
    "external id no string": {"source": "f", "external_id": 5},
    "time no datetime": {"occurred_at": "yesterday"},
    "time before all": {"occurred_at": datetime(1, 1, 1, tzinfo=timezone(timedelta(hours=14)))},
    "time after all": {"occurred_at": datetime(9999, 12, 31, 23, 59, tzinfo=timezone(timedelta(hours=-12)))},
    "zone no string": {"zone": 5},
    "speaker no string": {"speaker": ["Ada"]},
}


@pytest.mark.parametrize("name", sorted(BAD_TURNS))
def test_a_malformed_turn_is_refused_in_our_words_or_kept_whole(name: str, store: Path) -> None:
    """Never a TypeError from below, never half of a batch's transaction."""
    given: dict[str, Any] = {"role": "user", "parts": ({"type": "text", "text": "malformed"},), **BAD_TURNS[name]}
    with opened(store) as memory:
        added = 0
        try:
            batch = memory.observe_many([said("before it"), NewTurn(**given), said("after it")], namespace=NS)
            added = len(batch.added)
            assert added + batch.empty == 3
        except InputError:
            pass
        assert memory.stats(namespace=NS).turns == 200 + added
        assert len(memory.turns(namespace=NS)) == 200 + added
        assert faults(memory, NS) == []
    usable(store, turns=200 + added)


@pytest.mark.parametrize("field", ["session", "speaker", "source", "external_id", "zone", "parent_id"])
@pytest.mark.parametrize("value", ["with\0nul", "lone \ud800", "x" * 100_000, "'; DROP TABLE turns; --", "%s {} \\"])
def test_strange_names_are_kept_or_refused(field: str, value: str, store: Path) -> None:
    with opened(store) as memory:
        given = {"source": "f", field: value} if field == "external_id" else {field: value}
        try:
            turn = memory.observe("user", "named strangely", namespace=NS, **given)  # type: ignore[arg-type]
        except InputError:
            return
        assert getattr(memory.get_turn(turn.id, namespace=NS), field) == value
        assert value in {s.session for s in memory.sessions(namespace=NS)} or field != "session"
        assert memory.recall("named strangely", namespace=NS, wait=0).items[0].id == turn.id
        memory.forget([turn.id], namespace=NS)
    usable(store)


@pytest.mark.parametrize("namespace", [(), "", "ada", ("",), (" ",), ("a", ""), None, (5,), 5, ("a\0b",), ("\ud800",)])
def test_a_missing_or_malformed_namespace(namespace: Any, store: Path) -> None:
    with opened(store) as memory:
        calls: list[Callable[[], object]] = [
            lambda: memory.observe("user", "nowhere", namespace=namespace),
            lambda: memory.observe_many([said("nowhere")], namespace=namespace),
            lambda: memory.insert("nowhere", namespace=namespace),
            lambda: memory.recall("cellar", namespace=namespace),
            lambda: memory.turns(namespace=namespace),
            lambda: memory.thoughts(namespace=namespace),
            lambda: memory.sessions(namespace=namespace),
            lambda: memory.stats(namespace=namespace),
            lambda: memory.erase(namespace=namespace),
            lambda: memory.forget([], namespace=namespace),
            lambda: memory.rebuild_chunks(namespace=namespace),
            lambda: memory.undo(namespace=namespace),
        ]
        for call in calls:
            with pytest.raises(NamespaceError):
                call()
    usable(store)


def test_a_call_without_a_namespace(store: Path) -> None:
    with opened(store) as memory:
        calls: list[tuple[Callable[..., object], list[str]]] = [
            (memory.recall, ["query"]),
            (memory.observe, ["user", "text"]),
            (memory.insert, ["text"]),
            (memory.turns, []),
            (memory.erase, []),
            (memory.forget, ["id"]),
        ]
        for call, given in calls:
            with pytest.raises(TypeError):
                call(*given)


@pytest.mark.parametrize("namespace", ["", "/", "a//b", "a/", " "])
def test_a_malformed_namespace_on_the_command_line(namespace: str, store: Path) -> None:
    done = cli("recall", "cellar", "--store", store, "--namespace", namespace, home=store.parent.parent)
    if not (namespace == "" and done.returncode == 0):
        refused(done, "namespace", code=2)


@pytest.mark.parametrize("query", ["the", "'\"*():^ NEAR(a b)", "a\0b", "\ud800"])
def test_strange_queries_on_the_command_line(query: str, store: Path) -> None:
    stdin = query.encode("utf-8", "surrogatepass")
    done = agentmem(store, "ask", "--private", "-", stdin=stdin)
    if done.returncode:
        refused(done)
    if "\0" not in query and "\ud800" not in query:
        done = agentmem(store, "recall", "--", query)
        if done.returncode:
            refused(done)
    usable(store)


@pytest.mark.parametrize("how", [{"k": 0}, {"k": -3}, {"budget": 0}, {"budget": -1}, {"kinds": ("chunk",)}])
def test_impossible_recalls(how: dict[str, Any], store: Path) -> None:
    with opened(store) as memory:
        try:
            items = memory.recall("cellar key", namespace=NS, wait=0, **how).items
        except InputError:
            return
        assert items == ()


@pytest.mark.parametrize("unknown", ["", "x", "nothing", "0" * 36, "%", "' OR 1=1"])
def test_ids_that_are_not_there(unknown: str, store: Path) -> None:
    with opened(store) as memory:
        calls: list[Callable[[], object]] = [
            lambda: memory.get_turn(unknown, namespace=NS),
            lambda: memory.get_thought(unknown, namespace=NS),
            lambda: memory.history(unknown, namespace=NS),
            lambda: memory.resolve(unknown, namespace=NS),
            lambda: memory.forget([unknown], namespace=NS),
            lambda: memory.retract(unknown, namespace=NS),
            lambda: memory.merge([unknown, unknown], "one of none", namespace=NS),
            lambda: memory.undo(unknown or "none", namespace=NS),
            lambda: memory.open_chunk(unknown, namespace=NS),
            lambda: memory.insert("from nowhere", namespace=NS, sources=[unknown]),
            lambda: memory.insert("instead of nothing", namespace=NS, supersedes=unknown),
        ]
        for call in calls:
            with pytest.raises(AgentmemError):
                call()
    usable(store)


def test_a_failed_supersede_leaves_no_thought_behind(store: Path) -> None:
    with opened(store) as memory:
        with pytest.raises(AgentmemError):
            memory.insert("half of an operation", namespace=NS, supersedes="nothing")
        assert [t.text for t in memory.thoughts(namespace=NS, state=None)] == [FACT]


@pytest.mark.parametrize(
    "text",
    [
        "the key is sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z",
        "my card is 4111 1111 1111 1111",
        "password: hunter2!Tr0ub4dor",
        "aws AKIAIOSFODNN7EXAMPLE",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA7\n-----END RSA PRIVATE KEY-----",
    ],
)
def test_a_secret_is_not_made_into_a_thought(text: str, store: Path) -> None:
    done = agentmem(store, "thoughts", "add", "--", text)
    line = refused(done, "secret")
    assert not any(part in line for part in ("sk-proj", "4111", "hunter2", "AKIA", "MIIE")), (
        "the error shows the secret"
    )
    usable(store)


# -- conversation files -----------------------------------------------------------------------------------------------

GOOD = [json.dumps({"role": "user", "text": f"turn {n} of the file", "external_id": str(n)}) for n in range(5)]
MALFORMED: dict[str, tuple[bytes, str]] = {
    "broken line": ("\n".join([*GOOD[:2], '{"role": "user", "text": "brok', *GOOD[3:]]).encode(), "3"),
    "no role": ("\n".join([*GOOD[:3], '{"text": "nobody said"}', GOOD[4]]).encode(), "4"),
    "strange role": ("\n".join([*GOOD[:1], '{"role": "narrator", "text": "once"}']).encode(), "2"),
    "no text": ("\n".join([*GOOD[:4], '{"role": "user"}']).encode(), "5"),
    "text is a number": ("\n".join([GOOD[0], '{"role": "user", "text": 5}']).encode(), "2"),
    "a number": ("\n".join([GOOD[0], "17"]).encode(), "2"),
    "date": ("\n".join([GOOD[0], '{"role": "user", "text": "x", "occurred_at": "the day before"}']).encode(), "2"),
    "not UTF-8": ("\n".join(GOOD[:2]).encode() + b'\n{"role": "user", "text": "caf\xe9"}\n', "3"),
    "deep": (GOOD[0].encode() + b'\n{"role": "user", "text": "x", "metadata": ' + b"[" * 100_000 + b"}\n", "2"),
    "nothing at all": (b"", ""),
    "only spaces": (b"\n\n  \n", ""),
    "noise": (bytes(range(256)) * 50, ""),
    "a picture": (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, ""),
    "a string": (b'"hello"', ""),
    "null": (b"null", ""),
    "half a JSON": (b'[{"role": "user", "content": "hello"}, {"role": "assis', ""),
    "another JSON": (b'{"name": "package", "version": "1.0.0"}', ""),
    "list of lists": (b"[[1, 2], [3, 4]]", ""),
    "chat without content": (b'[{"role": "user"}]', ""),
    "LoCoMo cut": (b'{"session_1": [{"speaker": "A"}], "session_1_date_time": 5, "speaker_a": "A"}', ""),
}


@pytest.mark.parametrize("name", sorted(MALFORMED))
def test_a_malformed_conversation_file(name: str, store: Path) -> None:
    data, line = MALFORMED[name]
    path = store.parent / "conversation.jsonl"
    path.write_bytes(data)
    said_no = refused(agentmem(store, "ingest", "--no-embed", path), path.name)
    assert f"{path.name}:{line}" in said_no or f"line {line}" in said_no or not line, f"which line? {said_no}"
    with opened(store) as memory:
        held = memory.stats(namespace=NS).turns
        assert 200 <= held < 205
    path.write_text("\n".join(GOOD))
    for added in (5 - (held - 200), 0):
        done = agentmem(store, "ingest", "--no-embed", path, "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["added"] == added
    usable(store, turns=205)


@pytest.mark.parametrize("form", ["locomo", "beam", "longmemeval", "jsonl", "openai"])
@pytest.mark.parametrize(
    "content", ["[]", "{}", "5", '[{"a": 1}]', '{"conversation": 5}', '{"chat": [[5]]}', "not JSON"]
)
def test_a_file_of_another_format_than_told(form: str, content: str, store: Path) -> None:
    from agentmem.errors import FormatError
    from agentmem.ingest import read_turns

    path = store.parent / "file.json"
    path.write_text(content)
    try:
        turns = list(read_turns(path, form))
    except FormatError as error:
        complaint = str(error)
    else:
        complaint = path.name if not turns else f"read {len(turns)} turns"
    assert path.name in complaint


def test_a_good_file_with_oddities(store: Path) -> None:
    """A byte order mark, Windows line ends, an empty line and an empty turn are no reason to refuse a file."""
    path = store.parent / "odd.jsonl"
    lines = [GOOD[0], "", GOOD[1], '{"role": "user", "text": ""}', GOOD[2]]
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n")
    done = agentmem(store, "ingest", "--no-embed", path, "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["added"] == 3


def test_a_strange_turn_in_a_file(store: Path) -> None:
    """A megabyte, a NUL and a lone surrogate, as JSON may hold them."""
    path = store.parent / "strange.jsonl"
    turns = [{"role": "user", "text": text, "external_id": name} for name, text in STRANGE.items()]
    path.write_text("".join(json.dumps(turn) + "\n" for turn in turns))
    done = agentmem(store, "ingest", path, "--json")
    assert "Traceback" not in done.stderr
    if done.returncode:
        refused(done, path.name)
        usable(store)
    else:
        assert json.loads(done.stdout)["added"] == len(STRANGE)
        with opened(store) as memory:
            held = {t.external_id: t.text for t in memory.turns(namespace=NS) if t.external_id}
        assert held == STRANGE
        assert agentmem(store, "recall", "before after").returncode == 0
        assert agentmem(store, "recall", "before after", "--json").returncode == 0
        assert agentmem(store, "export", store.parent / "out.jsonl").returncode == 0


def test_no_such_conversation_file(store: Path) -> None:
    refused(agentmem(store, "ingest", store.parent / "none.json"), "none.json", code=2)
    empty = store.parent / "empty"
    empty.mkdir()
    refused(agentmem(store, "ingest", empty), "empty", code=2)
    usable(store)


@pytest.mark.parametrize("content", ["", "nonsense", "{}", '{"kind": "turn"}', "[1, 2]", '{"agentmem": 99}'])
def test_an_import_that_is_malformed(content: str, store: Path) -> None:
    path = store.parent / "records.jsonl"
    path.write_text(content)
    refused(agentmem(store, "import", path), path.name)
    usable(store)


def test_an_import_that_was_cut_or_changed(store: Path) -> None:
    """An export is checked on import: a lost line or a changed one is noticed, and nothing of it is half imported."""
    path = store.parent / "out.jsonl"
    assert agentmem(store, "export", path).returncode == 0
    lines = path.read_text().splitlines(keepends=True)
    for broken in (lines[:-1], lines[: len(lines) // 2], [*lines[:-1], lines[-1][: len(lines[-1]) // 2]]):
        path.write_text("".join(broken))
        other = store.parent / "other.db"
        refused(agentmem(other, "import", path), path.name)
        if other.exists():
            with opened(other) as memory:
                assert memory.stats(namespace=NS).turns == 0
            for file in store.parent.glob("other.db*"):
                file.unlink()


@pytest.mark.parametrize("kind", ["missing", "text", "truncated", "foreign", "itself"])
def test_a_restore_from_what_is_no_backup(kind: str, store: Path) -> None:
    path = store.parent / "backup.db"
    if kind == "text":
        text_file(path)
    elif kind == "truncated":
        path.write_bytes(store.read_bytes()[:9000])
    elif kind == "foreign":
        other_database(path)
    elif kind == "itself":
        path = store
    refused(agentmem(store, "restore", path, "--yes"))
    usable(store)


# -- settings and use after the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("AGENTMEM_RECALL_ITEMS", "many"),
        ("AGENTMEM_CHUNK_TURNS", "0"),
        ("AGENTMEM_BUSY_TIMEOUT_SECONDS", "-1"),
        ("AGENTMEM_RETENTION_DAYS", "-3"),
        ("AGENTMEM_NAMESPACE", "a//b"),
        ("AGENTMEM_STORE", "gopher://nowhere"),
    ],
)
def test_an_impossible_setting(name: str, value: str, tmp_path: Path) -> None:
    done = cli("recall", "cellar", home=tmp_path, env={name: value})
    refused(done)


def test_a_broken_settings_file(tmp_path: Path) -> None:
    for content in ("recall_items = ", "recall_itms = 5\n", "recall_items = 'many'\n", "\xff"):
        path = tmp_path / ".config" / "agentmem" / "config.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode("latin-1"))
        refused(cli("recall", "cellar", home=tmp_path), str(path), code=2)


def test_use_after_close(store: Path) -> None:
    memory = opened(store)
    memory.close()
    memory.close()
    for call in (lambda: memory.observe("user", "late", namespace=NS), lambda: memory.turns(namespace=NS)):
        with pytest.raises(StoreClosedError):
            call()
    with pytest.raises(StoreError):
        memory.recall("cellar", namespace=NS, wait=0)
    usable(store)


def test_a_store_that_is_taken_away_while_open(store: Path) -> None:
    """Moved or deleted under an open memory: an error rather than writing to nowhere."""
    with opened(store) as memory:
        for path in store.parent.glob("memory.db*"):
            path.rename(path.with_name("moved-" + path.name))
        with pytest.raises(StoreError):
            memory.observe("user", "to nowhere", namespace=NS)
    moved = store.with_name("moved-memory.db")
    with opened(moved) as memory:
        assert memory.stats(namespace=NS).turns == 200


def test_dates_without_a_zone_are_kept_as_floating(store: Path) -> None:
    with opened(store) as memory:
        turn = memory.observe("user", "some day", namespace=NS, occurred_at=datetime(2024, 5, 1, 9, 30))
        assert (turn.zone, turn.occurred_at) == ("floating", datetime(2024, 5, 1, 9, 30, tzinfo=UTC))
