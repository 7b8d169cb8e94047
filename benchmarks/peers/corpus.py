"""The corpora: one made up from a seed, or LoCoMo's conversations embedded by the bundled embedder."""

from __future__ import annotations

import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from platformdirs import user_cache_path

from benchmarks.bench import texts
from benchmarks.peers.protocol import Corpus, Item, Query, write

Matrix = NDArray[np.float32]

DIMENSION = 384
EXTRA = 3000
"""Items to add singly: more than any store adds before it is killed."""
TURNS = 30
"""A session's turns."""
_TOPICS = 60
_ADVERSARIAL = 5
# Shares that give cosines like all-MiniLM-L6-v2's on talk: 0.1 between any two, 0.5 inside a session.
_COMMON, _TOPIC, _SESSION, _OWN = 0.3, 0.6, 0.3, 0.7


def synthetic(folder: Path, count: int, queries: int = 200, extra: int = EXTRA) -> Corpus:
    """`count` made-up items without labels, and `extra` to add singly.

    A query is a few words of an item, with a vector near to its own.
    """
    said = texts(count + extra)
    vectors, chance = _vectors(len(said)), random.Random(7)
    sources = [chance.randrange(count) for _ in range(queries)]
    asked = [Query(f"{' '.join(_some_words(said[n], chance))} {number}?") for number, n in enumerate(sources)]
    near = _unit(0.8 * vectors[sources] + 0.6 * _random(queries, seed=9))
    items = [Item(f"i{n}", text, f"s{n // TURNS}") for n, text in enumerate(said)]
    return write(folder, items[:count], items[count:], asked, np.concatenate([vectors, near]).tobytes())


def _some_words(text: str, chance: random.Random) -> list[str]:
    words = text.split()
    return chance.sample(words, min(len(words), 6))


def _vectors(count: int) -> Matrix:
    chance = np.random.default_rng(7)
    sessions = count // TURNS + 1
    topic_of = chance.integers(0, _TOPICS, sessions)
    session = _TOPIC * _random(_TOPICS, seed=3)[topic_of] + _SESSION * _random(sessions, seed=4)
    own = _OWN * _random(count, seed=5) + _COMMON * _random(1, seed=6)
    return _unit(own + session[np.arange(count) // TURNS])


def _random(count: int, seed: int) -> Matrix:
    return _unit(np.random.default_rng(seed).standard_normal((count, DIMENSION)))


def _unit(vectors: NDArray[np.floating]) -> Matrix:
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), np.float32)


def locomo(folder: Path, data: Path) -> Corpus:
    """All conversations under `data` in one store, with their labelled questions; vectors are kept in the user's cache.

    Category 5 (unanswerable) is left out. What is added singly is made up. Raises ValueError where there is none.
    """
    files = sorted(data.glob("conv-*.json"))
    items = [item for file in files for item in _turns(file)]
    if not items:
        raise ValueError(f"no conv-*.json of LoCoMo in {data}")
    known = {item.key for item in items}
    asked = list({query.text: query for file in files for query in _questions(file, known)}.values())
    embedded = _embedded([item.document for item in items] + [query.text for query in asked])
    extra = [Item(f"x{n}", text, f"x{n // TURNS}") for n, text in enumerate(texts(EXTRA, seed=8))]
    made_up = _vectors(EXTRA)
    vectors = np.concatenate([embedded[: len(items)], made_up, embedded[len(items) :]])
    return write(folder, items, extra, asked, vectors.tobytes())


def _turns(file: Path) -> Iterator[Item]:
    from agentmem.ingest import read_turns

    for turn in read_turns(file):
        at = turn.occurred_at.isoformat() if turn.occurred_at else ""
        yield Item(f"{file.stem}/{turn.external_id}", turn.text.strip(), turn.session, turn.speaker or "", at)


def _questions(file: Path, known: set[str]) -> Iterator[Query]:
    for asked in json.loads(file.read_text("utf-8"))["qa"]:
        named = re.findall(r"D\d+:\d+", " ".join(asked.get("evidence") or []))
        evidence = tuple(sorted({f"{file.stem}/{name}" for name in named} & known))
        if evidence and asked["category"] != _ADVERSARIAL:
            yield Query(str(asked["question"]).strip(), evidence)


def _embedded(wanted: Sequence[str]) -> Matrix:
    """The texts' vectors, from the cache or by the bundled embedder (a minute for 5,000)."""
    from agentmem.embed import load_embedder

    digest = hashlib.sha256("\0".join(wanted).encode()).hexdigest()[:16]
    kept = user_cache_path("agentmem") / f"bench-peers-{digest}.npy"
    if not kept.exists():
        vectors = load_embedder().encode(wanted)
        kept.parent.mkdir(parents=True, exist_ok=True)
        np.save(kept, vectors)
    return np.asarray(np.load(kept), np.float32)


def exact(corpus: Corpus, found: Sequence[Sequence[str]], k: int) -> float:
    """Mean share of the found that are among the `k` nearest by cosine, of the queries that were asked."""
    row = {item.key: n for n, item in enumerate(corpus.items)}
    matrix = _matrix(corpus, [item.document for item in corpus.items])
    cosines = _matrix(corpus, [query.text for query in corpus.queries[: len(found)]]) @ matrix.T
    least = np.partition(cosines, -k, axis=1)[:, -k] - 1e-5
    hits = [
        sum(key in row and near[row[key]] >= limit for key in keys)
        for near, limit, keys in zip(cosines, least, found, strict=True)
    ]
    return float(np.mean(hits)) / k


def evidence(corpus: Corpus, found: Sequence[Sequence[str]]) -> float | None:
    """Mean share of a query's evidence among what was found, None where the corpus has no labels."""
    pairs = [(set(query.evidence), keys) for query, keys in zip(corpus.queries, found, strict=False) if query.evidence]
    return float(np.mean([len(right & set(keys)) / len(right) for right, keys in pairs])) if pairs else None


def _matrix(corpus: Corpus, wanted: Sequence[str]) -> Matrix:
    joined = b"".join(corpus.vectors[text].tobytes() for text in wanted)
    return np.frombuffer(joined, np.float32).reshape(len(wanted), corpus.dimension)
