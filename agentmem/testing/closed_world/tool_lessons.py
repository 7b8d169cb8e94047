"""Tools: called where one is offered that the question asks for, and their results used."""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from agentmem.prompt import block, memory_line, messages
from agentmem.testing.closed_world.lessons import Lesson, Message, Plan, memory_lines, memory_of
from agentmem.testing.closed_world.scenes import invent_facts, invent_people, tell, times
from agentmem.testing.closed_world.world import ATTRIBUTES, NOTED, UNKNOWN, WEATHER, Fact, question

_CITIES = next(attribute for attribute in ATTRIBUTES if attribute.name == "city").values
FOUND_NOTHING = "Nothing in memory bears on that."


FORGOTTEN, KEPT = "It is forgotten.", "It is still in memory."


def _tool(name: str, argument: str, description: str, schema: Message | None = None) -> Message:
    """A tool with one argument, a text where no schema is given, as the API has it."""
    parameters = {"type": "object", "properties": {argument: schema or {"type": "string"}}, "required": [argument]}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


TOOLS = (
    _tool("weather", "city", "The weather in a city now."),
    _tool("search_memory", "query", "Look for something in memory."),
    _tool("remember", "text", "Keep a statement in memory."),
    _tool("forget_memory", "ids", "Erase memories.", {"type": "array", "items": {"type": "string"}}),
)


def tool_use(rng: random.Random, pool: Sequence[str]) -> Lesson:
    """A conversation in which one of the tools offered is called, or none because the memory has the answer."""
    people = invent_people(rng, pool, 3)
    items = memory_lines(rng, people[:2], Plan(facts=(2, 5), own=False), {})
    now = (items[-1].time if items else times(rng, 1)[0]) + timedelta(days=rng.randrange(2, 100))
    kind = rng.choice(["weather", "search_memory", "search_memory", "remember", "forget_memory", "answer"])
    needed = {kind, "search_memory"} if kind == "forget_memory" else {kind}
    offered = [tool for tool in TOOLS if tool["function"]["name"] in needed or rng.random() < 0.6]
    rng.shuffle(offered)
    if kind == "weather":
        asked, rest = _weather(rng)
    elif kind == "search_memory":
        asked, rest = _search(rng, people)
    elif kind == "remember":
        asked, rest = _remember(rng, people)
    elif kind == "forget_memory":
        asked, rest = _forget(rng, people)
    else:
        fact = invent_facts(rng, people[2:], 1)[0]
        items.append(memory_of(rng, tell(rng, fact, now - timedelta(days=1), 0.1)))
        asked, rest = fact.question(rng.randrange(3)), [{"role": "assistant", "content": fact.answer}]
    sent = [
        {"role": {"human": "user"}.get(m.type, m.type), "content": m.content} for m in messages(items, [], asked, now)
    ]
    return Lesson((*sent, *rest), tuple(offered))


def call(name: str, **arguments: Any) -> Message:
    """The assistant's message that calls a tool, as the API has it."""
    function = {"name": name, "arguments": arguments}
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"id": f"call-{name}", "type": "function", "function": function}],
    }


def _weather(rng: random.Random) -> tuple[str, list[Message]]:
    city, found = rng.choice(_CITIES), rng.choice(WEATHER)
    asked = rng.choice(["What is the weather in {}?", "How is the weather in {}?"]).format(city)
    answer = {"role": "assistant", "content": f"The weather in {city}: {found}."}
    return asked, [call("weather", city=city), {"role": "tool", "content": found}, answer]


def _search(rng: random.Random, people: Sequence[str]) -> tuple[str, list[Message]]:
    """The third person is not in the prompt's memory; the search finds something of them, or of others only."""
    facts = invent_facts(rng, people[1:], rng.randint(1, 4))
    known = {(fact.who, fact.attribute): fact for fact in facts}
    about = rng.choice(facts) if rng.random() < 0.75 else Fact(people[2], rng.choice(ATTRIBUTES), "")
    who = people[2]
    answer = known.get((who, about.attribute))
    asked = question(who, about.attribute, rng.randrange(3))
    found = block(line for _, line in _quoted(rng, facts)) if rng.random() < 0.9 else FOUND_NOTHING
    if found == FOUND_NOTHING:
        answer = None
    reply = {"role": "assistant", "content": answer.answer if answer else UNKNOWN}
    return asked, [call("search_memory", query=asked), {"role": "tool", "content": found}, reply]


def _quoted(rng: random.Random, facts: Sequence[Fact]) -> list[tuple[str, str]]:
    """What a search shows of these facts: ids and lines."""
    shown = []
    for fact, at in zip(facts, times(rng, len(facts)), strict=True):
        number = rng.randbytes(4).hex()
        told = memory_of(rng, tell(rng, fact, at, 0.1))
        shown.append((number, f"- {number} | {memory_line(told).removeprefix('- ')}"))
    return shown


def _forget(rng: random.Random, people: Sequence[str]) -> tuple[str, list[Message]]:
    """What is to go is searched for, its id is named, and the user has the last word."""
    facts = invent_facts(rng, people, rng.randint(1, 4))
    about = rng.choice(facts)
    asked = rng.choice(["Forget this: {}", "Please forget: {}"]).format(about.statement)
    search = call("search_memory", query=about.statement)
    if rng.random() < 0.1:
        return asked, [search, {"role": "tool", "content": FOUND_NOTHING}, {"role": "assistant", "content": UNKNOWN}]
    quoted = _quoted(rng, facts)
    result, reply = rng.choice(
        [
            (f"Erased: {rng.randint(1, 3)} turns, {rng.randrange(3)} thoughts. Do not repeat what it said.", FORGOTTEN),
            ("Erased: 1 turn, 1 thought. Do not repeat what it said.", FORGOTTEN),
            ("Nothing was erased: the user said no.", KEPT),
        ]
    )
    return asked, [
        search,
        {"role": "tool", "content": block(line for _, line in quoted)},
        call("forget_memory", ids=[quoted[facts.index(about)][0]]),
        {"role": "tool", "content": result},
        {"role": "assistant", "content": reply},
    ]


def _remember(rng: random.Random, people: Sequence[str]) -> tuple[str, list[Message]]:
    (fact,) = invent_facts(rng, people, 1)
    asked = rng.choice(["Remember this: {}", "Please remember: {}"]).format(fact.statement)
    done: list[Message] = [{"role": "tool", "content": rng.choice(["Remembered.", "It is in memory already."])}]
    reply: Any = {"role": "assistant", "content": NOTED}
    return asked, [call("remember", text=fact.statement), *done, reply]
