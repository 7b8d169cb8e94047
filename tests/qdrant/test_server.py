"""What a server is asked, and what its refusals become. It answers as Qdrant's API does and holds nothing: looked at
are the requests, which the client in this process does not make."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agentmem import plugins
from agentmem.config import load_settings
from agentmem.doctor import examine
from agentmem.errors import PluginError, SettingsError, VectorIndexError
from agentmem.memory import Memory
from agentmem_qdrant import open_index
from agentmem_qdrant.index import QdrantIndex
from agentmem_qdrant.options import KEY, read_url
from tests.integration.support import HashEmbedder
from tests.qdrant.support import NS

SPACE = "a" * 32
VECTOR = np.eye(4, dtype=np.float32)[:1]


class Pretended(ThreadingHTTPServer):
    """Keeps requests as (method, path, query, body)."""

    def __init__(self, key: str | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = key
        self.asked: list[tuple[str, str, str, Any]] = []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_port}"

    def body(self, method: str, path: str) -> Any:
        """Of the last such request."""
        return [body for m, p, _, body in self.asked if (m, p) == (method, path)][-1]

    def query(self, method: str, path: str) -> str:
        return [query for m, p, query, _ in self.asked if (m, p) == (method, path)][-1]


class _Handler(BaseHTTPRequestHandler):
    server: Pretended

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else None
        path, _, query = self.path.partition("?")
        self.server.asked.append((self.command, path, query, body))
        if self.server.key is not None and self.headers.get("api-key") != self.server.key:
            self._send(401, {"status": {"error": "Must provide an API key or an Authorization bearer token"}})
            return
        results: dict[str, Any] = {"exists": {"exists": False}, "query": {"points": []}, "points": []}
        results["shards"] = {"shard_keys": []} if self.command == "GET" else True
        written = {"operation_id": 1, "status": "completed"}
        changed = (self.command == "PUT" and path.endswith(("points", "index"))) or path.endswith("points/delete")
        result = written if changed else results.get(path.rpartition("/")[2], True)
        self._send(200, {"result": result, "status": "ok", "time": 0.0})

    def _send(self, status: int, content: Any) -> None:
        data = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_DELETE = _answer

    def log_message(self, *_: Any) -> None:
        """Not on the terminal."""


@pytest.fixture
def pretended() -> Iterator[Pretended]:
    server = Pretended()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def index(pretended: Pretended) -> Iterator[Callable[[str], QdrantIndex]]:
    opened: list[QdrantIndex] = []

    def make(options: str = "") -> QdrantIndex:
        opened.append(QdrantIndex(read_url(f"qdrant://{pretended.address}{options}")))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


def test_a_collection_is_made_for_tenants(pretended: Pretended, index: Callable[[str], QdrantIndex]) -> None:
    index("").put(["id"], VECTOR, space=SPACE)
    made = pretended.body("PUT", "/collections/agentmem")
    assert made["vectors"]["text"]["size"] == 4
    assert made["vectors"]["text"]["distance"] == "Dot"
    assert (made["hnsw_config"]["m"], made["hnsw_config"]["payload_m"]) == (0, 16)
    indexes = [body for method, path, _, body in pretended.asked if path.endswith("/index") and method == "PUT"]
    assert indexes[0] == {"field_name": "space", "field_schema": {"type": "keyword", "is_tenant": True}}
    assert pretended.query("PUT", "/collections/agentmem/points") == "wait=true&ordering=strong"
    points = pretended.body("PUT", "/collections/agentmem/points")["batch"]
    assert points["payloads"] == [{"space": SPACE, "id": "id"}]


def test_a_cluster_s_options_reach_it(pretended: Pretended, index: Callable[[str], QdrantIndex]) -> None:
    made = index("?collection=mine&replicas=3&write_consistency=2&shards=6&shard_by=namespace")
    made.put(["id"], VECTOR, space=SPACE)
    body = pretended.body("PUT", "/collections/mine")
    assert (body["replication_factor"], body["write_consistency_factor"], body["shard_number"]) == (3, 2, 6)
    assert body["sharding_method"] == "custom"
    assert pretended.body("PUT", "/collections/mine/shards")["shard_key"] == SPACE
    assert pretended.body("PUT", "/collections/mine/points")["shard_key"] == SPACE
    made.search(VECTOR[0], 5, space=SPACE)
    asked = pretended.body("POST", "/collections/mine/points/query")
    assert asked["shard_key"] == SPACE
    assert asked["filter"]["must"] == [{"key": "space", "match": {"value": SPACE}}]
    made.mark(space=SPACE)
    assert "consistency=majority" in pretended.query("POST", "/collections/mine/points")
    made.remove(["id"], space=SPACE)
    assert pretended.query("POST", "/collections/mine/points/delete") == "wait=true&ordering=strong"
    assert pretended.body("POST", "/collections/mine/points/delete")["shard_key"] == SPACE
    made.drop(space=SPACE)
    assert pretended.body("POST", "/collections/mine/shards/delete") == {"shard_key": SPACE}


def test_a_key_comes_from_the_environment(pretended: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    pretended.key = "secret"
    for key in (None, "wrong"):
        if key is not None:
            monkeypatch.setenv(KEY, key)
        with pytest.raises(VectorIndexError, match=f"API key is missing or wrong; set the variable {KEY}") as caught:
            QdrantIndex(read_url(f"qdrant://{pretended.address}")).mark(space=SPACE)
        assert "\n" not in str(caught.value)
    monkeypatch.setenv(KEY, "secret")
    assert QdrantIndex(read_url(f"qdrant://{pretended.address}")).mark(space=SPACE) is None


def test_a_server_that_is_not_there_is_a_note_and_a_finding(tmp_path: Path) -> None:
    settings = load_settings(index="qdrant://127.0.0.1:1", store=str(tmp_path / "store.db"))
    with Memory(settings=settings, embedder=HashEmbedder()) as memory:
        turn = memory.observe("user", "the kite is vermilion", namespace=NS)
        memory.flush()
        found = memory.recall("the kite is vermilion", namespace=NS)
        assert [item.id for item in found.items] == [turn.id]
        assert "at qdrant://127.0.0.1:1: it cannot be reached" in found.notes[0]
        assert memory.forget([turn.id], namespace=NS).erased == "pending"
    findings = examine({"index": "qdrant://127.0.0.1:1", "store": str(tmp_path / "store.db")})
    (finding,) = [finding for finding in findings if finding.name == "index"]
    assert finding.state == "fault"
    assert "cannot be reached" in finding.detail
    assert "\n" not in finding.detail


# The client leaves its lock file open where it could not lock it.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_folder_that_another_process_has_open_is_one_line(tmp_path: Path) -> None:
    first, second = (QdrantIndex(read_url(f"qdrant://{tmp_path}/q")) for _ in range(2))
    first.put(["id"], VECTOR, space=SPACE)
    with pytest.raises(VectorIndexError, match="another process has this folder open"):
        second.mark(space=SPACE)
    first.close()
    second.put(["other"], VECTOR, space=SPACE)
    second.close()


def test_a_collection_of_somebody_else_s_is_refused(tmp_path: Path) -> None:
    from qdrant_client import QdrantClient, models

    client = QdrantClient(path=str(tmp_path / "q"))
    client.create_collection("agentmem", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    client.close()
    index = QdrantIndex(read_url(f"qdrant://{tmp_path}/q"))
    with pytest.raises(VectorIndexError, match=r"not agentmem's; name another one \(\?collection=NAME\)"):
        index.put(["id"], VECTOR, space=SPACE)
    index.close()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("qdrant://", "name a server"),
        ("qdrant:", "name a server"),
        ("qdrant:///", "name a server"),
        ("qdrant://host/path", "HOST:PORT"),
        ("qdrant://host:port", "Port could not be cast"),
        ("qdrant://:key@host", KEY),
        ("qdrant://host?colour=blue", "no option 'colour'"),
        ("qdrant://host?replicas=none", "replicas is a number"),
        ("qdrant://host?shards=0", "shards is a number"),
        ("qdrant://host?https=yes", "https is true or false"),
        ("qdrant://host?shard_by=session", "shard_by is namespace"),
    ],
)
def test_a_url_that_says_what_cannot_be_is_refused_at_once(url: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=said) as caught:
        Memory(tmp_path / "store.db", settings=load_settings(index=url), embedder=None)
    assert "\n" not in str(caught.value)
    assert "key@" not in str(caught.value)


def test_it_is_listed_and_found_by_its_scheme() -> None:
    (info,) = [info for info in plugins.installed_plugins() if info.name == "qdrant"]
    assert (info.version, info.indexes, info.backends, info.error) == ("0.1.0", ("qdrant",), {}, None)
    assert plugins.open_index("qdrant:memory", load_settings()).url == "qdrant:memory"
    assert open_index("qdrant://host", settings=load_settings()).url == "qdrant://host"


def test_an_index_that_no_plug_in_brings_names_the_plug_in(tmp_path: Path) -> None:
    with pytest.raises(PluginError, match="no vector index for 'milvus': install agentmem-milvus, or set `index`"):
        Memory(tmp_path / "store.db", settings=load_settings(index="milvus://host"), embedder=None)
