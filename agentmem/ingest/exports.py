"""What people take along from elsewhere: ChatGPT's and Claude's exports of conversations.

ChatGPT (`conversations.json`): a list of conversations, each a tree of messages ("mapping") and the leaf where it stood
("current_node"). What lies on the way there is complete; other branches, which an edit or another answer left, are kept
as superseded. Hidden messages, and parts that are no text, are passed over.

Claude (`conversations.json`): a list of conversations with "chat_messages", in order, all complete.

Each conversation is a session of its own, by the id that it has there; so is each turn's external id, so that a later
export of the same account adds only what is new.
"""

from __future__ import annotations

from collections.abc import Iterator

from agentmem.ingest.chat import ROLES, read_role
from agentmem.ingest.reading import Node
from agentmem.ingest.times import read_time
from agentmem.types import NewTurn, Role, TurnStatus

_ID_KEYS = ("conversation_id", "id", "uuid")


def chatgpt_turns(top: Node) -> Iterator[NewTurn]:
    for conversation in top.items():
        mapping = conversation.need("mapping")
        nodes = {name: mapping.need(name) for name in mapping.object()}
        active = set(_way_to(nodes, conversation.get("current_node")))
        for name in _in_order(nodes):
            message = nodes[name].get("message")
            if message is not None and _shown(message):
                status: TurnStatus = "complete" if not active or name in active else "superseded"
                yield _chatgpt_turn(message, _session(conversation), conversation, status)


def _way_to(nodes: dict[str, Node], leaf: Node | None) -> Iterator[str]:
    """From a leaf up to the root; a tree that is none (a message above itself) ends where it began."""
    name, seen = leaf.name() if leaf else None, set[str]()
    while name in nodes and name not in seen:
        yield name
        seen.add(name)
        parent = nodes[name].get("parent")
        name = parent.name() if parent else None


def _in_order(nodes: dict[str, Node]) -> Iterator[str]:
    """Each message after the one it answers, branches one after the other."""
    waiting = [name for name in reversed(nodes) if not nodes[name].get("parent")]
    seen: set[str] = set()
    while waiting:
        name = waiting.pop()
        if name in nodes and name not in seen:
            seen.add(name)
            yield name
            children = nodes[name].get("children")
            waiting += [child.name() for child in reversed(children.items() if children else [])]


def _shown(message: Node) -> bool:
    metadata = message.get("metadata")
    hidden = metadata is not None and metadata.entries().get("is_visually_hidden_from_conversation") is True
    role = message.need("author").need("role").string()
    return not hidden and role in ROLES and role != "system" and bool(_chatgpt_text(message))


def _chatgpt_text(message: Node) -> str:
    content = message.need("content")
    parts = content.get("parts")
    if parts is not None:
        return "\n".join(part for node in parts.items() if isinstance(part := node.value, str) and part)
    text = content.get("text")
    return text.string() if text else ""


def _chatgpt_turn(message: Node, session: str, conversation: Node, status: TurnStatus) -> NewTurn:
    author = message.need("author")
    role = read_role(author.need("role"))
    return _turn(message, role, _chatgpt_text(message), "chatgpt", session, conversation, "create_time", status)


def claude_turns(top: Node) -> Iterator[NewTurn]:
    for conversation in top.items():
        for message in conversation.need("chat_messages").items():
            text = _claude_text(message)
            if text:
                role = read_role(message.need("sender"))
                yield _turn(
                    message, role, text, "claude", _session(conversation), conversation, "created_at", "complete"
                )


def _claude_text(message: Node) -> str:
    content = message.get("content")
    blocks = content.items() if content else []
    texts = [block.need("text").string() for block in blocks if block.entries().get("type") == "text"]
    text = message.get("text")
    return "\n".join(texts) if texts else text.string() if text else ""


def _turn(
    message: Node,
    role: Role,
    text: str,
    source: str,
    session: str,
    conversation: Node,
    time_key: str,
    status: TurnStatus,
) -> NewTurn:
    given = message.get(time_key)
    time = read_time(given, "UTC") if given else None
    titled = conversation.get("title") or conversation.get("name")
    return NewTurn(
        role=role,
        parts=({"type": "text", "text": text},),
        session=session,
        occurred_at=time.at if time else None,
        zone=time.zone if time else "UTC",
        precision=time.precision if time else "second",
        source=f"{source}:{session}",
        external_id=(message.get("uuid") or message.need("id")).name(),
        status=status,
        metadata={"title": titled.string()} if titled and titled.value else {},
    )


def _session(conversation: Node) -> str:
    given = next((found for key in _ID_KEYS if (found := conversation.get(key))), None)
    return (given or conversation.need(_ID_KEYS[0])).name()
