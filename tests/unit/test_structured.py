"""Asking for JSON: the constraint, what is read from an answer, and a name for each thing that can be wrong with it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage

from agentmem.errors import ModelError
from agentmem.models.structured import Asker, Usage, conforms, read, repeats
from agentmem.testing.fake_model import FakeChatModel
from agentmem.thinking.asking import EXTRACT

SCHEMA = {
    "type": "object",
    "properties": {"notes": {"type": "array", "items": {"type": "string"}}, "kind": {"type": "string", "enum": ["a"]}},
    "required": ["notes", "kind"],
    "additionalProperties": False,
}
GOOD = {"notes": ["one"], "kind": "a"}
ASKED = [HumanMessage("notes, please")]


def said(text: str, finish: str = "stop") -> AIMessage:
    return AIMessage(text, response_metadata={"finish_reason": finish})


def ask(*script: Any, constrained: bool | None = None) -> tuple[Any, Asker]:
    asker = Asker(FakeChatModel(list(script)), constrained=constrained)
    return asker.ask(ASKED, SCHEMA, name="notes", max_tokens=50), asker


class Refused(Exception):
    def __init__(self, status: int) -> None:
        super().__init__("the server's words")
        self.status_code = status


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(GOOD),
        json.dumps(GOOD, indent=2),
        f"Here you are:\n```json\n{json.dumps(GOOD)}\n```\nAnything else?",
        f'<think>notes? {{"notes": []}}</think>\n{json.dumps(GOOD)}',
        f"they want notes {{ }} </think>{json.dumps(GOOD)}",
        f"{json.dumps(GOOD)} {json.dumps(GOOD)}",
    ],
)
def test_the_answer_is_found_whatever_stands_around_it(text: str) -> None:
    assert read(said(text), SCHEMA, 50) == (GOOD, None)


@pytest.mark.parametrize(
    ("text", "finish", "fault"),
    [
        ('{"notes": ["one", "tw', "length", "cut off"),
        ('{"notes": ["one"], "kind": "a"}', "length", "cut off"),
        ("<think>I wonder", "length", "cut off"),
        ("", "stop", "empty"),
        (" \n ", "stop", "empty"),
        ("<think>I wonder</think>", "stop", "empty"),
        ('{"notes": [' + '"I know", ' * 60, "length", "repetitive"),
        ('{"notes": [' + " \n" * 300, "length", "repetitive"),
        (json.dumps({"notes": ["x".join(map(str, range(600)))], "kind": "a"}), "stop", "over-long"),
        ("nothing to note", "stop", "not JSON"),
        ('{"notes": ["one"]', "stop", "not JSON"),
        ('["one"]', "stop", "not JSON"),
        ("{" * 3000, "stop", "repetitive"),
        ('{"notes": []}', "stop", "against the schema"),
        ('{"notes": "one", "kind": "a"}', "stop", "against the schema"),
        ('{"notes": [1], "kind": "a"}', "stop", "against the schema"),
        ('{"notes": [], "kind": "b"}', "stop", "against the schema"),
        ('{"notes": [], "kind": "a", "more": 1}', "stop", "against the schema"),
        ('{"notes": [], "kind": "a"} or {"notes": ["one"], "kind": "a"}', "stop", "against the schema"),
    ],
)
def test_every_fault_has_its_name(text: str, finish: str, fault: str) -> None:
    assert read(said(text, finish), SCHEMA, 50) == (None, fault)


@pytest.mark.parametrize(
    "text", ["ha ha ha ha ha", "a-b-" * 20, "----------", json.dumps([{"n": n} for n in range(99)])]
)
def test_what_has_a_reason_to_repeat_is_no_fault(text: str) -> None:
    assert not repeats(text)


def test_a_truth_is_no_integer() -> None:
    assert conforms(1, {"type": "integer"})
    assert not conforms(True, {"type": "integer"})


def test_the_schema_is_sent_and_the_cap() -> None:
    model = FakeChatModel([])
    reply = Asker(model).ask(EXTRACT.messages("data"), EXTRACT.schema, name=EXTRACT.name, max_tokens=50)
    assert reply.value == {"thoughts": []}
    ((name, text, sent),) = model.thought
    assert (name, text, sent["max_tokens"], sent["temperature"]) == ("thoughts", "data", 50, 0)
    assert sent["response_format"]["json_schema"] == {"name": "thoughts", "schema": EXTRACT.schema, "strict": True}


def test_tokens_are_those_that_the_server_counted() -> None:
    message = said(json.dumps(GOOD))
    message.usage_metadata = {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}
    assert ask(message)[0].usage == Usage(1, 7, 3)
    assert ask(json.dumps(GOOD))[0].usage == Usage(1, 0, 0)


def test_a_server_that_refuses_the_schema_is_asked_in_words_from_then_on() -> None:
    reply, asker = ask(Refused(400), json.dumps(GOOD), json.dumps(GOOD))
    assert (reply.value, reply.usage.calls, asker.constrained) == (GOOD, 2, False)
    assert asker.ask(ASKED, SCHEMA, name="notes", max_tokens=50).usage.calls == 1


def test_a_model_that_cannot_be_bound_to_a_schema_is_asked_in_words() -> None:
    reply, asker = ask(TypeError("unexpected keyword"), json.dumps(GOOD))
    assert (reply.value, asker.constrained) == (GOOD, False)


def test_a_server_that_takes_the_schema_is_not_doubted_later() -> None:
    reply, asker = ask(json.dumps(GOOD), Refused(400))
    assert (reply.value, asker.constrained) == (GOOD, True)
    assert asker.ask(ASKED, SCHEMA, name="notes", max_tokens=50).fault == "refused"
    assert asker.constrained


def test_a_request_that_is_refused_either_way_is_a_fault_of_the_request() -> None:
    reply, asker = ask(Refused(400), Refused(400))
    assert (reply.value, reply.fault, asker.constrained) == (None, "refused", None)


@pytest.mark.parametrize("error", [Refused(500), Refused(401), ConnectionError("gone"), TimeoutError()])
def test_a_server_that_cannot_answer_now_is_an_error(error: Exception) -> None:
    with pytest.raises(ModelError):
        ask(error, constrained=True)
    with pytest.raises(ModelError):
        ask(error)


def test_an_unknown_model_is_an_error_not_a_refusal() -> None:
    with pytest.raises(ModelError, match="no model"):
        ask(Refused(404), Refused(404))
