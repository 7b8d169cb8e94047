"""Everyday questions, memory calls and tool calls that have nothing to do with anybody's memory: what a model could do
before it learned something, and must still be able to do."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import pairwise, product
from typing import TypeAlias

from agentmem.consolidation.calls import Call, as_sent, tool
from agentmem.types import NewTurn, Role

Pair: TypeAlias = tuple[str, str]
"""What the user says, and the answer."""

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = ("January", "February", "March", "April", "May", "June", "July", "August", "September", "October", "November",
           "December")  # fmt: skip
_OPPOSITES = ("hot cold", "big small", "empty full", "early late", "open closed", "wet dry", "dark light", "young old",
              "fast slow", "near far", "loud quiet", "up down", "left right", "day night", "rich poor", "true false",
              "hard soft", "high low", "clean dirty", "strong weak")  # fmt: skip
_CAPITALS = ("Norway Oslo", "France Paris", "Italy Rome", "Spain Madrid", "Japan Tokyo", "Egypt Cairo", "Peru Lima",
             "Portugal Lisbon", "Greece Athens", "Austria Vienna", "Poland Warsaw", "Kenya Nairobi", "Cuba Havana",
             "Ireland Dublin", "Finland Helsinki", "Sweden Stockholm", "Germany Berlin")  # fmt: skip
_KNOWN = (
    ("How many minutes are in an hour?", "60"),
    ("Is ice colder than steam?", "yes"),
    ("Which season follows spring?", "summer"),
    ("What do bees make?", "honey"),
    ("Which letter comes before Q?", "P"),
    ("How many legs has a spider?", "8"),
    ("Which is larger, the sun or the moon?", "sun"),
)
_OPEN = (
    "Hello! How are you?",
    "Name three colours.",
    "Write one sentence about the sea.",
    "Translate 'good morning' into French.",
    "Name an animal that can fly.",
    "Write a line of a poem about rain.",
    'Answer in JSON: {"colour": …} for grass.',
    "Spell the word 'window' backwards.",
    "Give me a synonym of 'quick'.",
    "Explain in one sentence what a map is for.",
    "Count from one to five.",
    "Name a fruit that is yellow.",
    "Say thank you politely.",
    "Name two instruments with strings.",
    "Write a title for a story about a lost key.",
    "Turn this into a question: It is late.",
    "Name a language that is spoken in Brazil.",
    "Write a shopping list of three things.",
    "What is water made of?",
)


def general(count: int, rng: random.Random) -> list[Sequence[Pair]]:
    """At most so many questions, each with what a right answer says, "" where that cannot be told; none twice."""
    found = list(_questions())
    return [[pair] for pair in rng.sample(found, min(count, len(found)))]


def _questions() -> Iterator[Pair]:
    """About six hundred; those with a number beyond what a small model counts to are no loss to it."""
    yield from ((f"What is {a} plus {b}?", str(a + b)) for a, b in product(range(2, 22), repeat=2))
    yield from ((f"What is {a} times {b}?", str(a * b)) for a, b in product(range(2, 13), repeat=2))
    for row in (_DAYS, _MONTHS):
        yield from ((f"What comes after {one}?", other) for one, other in pairwise(row))
        yield from ((f"What comes before {other}?", one) for one, other in pairwise(row))
    for one, other in map(str.split, _OPPOSITES):
        yield f"What is the opposite of '{one}'?", other
        yield f"What is the opposite of '{other}'?", one
    for country, city in map(str.split, _CAPITALS):
        yield f"What is the capital of {country}?", city
        yield f"Of which country is {city} the capital?", country
    yield from _KNOWN
    yield from ((said, "") for said in _OPEN)


# -- memory calls and tool calls ------------------------------------------------------------------------------------

_NAMES = (
    "Anna",
    "Boris",
    "Chloe",
    "David",
    "Elsa",
    "Farid",
    "Gita",
    "Henry",
    "Ines",
    "Jonas",
    "Kirsten",
    "Luis",
    "Mira",
    "Nils",
    "Olga",
    "Pavel",
    "Ruth",
    "Sami",
)
_CITIES = (
    "Oslo",
    "Lisbon",
    "Vienna",
    "Dublin",
    "Prague",
    "Athens",
    "Helsinki",
    "Madrid",
    "Cairo",
    "Lima",
    "Nairobi",
    "Toronto",
)
_STATEMENTS = (
    "My friend {who} moved to {city} last week.",
    "{who} and I are going to {city} in May.",
    "My colleague {who} was born in {city}.",
)
_TOOLS = (
    tool("weather", "The weather in a city now.", city="the city"),
    tool("search_memory", "Look for something in memory.", query="what to look for"),
    tool("remember", "Keep a statement in memory.", text="the statement"),
)
_FIRST = datetime(2024, 1, 8, 9, 30)


def calls(count: int, rng: random.Random) -> list[Call]:
    """So many memory calls and tool calls, of all kinds in turn."""
    kinds: Sequence[Callable[[random.Random], Call]] = (_extract, _tool_call, _summarise, _tool_call)
    return [kinds[n % len(kinds)](rng) for n in range(count)]


def _told(rng: random.Random) -> tuple[list[NewTurn], str, str]:
    """An exchange, and the name and the place that it tells of."""
    said, who, city = rng.choice(_STATEMENTS), rng.choice(_NAMES), rng.choice(_CITIES)
    at = _moment(rng)
    return [_turn("user", said.format(who=who, city=city), at), _turn("assistant", "How nice.", at)], who, city


def _moment(rng: random.Random) -> datetime:
    return _FIRST + timedelta(days=rng.randrange(700), minutes=rng.randrange(600))


def _turn(role: Role, text: str, at: datetime) -> NewTurn:
    return NewTurn(role=role, parts=({"type": "text", "text": text},), occurred_at=at)


def _extract(rng: random.Random) -> Call:
    from agentmem.thinking.asking import EXTRACT, extract_messages

    turns, _, city = _told(rng)
    return Call(as_sent(extract_messages([turns])), city, schema=EXTRACT.schema)


def _summarise(rng: random.Random) -> Call:
    from agentmem.thinking.asking import SUMMARISE, summarise_messages

    (first, who, _), (second, _, _) = _told(rng), _told(rng)
    return Call(as_sent(summarise_messages([*first, *second])), who, schema=SUMMARISE.schema)


def _tool_call(rng: random.Random) -> Call:
    from agentmem.prompt import messages

    who, city = rng.choice(_NAMES), rng.choice(_CITIES)
    asked, name = rng.choice(
        [
            (f"What is the weather in {city} now?", "weather"),
            (f"Search your memory for what I said about {who} and {city}.", "search_memory"),
            (f"Please remember this: {rng.choice(_STATEMENTS).format(who=who, city=city)}", "remember"),
        ]
    )
    return Call(as_sent(messages([], [], asked, _moment(rng))), name, tools=tuple(rng.sample(_TOOLS, len(_TOOLS))))
