"""A `VectorIndex` in one collection of Qdrant.

A point is a vector with the space it is in and its id, as payload; its number is a digest of both, so that a record of
the same id in another namespace is another point. Spaces are tenants in Qdrant's sense (`is_tenant`): one collection
for all, with a graph for each (`payload_m`), and every call names the space. A space's mark is a point without a
vector, under another key, so that no search and no list of ids meets it.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cached_property
from typing import Any
from uuid import UUID

from agentmem.errors import VectorIndexError
from agentmem.interfaces import Matrix
from agentmem_qdrant.failures import Gone, told
from agentmem_qdrant.options import Options

_VECTOR, _SPACE, _MARKS = "text", "space", "marks"
_PAGE = 1000
"""Ids to ask for at once."""
_LINKS = 16
"""Of a point in its namespace's graph: Qdrant's own choice for a whole collection."""


class QdrantIndex:
    """Thread-safe. Nothing is asked of Qdrant, and its client not imported, before the first call."""

    def __init__(self, options: Options) -> None:
        self.url = options.url
        self._options = options
        self._opening = threading.Lock()
        self._opened: Any = None
        self._dimension: int | None = None
        self._shards: set[str] = set()
        # Qdrant in this process is for one thread at a time; a server is for many.
        self._alone: AbstractContextManager[Any] = threading.RLock() if options.host is None else nullcontext()

    # -- the index ----------------------------------------------------------------------------------------------

    def put(self, ids: Sequence[str], vectors: Matrix, *, space: str) -> None:
        with self._asking() as client:
            self._fit(client, int(vectors.shape[1]), make=True)
            self._have_shard(client, space)
            points = self._models.Batch(
                ids=[_point(space, id_) for id_ in ids],
                vectors={_VECTOR: vectors.tolist()},
                payloads=[{_SPACE: space, "id": id_} for id_ in ids],
            )
            client.upsert(points=points, **self._writing(space))

    def remove(self, ids: Sequence[str], *, space: str) -> None:
        with self._asking(or_nothing=True) as client:
            client.delete(points_selector=[_point(space, id_) for id_ in ids], **self._writing(space))

    def search(self, vector: Matrix, k: int, *, space: str) -> list[str]:
        with self._asking() as client:
            if not self._fit(client, len(vector)):
                raise VectorIndexError(f"{self._where}: it is not there any more; it is made anew behind the answers")
            found = client.query_points(
                query=vector.tolist(),
                using=_VECTOR,
                query_filter=self._among(_SPACE, space),
                limit=k,
                with_payload=["id"],
                **self._reading(space),
            )
            return [point.payload["id"] for point in found.points]

    def ids(self, *, space: str) -> Iterator[str]:
        start: Any = None
        while True:
            points: list[Any] = []
            with self._asking(or_nothing=True) as client:
                points, start = client.scroll(
                    scroll_filter=self._among(_SPACE, space),
                    limit=_PAGE,
                    offset=start,
                    with_payload=["id"],
                    **self._reading(space, sure=True),
                )
            yield from (point.payload["id"] for point in points)
            if not points or start is None:
                return

    def mark(self, *, space: str) -> str | None:
        found: list[Any] = []
        with self._asking(or_nothing=True) as client:
            found = client.retrieve(ids=[_point(_MARKS, space)], **self._reading(space, sure=True))
        return found[0].payload["mark"] if found else None

    def set_mark(self, mark: str, *, space: str) -> None:
        with self._asking(or_nothing=True) as client:
            payload = {_MARKS: space, "mark": mark}
            point = self._models.PointStruct(id=_point(_MARKS, space), vector={}, payload=payload)
            client.upsert(points=[point], **self._writing(space))

    def drop(self, *, space: str) -> None:
        with self._asking(or_nothing=True) as client:
            if self._options.by_namespace:
                self._shards.discard(space)
                client.delete_shard_key(shard_key=space)
                return
            for key in (_SPACE, _MARKS):
                selector = self._models.FilterSelector(filter=self._among(key, space))
                client.delete(points_selector=selector, **self._writing(space))

    def close(self) -> None:
        with self._opening, self._alone:
            if self._opened is not None:
                self._opened.close()
                self._opened = None

    # -- the collection -----------------------------------------------------------------------------------------

    @contextmanager
    def _asking(self, *, or_nothing: bool = False) -> Iterator[Any]:
        """The collection, for one call; what goes wrong becomes one line. With `or_nothing` the call ends without a
        word where there is no collection: of what is not there, nothing is held."""
        try:
            with self._alone, told(self._where):
                yield _Collection(self._client(), self._options.collection)
        except Gone:
            self._dimension = None
            self._shards.clear()
            if not or_nothing:
                raise

    @property
    def _where(self) -> str:
        return f"Qdrant's collection {self._options.collection!r} at {self.url.partition('?')[0]}"

    def _client(self) -> Any:
        from qdrant_client import QdrantClient

        with self._opening:
            if self._opened is None:
                with warnings.catch_warnings():
                    # A key that goes over HTTP: so the URL says, and the README says what to say instead.
                    warnings.simplefilter("ignore", UserWarning)
                    self._opened = QdrantClient(**self._options.client())
            return self._opened

    @cached_property
    def _models(self) -> Any:
        from qdrant_client import models

        return models

    def _fit(self, client: Any, dimension: int, *, make: bool = False) -> bool:
        """Whether the collection is there; `make` it otherwise. Raises VectorIndexError where it is for others."""
        if self._dimension is None:
            if client.collection_exists():
                self._dimension = self._dimension_of(client.get_collection())
            elif make:
                self._make(client, dimension)
                self._dimension = dimension
            else:
                return False
        if self._dimension != dimension:
            raise VectorIndexError(
                f"{self._where}: it is for vectors of {self._dimension} numbers, the embedder's have {dimension}; "
                "name another one (?collection=NAME)"
            )
        return True

    def _dimension_of(self, collection: Any) -> int:
        kinds = collection.config.params.vectors
        if not isinstance(kinds, dict) or set(kinds) != {_VECTOR}:
            raise VectorIndexError(f"{self._where}: it is not agentmem's; name another one (?collection=NAME)")
        return int(kinds[_VECTOR].size)

    def _make(self, client: Any, dimension: int) -> None:
        """A collection with a graph for each space, none over all. Of two processes one is refused, and finds it there
        the next time."""
        models, options = self._models, self._options
        vector = models.VectorParams(size=dimension, distance=models.Distance.DOT, on_disk=True)
        client.create_collection(
            vectors_config={_VECTOR: vector},
            hnsw_config=models.HnswConfigDiff(m=0, payload_m=_LINKS),
            shard_number=options.shards,
            replication_factor=options.replicas,
            write_consistency_factor=options.write_consistency,
            sharding_method=models.ShardingMethod.CUSTOM if options.by_namespace else None,
        )
        with warnings.catch_warnings():
            # In this process it needs no index of the payload, and says so.
            warnings.simplefilter("ignore")
            tenant = models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True)
            client.create_payload_index(field_name=_SPACE, field_schema=tenant)
            client.create_payload_index(field_name=_MARKS, field_schema=models.PayloadSchemaType.KEYWORD)

    def _have_shard(self, client: Any, space: str) -> None:
        """Where each namespace has a part of its own: see that it is there."""
        if not self._options.by_namespace or space in self._shards:
            return
        self._shards = {str(key.key) for key in client.list_shard_keys().shard_keys or ()}
        if space not in self._shards:
            client.create_shard_key(shard_key=space)

    def _among(self, key: str, space: str) -> Any:
        match = self._models.MatchValue(value=space)
        return self._models.Filter(must=[self._models.FieldCondition(key=key, match=match)])

    def _writing(self, space: str) -> dict[str, Any]:
        """A write is done when it shows, and in the same order on every machine that holds it."""
        return {"wait": True, "ordering": self._models.WriteOrdering.STRONG, **self._part(space)}

    def _reading(self, space: str, *, sure: bool = False) -> dict[str, Any]:
        """Asked of one machine that holds it, or, to be `sure`, of most of them."""
        return {"consistency": "majority" if sure and (self._options.replicas or 1) > 1 else None, **self._part(space)}

    def _part(self, space: str) -> dict[str, Any]:
        return {"shard_key_selector": space} if self._options.by_namespace else {}


class _Collection:
    """A client's methods, of one collection."""

    def __init__(self, client: Any, name: str) -> None:
        self._client, self._name = client, name

    def __getattr__(self, method: str) -> Any:
        def call(**given: Any) -> Any:
            return getattr(self._client, method)(collection_name=self._name, **given)

        return call


def _point(space: str, id_: str) -> str:
    digest = hashlib.blake2b(f"{space}\n{id_}".encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return str(UUID(bytes=digest))
