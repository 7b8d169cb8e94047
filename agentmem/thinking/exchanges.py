"""What is thought about: an exchange, as far as it may be a source of thoughts.

Sources are what the user said and what the assistant answered, and of the user's words only the user's own: what is
quoted, pasted or forwarded is somebody else's. What tools said is no source, and neither is what was recalled.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from agentmem.interfaces import Reader
from agentmem.text import count_tokens
from agentmem.thinking.asking import turn_line
from agentmem.types import Chunk, Job, Thought, Turn, only_quotes

_REACH = 64
"""Turns looked at for the answer to one: results of tools stand between."""
_FOREIGN = re.compile(
    r"```.*?(?:```|\Z)|~~~.*?(?:~~~|\Z)|^[ \t]*>[^\n]*|^-{3,}[^\n]*(?:Forwarded|Original)[^\n]*.*|"
    r"\"[^\"]{80,}\"|\u201c[^\u201d]{80,}\u201d|\u00ab[^\u00bb]{80,}\u00bb|<(\w{2,20})\b[^>]*>.*?</\1>",
    re.DOTALL | re.MULTILINE,
)
"""Code, quotes as mails have them, what was forwarded, long quotations, markup."""
_SENTENCE = re.compile(r"[^.!?\n]+[.!?]*")
_CLAUSE = re.compile(r"[,;:\u2013\u2014]\s")
_PROMISE = re.compile(r"\bI\b")
_CHARACTERS = 4  # of a token, roughly


@dataclass(frozen=True, slots=True)
class Exchange:
    """A user's turn and what the assistant answered, each with the words that may be a source.

    `recalled` is what stood in the prompt of the answer besides; `tainted` says that words of tools, or untrusted ones,
    were among it.
    """

    job: Job
    turns: tuple[Turn, ...]
    recalled: tuple[str, ...]
    tainted: bool

    @property
    def tokens(self) -> int:
        return sum(count_tokens(turn_line(1, turn)) for turn in self.turns)

    @property
    def empty(self) -> bool:
        """Whether it is not worth a call: the user told nothing, and the assistant says nothing of itself."""
        user, *answers = self.turns
        return not told(user.text).strip() and not any(_PROMISE.search(turn.text) for turn in answers)


def gather(reader: Reader, job: Job, *, longest: int) -> Exchange | None:
    """The exchange that a job is about, each turn cut to `longest` tokens; None where it is gone or superseded."""
    found: list[Turn] = reader.get("turn", [job.target], namespace=job.namespace)
    if not found or found[0].status == "superseded":
        return None
    user = found[0]
    after = list(_answers(reader, user))
    answers = [turn for turn in after if turn.role == "assistant" and not only_quotes(turn)]
    shown = [replace(turn, parts=_part(_cut(own(turn), longest))) for turn in (user, *answers)]
    recalled, doubtful = _recalled(reader, [user, *answers])
    tools = any(turn.role == "tool" for turn in after)
    return Exchange(job, tuple(shown), tuple(recalled), tools or doubtful)


def _answers(reader: Reader, user: Turn) -> Iterable[Turn]:
    """The turns up to the user's next that answer this one."""
    where = {"session": user.session, "seq": range(user.seq + 1, user.seq + 1 + _REACH)}
    for turn in reader.select("turn", namespace=user.namespace, where=where, order="seq"):
        if turn.role == "user":
            return
        if turn.parent_id in (None, user.id) and turn.status != "superseded":
            yield turn


def _recalled(reader: Reader, turns: Sequence[Turn]) -> tuple[list[str], bool]:
    """The texts that stood in the prompt of the answers besides these turns, and whether one is not to be trusted."""
    namespace, own_ids = turns[0].namespace, {turn.id for turn in turns}
    edges = reader.edges(namespace=namespace, children=[turn.id for turn in turns], relation="recalled")
    parents = list(dict.fromkeys(edge.parent for edge in edges if edge.parent not in own_ids))
    said: list[Turn] = reader.get("turn", parents, namespace=namespace)
    thought: list[Thought] = reader.get("thought", parents, namespace=namespace)
    doubtful = any(turn.role == "tool" for turn in said) or not all(one.trusted for one in thought)
    return [turn.text for turn in said] + [one.text for one in thought], doubtful


def chunk_turns(reader: Reader, job: Job, *, longest: int) -> list[Turn]:
    """What was said in a closed chunk, without what tools said, together of at most about `longest` tokens."""
    found: list[Chunk] = reader.get("chunk", [job.target], namespace=job.namespace)
    if not found or found[0].last_seq is None:
        return []
    where = {"session": found[0].session, "seq": range(found[0].first_seq, found[0].last_seq + 1)}
    turns = reader.select("turn", namespace=job.namespace, where=where, order="seq")
    said = [t for t in turns if t.role in ("user", "assistant") and t.status != "superseded" and not only_quotes(t)]
    return [replace(turn, parts=_part(_cut(own(turn), longest // len(said)))) for turn in said]


def _part(text: str) -> tuple[dict[str, str], ...]:
    return ({"type": "text", "text": text},)


def _cut(text: str, tokens: int) -> str:
    """A text of at most so many tokens, roughly: its beginning and its end."""
    most = tokens * _CHARACTERS
    return text if len(text) <= most else f"{text[: most * 2 // 3]} … {text[-most // 3 :]}"


def own(turn: Turn) -> str:
    """The words of a turn that are its speaker's own; of a user's, what is pasted is left out."""
    return _FOREIGN.sub(" […] ", turn.text).strip() if turn.role == "user" else turn.text


def told(text: str) -> str:
    """What a text tells, without what it asks: of a question, the clauses before the last ("I moved, do you know?")."""
    pieces: list[str] = []
    for sentence in _SENTENCE.findall(text):
        if sentence.endswith("?"):
            pieces += _CLAUSE.split(sentence)[:-1]
        else:
            pieces.append(sentence)
    return " ".join(pieces)
