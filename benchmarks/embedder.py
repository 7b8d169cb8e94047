"""The bundled embedder against sentence-transformers with the same model, taking turns on the same texts.

`python benchmarks/embedder.py`, with OMP_NUM_THREADS=1 for one thread each. On a busy machine only the CPU seconds say
something, and they count waiting threads too.
"""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from functools import partial

import numpy as np

from agentmem.embed import SentenceTransformersEmbedder, load_embedder
from agentmem.minilm import model_folder

TEXT = "we went to the lake with our dog and it rained on Sunday so Ben made soup for five people who came late"


def texts(count: int) -> list[str]:
    """Utterances of 5 to 60 words."""
    words, chance = TEXT.split(), random.Random(7)
    return [" ".join(chance.choices(words, k=chance.randint(5, 60))) for _ in range(count)]


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds on the clock, and of the processors."""
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def main(rounds: int = 4, count: int = 400) -> None:
    loading = timed(load_embedder)
    own = load_embedder()
    reference_loading = timed(lambda: SentenceTransformersEmbedder(str(model_folder())))
    reference = SentenceTransformersEmbedder(str(model_folder()))
    print(f"load: {loading[0]:.2f} s ({loading[1]:.2f} s CPU) against {reference_loading[0]:.2f} s")
    sample = texts(count)
    print(f"greatest difference: {np.abs(own.encode(sample) - reference.encode(sample)).max():.1e}")
    ratios = []
    for _ in range(rounds):
        (wall, cpu), (their_wall, their_cpu) = (timed(partial(e.encode, sample)) for e in (own, reference))
        ratios.append((their_wall / wall, their_cpu / cpu))
        print(f"{count / wall:.0f} texts/s against {count / their_wall:.0f}; CPU {cpu:.2f} s against {their_cpu:.2f} s")
    wall, cpu = map(statistics.median, zip(*ratios, strict=True))
    print(f"ratio: {wall:.2f} on the clock, {cpu:.2f} of CPU")
    questions = [f"When did Ann move to Lisbon with her {n} cats and the dog?" for n in range(60)]
    wall, cpu = map(statistics.median, zip(*(timed(partial(own.encode, [q])) for q in questions), strict=True))
    print(f"a question: {wall * 1000:.1f} ms ({cpu * 1000:.1f} ms CPU)")


if __name__ == "__main__":
    main()
