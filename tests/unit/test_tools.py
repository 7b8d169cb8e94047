"""Memory's own tools: what they show is quoted, what the ledger keeps of it is no content, and no model erases."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.messages import AIMessage
from langchain_core.tools import tool

from agentmem.agent import Agent
from agentmem.errors import InputError
from agentmem.memory import Memory
from agentmem.testing.fake_model import FakeChatModel, tool_call
from agentmem.tools import NAMES
from agentmem.types import ForgetPlan, Turn

NS = ("ada",)
KEY = "sk-live4f9a8b7c6d5e4f3a2b1c0d9e8f"


def talk(memory: Memory, *script: Any, **how: Any) -> tuple[Agent, FakeChatModel]:
    model = FakeChatModel(list(script))
    return Agent(memory, model, namespace=NS, memory_tools=True, **how), model


def told(memory: Memory, text: str = "My boat is called Pequod.", **fields: Any) -> Turn:
    return memory.observe("user", text, namespace=NS, session="before", **fields)


def tool_turns(memory: Memory) -> list[Turn]:
    return [turn for turn in memory.turns(namespace=NS) if turn.role == "tool"]


def edges_of(memory: Memory, turn: Turn | None) -> set[str]:
    assert turn is not None
    with memory.backend.read() as reader:
        return {edge.parent for edge in reader.edges(namespace=NS, children=[turn.id], relation="recalled")}


def everything(memory: Memory) -> str:
    thoughts = [thought.text for thought in memory.thoughts(namespace=NS, state=None)]
    return "\n".join([turn.text for turn in memory.turns(namespace=NS)] + thoughts)


# -- which there are --------------------------------------------------------------------------------------------


def test_they_are_there_only_when_asked_for(memory: Memory) -> None:
    model = FakeChatModel(["Hello."], repeat=True)
    Agent(memory, model, namespace=NS).ask("Hello?")
    assert model.tools == []
    Agent(memory, model, namespace=NS, memory_tools=True).ask("Hello?")
    assert tuple(model.tools) == NAMES


def test_a_tool_of_the_users_cannot_take_the_name_of_one(memory: Memory) -> None:
    @tool
    def remember(text: str) -> str:
        """Another one."""
        return text

    with pytest.raises(InputError, match=r"named '?remember.*name yours otherwise"):
        talk(memory, tools=[remember])


def test_without_a_model_they_are_no_trouble(memory: Memory) -> None:
    assert Agent(memory, namespace=NS, memory_tools=True).ask("I am Ada.").text == "Noted."


# -- search and open --------------------------------------------------------------------------------------------


def test_a_search_shows_quotes_with_ids_dates_and_labels(memory: Memory) -> None:
    turn = told(memory, speaker="Ada")
    memory.insert("The weather in Rome is fine.", namespace=NS, origin="tool", trusted=False)
    agent, model = talk(memory, tool_call("search_memory", query="boat called"), "Pequod.")
    agent.ask("What else?")
    result = model.requests[1][-1].text
    day = f"{turn.occurred_at:%Y-%m-%d %H:%M}"
    assert result == f'<memory>\n- {turn.id[-8:]} | {day} | turn | Ada (user) | "My boat is called Pequod."\n</memory>'


def test_what_was_found_stands_with_the_answer_so_that_forgetting_finds_it(memory: Memory) -> None:
    turn = told(memory)
    agent, _ = talk(memory, tool_call("search_memory", query="boat"), "It is said that my boat is called Pequod.")
    answer = agent.ask("Tell me of the sea.")
    assert turn.id in edges_of(memory, answer.turn)
    assert answer.turn is not None
    assert answer.turn.id in memory.plan_forget([turn.id], namespace=NS).echoes


def test_the_ledger_keeps_no_word_of_what_a_search_brought_or_was_asked(memory: Memory) -> None:
    told(memory)
    agent, _ = talk(memory, tool_call("search_memory", query="Pequod Moby"), "Found.")
    agent.ask("Tell me of the sea.")
    (kept,) = tool_turns(memory)
    assert kept.text == "search_memory: 1 found"
    assert kept.metadata == {"quotes": True}
    assert kept.id not in {item.id for item in memory.recall("search_memory found", namespace=NS).items}


def test_the_question_itself_is_not_among_what_is_found(memory: Memory) -> None:
    agent, model = talk(memory, tool_call("search_memory", query="boat"), "No.")
    agent.ask("What is my boat called?")
    assert model.requests[1][-1].text == "Nothing in memory bears on that."


def test_a_memory_can_be_opened_by_the_end_of_its_id(memory: Memory) -> None:
    first = told(memory, "Shall we sail?")
    memory.observe("assistant", "On the Pequod.", namespace=NS, session="before")
    agent, model = talk(memory, tool_call("open_chunk", id=first.id[-8:]), "Yes.")
    answer = agent.ask("And then?")
    said = model.requests[1][-1].text
    assert [line.split(" | ", 2)[2] for line in said.splitlines()[1:-1]] == [
        'turn | user | "Shall we sail?"',
        'turn | assistant | "On the Pequod."',
    ]
    assert first.id in edges_of(memory, answer.turn)


def test_a_thought_opens_where_it_came_from(memory: Memory) -> None:
    turn = told(memory)
    thought = memory.insert("Ada's boat is the Pequod.", namespace=NS, sources=[turn.id]).thought
    agent, model = talk(memory, tool_call("open_chunk", id=thought.id), "Yes.")
    agent.ask("And then?")
    assert '"My boat is called Pequod."' in model.requests[1][-1].text


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (tool_call("search_memory", query=" "), "Say what to search for."),
        (tool_call("open_chunk", id="nonsense"), "Not found: no turn or thought 'nonsense' in this namespace."),
        (tool_call("forget_memory", ids=["nonsense"]), "Nothing was erased: no turn or thought 'nonsense'"),
        (tool_call("forget_memory", ids=[]), "Nothing was erased: say which memories"),
        (tool_call("remember", text=" "), "Not remembered: an empty thought"),
        (tool_call("remember", text="x" * 501), "Not remembered: give one statement of at most 500"),
        (tool_call("remember", words="x"), "Error: "),
    ],
)
def test_what_goes_wrong_is_told_to_the_model_and_not_kept(memory: Memory, call: AIMessage, said: str) -> None:
    agent, model = talk(memory, call, "Sorry.")
    agent.ask("Go on.")
    assert model.requests[1][-1].text.startswith(said)
    (kept,) = tool_turns(memory)
    assert len(kept.text) < 40
    assert kept.metadata["quotes"] is True
    assert memory.thoughts(namespace=NS) == []


# -- remember ---------------------------------------------------------------------------------------------------


def test_what_the_model_remembers_is_its_own_untrusted_claim_on_the_users_words(memory: Memory) -> None:
    agent, model = talk(memory, tool_call("remember", text="Ada's boat is the Pequod."), "Done.", "Pequod.")
    answer = agent.ask("Please remember that I called my boat Pequod.")
    (thought,) = memory.thoughts(namespace=NS)
    assert (thought.text, thought.origin, thought.trusted) == ("Ada's boat is the Pequod.", "agent", False)
    assert answer.user_turn is not None
    assert memory.history(thought.id, namespace=NS).sources == (answer.user_turn,)
    assert model.requests[1][-1].text == "Remembered."
    assert thought.id in edges_of(memory, answer.turn)
    agent.begin_session()
    agent.ask("Whose is the Pequod?")
    assert '| thought | from agent, untrusted | "Ada\'s boat is the Pequod."' in model.requests[2][0].text


def test_a_secret_is_refused_and_not_written_again(memory: Memory) -> None:
    agent, model = talk(memory, tool_call("remember", text=f"The key is {KEY}"), "I must not.")
    agent.ask("Remember my key.")
    assert "secret" in model.requests[1][-1].text
    assert memory.thoughts(namespace=NS) == []
    assert KEY not in everything(memory)


def test_what_came_out_of_memory_does_not_go_in_again(memory: Memory) -> None:
    told(memory)
    agent, model = talk(memory, tool_call("remember", text="My boat is called Pequod"), "Fine.")
    agent.ask("What is my boat called?")
    assert model.requests[1][-1].text == "It is in memory already."
    assert memory.thoughts(namespace=NS) == []


def test_forgetting_a_remembered_statement_takes_its_source(memory: Memory) -> None:
    agent, _ = talk(memory, tool_call("remember", text="Ada's boat is the Pequod."), "Done.")
    agent.ask("Please remember that I called my boat Pequod.")
    (thought,) = memory.thoughts(namespace=NS)
    memory.forget([thought.id], namespace=NS)
    assert "Pequod" not in everything(memory)


def test_in_private_nothing_is_remembered(memory: Memory) -> None:
    agent, model = talk(memory, tool_call("remember", text="Ada's boat is the Pequod."), "No.", private=True)
    agent.ask("Remember my boat, the Pequod.")
    assert "private" in model.requests[1][-1].text
    assert everything(memory) == ""


# -- forget -----------------------------------------------------------------------------------------------------


def test_without_a_way_to_ask_the_user_is_told_how(memory: Memory) -> None:
    turn = told(memory)
    agent, model = talk(memory, tool_call("forget_memory", ids=[turn.id[-8:]]), "Type that, please.")
    agent.ask("Get rid of that ship.")
    said = model.requests[1][-1].text
    assert said.startswith("Nothing was erased: only the user can do that.")
    assert f"/forget {turn.id[-8:]} in the plain chat" in said
    assert f"agentmem forget {turn.id[-8:]}" in said
    assert memory.get_turn(turn.id, namespace=NS) == turn


def test_the_user_can_say_no(memory: Memory) -> None:
    turn, plans = told(memory), list[ForgetPlan]()

    def refuse(plan: ForgetPlan) -> bool:
        plans.append(plan)
        return False

    agent, model = talk(memory, tool_call("forget_memory", ids=[turn.id]), "Kept.", confirm=refuse)
    agent.ask("Get rid of that ship.")
    assert plans[0].named == (turn.id,)
    assert model.requests[1][-1].text == "Nothing was erased: the user said no."
    assert memory.get_turn(turn.id, namespace=NS) == turn
    assert tool_turns(memory)[0].text == "forget_memory: the user said no"


def test_what_the_user_agrees_to_is_erased_and_stands_in_no_later_prompt(memory: Memory) -> None:
    turn = told(memory)
    script = (
        tool_call("search_memory", query="boat"),
        tool_call("forget_memory", ids=[turn.id]),
        "The Pequod is forgotten.",
        "I know of none.",
    )
    agent, model = talk(memory, *script, confirm=lambda _plan: True)
    answer = agent.ask("Forget what my boat is called.")
    assert "Pequod" in str(model.requests[1])
    assert model.requests[2][-1].text.startswith("Erased: 2 turns, 0 thoughts.")
    assert "Pequod" not in str([message.text for message in model.requests[2]])
    assert answer.recollection.items == ()
    assert answer.turn is None, "the model had it before its eyes"
    assert "Pequod" not in everything(memory)
    agent.ask("What is my boat called?")
    assert "Pequod" not in str([message.text for message in model.requests[3]])


def test_the_users_own_words_go_where_they_repeat_it(memory: Memory) -> None:
    turn = told(memory)
    agent, _ = talk(memory, tool_call("forget_memory", ids=[turn.id]), "Done.", confirm=lambda _plan: True)
    agent.ask("Forget that the boat is called Pequod!")
    assert "Pequod" not in everything(memory)


def test_a_model_cannot_reach_another_namespace(memory: Memory) -> None:
    other = memory.observe("user", "My boat is called Pequod.", namespace=("bob",))
    calls = [tool_call("search_memory", query="boat Pequod"), tool_call("open_chunk", id=other.id)]
    calls.append(tool_call("forget_memory", ids=[other.id]))
    agent, model = talk(memory, *calls, "No.", confirm=lambda _plan: True)
    agent.ask("What is Bob's boat called?")
    assert "Pequod" not in str([[m.text for m in sent if m.type == "tool"] for sent in model.requests])
    assert memory.get_turn(other.id, namespace=("bob",)) == other


async def test_async_agents_have_them_too(memory: Memory) -> None:
    turn = told(memory)
    script = (tool_call("search_memory", query="boat"), tool_call("forget_memory", ids=[turn.id]), "Done.")
    agent, model = talk(memory, *script, confirm=lambda _plan: True)
    await agent.aask("Get rid of that ship.")
    assert "Pequod" in str(model.requests[1])
    assert "Pequod" not in everything(memory)
