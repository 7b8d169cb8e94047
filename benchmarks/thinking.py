"""What post-thinking takes beside the model: exchanges of invented people, and a model that answers at once.

    python benchmarks/thinking.py [--exchanges 1000] [--json]

Every person tells, one exchange each, a city, a trade and a pet, and later that they moved; a third of what is told is
told again in other words. The model's answers are worked out from the prompts, and the time for that is taken off. No
embedder: words find what is near. Printed are milliseconds of an exchange, in the queue one by one and worked off all
at once, model calls for an exchange, and the thoughts there are beside those there should be.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import tempfile
import time
from pathlib import Path
from typing import Any

from agentmem.config import Settings
from agentmem.costs import costs
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel

NS = ("people",)
CITIES = ("Oslo", "Lisbon", "Lyon", "Graz", "Turin", "Bergen", "Porto", "Basel")
TRADES = ("nurse", "baker", "pilot", "tailor", "roofer", "florist")
PETS = ("dog", "cat", "parrot", "turtle", "rabbit")
RELATIONS = {"lives in": "I live in {}.", "works as a": "I work as a {}.", "has a": "I have a {}."}
REWORDED = {"lives in": "My home is in {}.", "works as a": "I earn my bread as a {}.", "has a": "A {} is my pet."}
_SAID = re.compile(r'^(\d+) \| [^|]* \| (\w+) \(user\) \| "(.*)"$', re.MULTILINE)
_STATED = re.compile(r'^[\d-]+ \| "(\w+) (lives in|works as a|has a) (\w+)\." \| (\d+)$', re.MULTILINE)


class Model:
    """Draws what the turns say, and replaces what a person has only one of; counts the seconds that takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self, name: str, text: str) -> str:
        begun = time.perf_counter()
        said = self._thoughts(text) if name == "thoughts" else self._decisions(text)
        answer = json.dumps({"summary": "Talk."} if name == "summary" else {name: said})
        self.seconds += time.perf_counter() - begun
        return answer

    def _thoughts(self, text: str) -> list[dict[str, Any]]:
        drawn = []
        for number, who, said in _SAID.findall(text):
            for relation in RELATIONS:
                for form in (RELATIONS[relation], REWORDED[relation]):
                    found = re.fullmatch(re.escape(form).replace(r"\{\}", r"(\w+)"), said)
                    if found:
                        fields = {"head": who, "relation": relation, "tail": found[1]}
                        drawn.append({"turn": int(number), "text": f"{who} {relation} {found[1]}.", **fields})
        return drawn

    def _decisions(self, text: str) -> list[dict[str, Any]]:
        decided = []
        for block in text.split("<existing>\n")[1:]:
            existing, new = block.split("<new>\n")
            ((who, relation, _, number),) = _STATED.findall(new)
            old = [int(n) for person, held, _, n in _STATED.findall(existing) if (person, held) == (who, relation)]
            decided.append({"new": int(number), "action": "replaces" if old else "new", "existing": old, "text": ""})
        return decided


def told(count: int, seed: int = 7) -> list[tuple[str, str]]:
    """Who says what, in an order in which each tells the newest of a kind last."""
    draw = random.Random(seed)
    said: list[tuple[str, str]] = []
    number = 0
    while len(said) < count:
        who, number = f"P{number}n", number + 1
        for relation, values in zip(RELATIONS, (CITIES, TRADES, PETS), strict=True):
            first, second = draw.sample(values, 2)
            said.append((who, RELATIONS[relation].format(first)))
            if draw.random() < 0.5:
                said.append((who, REWORDED[relation].format(first)))
            if relation == "lives in":
                said.append((who, RELATIONS[relation].format(second)))
    return said[:count]


def expected(said: list[tuple[str, str]]) -> set[str]:
    """The thoughts that hold at the end."""
    model, held = Model(), dict[tuple[str, str], str]()
    for number, (who, text) in enumerate(said):
        for one in model._thoughts(f'{number} | 2024-01-01 00:00 | {who} (user) | "{text}"'):
            held[who, one["relation"]] = one["text"]
    return set(held.values())


def measure(said: list[tuple[str, str]], folder: Path, *, at_once: bool) -> dict[str, float]:
    """Remember and think, after each exchange or after all of them."""
    store, model = folder / f"{at_once}.db", Model()
    with Memory(store, embedder=None, settings=Settings(store=str(store))) as memory:
        thinker = memory.thinker(FakeChatModel([], thinking=model))
        seconds, begun = 0.0, time.process_time()
        for who, text in said:
            turn = memory.observe("user", text, namespace=NS, speaker=who, think=True)
            memory.observe("assistant", "Noted.", namespace=NS, parent_id=turn.id)
            if not at_once:
                seconds += _timed(thinker.flush)
        seconds += _timed(thinker.flush)
        worked = time.process_time() - begun
        texts = [thought.text for thought in memory.thoughts(namespace=NS)]
        with memory.backend.read() as reader:
            counted = costs(reader)
    wanted = expected(said)
    return {
        "ms_an_exchange": 1000 * (seconds - model.seconds) / len(said),
        "processor_ms_with_keeping_it": 1000 * (worked - model.seconds) / len(said),
        "calls_an_exchange": (counted["calls"] - counted.get("summaries", 0)) / len(said),
        "summaries": counted.get("summaries", 0),
        "thoughts": len(texts),
        "expected": len(wanted),
        "right": len(wanted & set(texts)) / len(wanted),
        "twice": len(texts) - len(set(texts)),
    }


def _timed(work: Any) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--exchanges", type=int, default=1000)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    said = told(given.exchanges)
    with tempfile.TemporaryDirectory() as folder:
        found = {
            name: measure(said, Path(folder), at_once=name == "all at once") for name in ("one by one", "all at once")
        }
    if given.json:
        print(json.dumps(found))
        return
    for name, figures in found.items():
        print(name, " · ".join(f"{label.replace('_', ' ')} {value:.3g}" for label, value in figures.items()))


if __name__ == "__main__":
    main()
