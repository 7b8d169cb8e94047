"""Memory calls and tool calls: what counts as one, and who asks for them."""

from __future__ import annotations

import json
import random

import pytest

from agentmem.consolidation import everyday
from agentmem.consolidation.calls import called, keeps, tool
from agentmem.consolidation.curriculum import Item
from agentmem.consolidation.encoding import Encoder, load_encoder
from agentmem.consolidation.marking import says, well_formed
from agentmem.consolidation.writing import UNKNOWN, Templates, Writer
from agentmem.testing import closed_world
from agentmem.testing.closed_world_writer import ClosedWorldWriter
from agentmem.thinking.asking import SUMMARISE

TOOLS = (tool("weather", "The weather.", city="where"), tool("remember", "Keep it.", text="what"))
WRITERS: tuple[Writer, ...] = (Templates(), ClosedWorldWriter())


@pytest.mark.parametrize(
    ("answer", "name"),
    [
        ('<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>', "weather"),
        ('{"name": "remember", "parameters": {"text": "tea"}}', "remember"),
        ('{"name": "weather", "arguments": {"town": "Oslo"}}', None),
        ('{"name": "weather", "arguments": {"city": 3}}', None),
        ('{"name": "erase", "arguments": {}}', None),
        ('{"name": "weather", "arguments": {"city": "Os', None),
        ("It is sunny in Oslo.", None),
    ],
)
def test_a_call_names_a_tool_that_is_offered_and_its_arguments(answer: str, name: str | None) -> None:
    assert called(answer, TOOLS) == name


def test_a_call_is_right_where_it_is_of_the_right_tool() -> None:
    item = Item("calls", (), "", "weather", tools=TOOLS)
    other = '{"name": "remember", "arguments": {"text": "Oslo"}}'
    assert says('{"name": "weather", "arguments": {"city": "Oslo"}}', item, UNKNOWN)
    assert well_formed(other, item)
    assert not says(other, item, UNKNOWN)
    assert not says("weather", item, UNKNOWN)


def test_a_memory_call_is_right_where_it_keeps_its_schema_and_says_what_was_told() -> None:
    item = Item("calls", (), "", "Oslo", schema=SUMMARISE.schema)
    assert says('{"summary":"Anna moved to Oslo."}', item, UNKNOWN)
    assert not says('{"summary":""}', item, UNKNOWN)
    assert well_formed('{"summary":""}', item)
    assert not well_formed('{"gist":"Oslo"}', item)
    assert not keeps("Anna moved to Oslo.", SUMMARISE.schema)


@pytest.mark.parametrize("writer", WRITERS, ids=lambda writer: writer.name)
def test_every_kind_of_call_is_asked_for(writer: Writer) -> None:
    asked = writer.calls(12, random.Random(1))
    assert len(asked) == 12
    assert all(bool(call.tools) != (call.schema is not None) for call in asked)
    names = {t["function"]["name"] for call in asked for t in call.tools}
    assert {call.expected for call in asked if call.tools} <= names
    assert len({json.dumps(call.schema) for call in asked if call.schema}) >= 2
    assert writer.calls(12, random.Random(1)) == asked


def test_everyday_questions_are_enough_for_a_bound_and_none_is_there_twice() -> None:
    asked = [pair for (pair,) in everyday.general(10_000, random.Random(0))]
    assert len({question for question, _ in asked}) == len(asked) > 450
    answers = dict(asked)
    assert answers["What is 7 times 6?"] == "42"
    assert answers["What comes before Tuesday?"] == "Monday"
    assert answers["Name three colours."] == ""


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return load_encoder(str(closed_world.path()))


def test_the_models_own_template_offers_the_tools(encoder: Encoder) -> None:
    asked = ({"role": "user", "content": "What is the weather in Oslo?"},)
    answer = '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call>'
    row = encoder.row(asked, answer, TOOLS)
    assert row.ids[: row.start] == encoder.prompt(asked, TOOLS) != encoder.prompt(asked)
    assert row.answer[-1] == encoder.end
    assert encoder.words([*row.answer, encoder.pad, encoder.pad]) == answer
