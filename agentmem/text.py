"""From text to what is indexed: stems for the postings, the text that is embedded, equality, rough token counts."""

from __future__ import annotations

import re
import threading
import unicodedata
from collections.abc import Iterator

import Stemmer

from agentmem.digests import normalise
from agentmem.types import Chunk, NewTurn, Thought

__all__ = [
    "FIRST_PERSON",
    "STOP_WORDS",
    "asks_of_asker",
    "count_tokens",
    "embedding_text",
    "index_text",
    "normalise",
    "stems",
    "tells",
    "words",
]

_NUMBER = r"\d+(?:[.,]\d+)*"
_LETTERS = r"[^\W\d_]"
_TOKEN = re.compile(rf"{_NUMBER}|{_LETTERS}(?:[^\W_]|['\u2019](?={_LETTERS}))*")
_CJK = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]{2,}")
_SUFFIX = re.compile("'(?:s|m|re|ve|ll|d)$")
_BYTES_PER_TOKEN = 4
INDEXING = [2, Stemmer.version(), unicodedata.unidata_version]
"""What the stems of a text depend on besides it: our own rules, by a number to be raised with every change of what this
module derives from a record, the stemmer, Unicode. Snapshots made by others are made anew."""

# Words that carry no topic. Negations are not among them: "is allergic" and "is not allergic" must stay apart.
_STOP_WORDS_TEXT = """
    a about am an and any are as at be been being but by can could did do does doing for from had has have having he
    her hers him his how i if in into is it its just like me might mine more most my of on or our ours out over
    shall she should so some such than that the their theirs them then there these they this those to too up us very
    was we were what when where which while who whom whose why will with would you your yours st nd rd th
"""
STOP_WORDS = frozenset(_STOP_WORDS_TEXT.split())
FIRST_PERSON = frozenset({"i", "me", "my", "mine", "myself", "we", "us", "our", "ours"})
_OF_THE_LISTENER = re.compile(
    r"\b(?:did|have|had)\s+you\s+(?:\w+\s+)?(?:recommend|suggest|advis|tell|told|sa[iy]|mention|explain|propos)"
    r"|\byou(?:['\u2019]ve|\s+have|\s+had)?\s+(?:\w+\s+)?"
    r"(?:recommended|suggested|advised|told|said|mentioned|explained|proposed)\b",
    re.IGNORECASE,
)
"""Of what was said, not of what "would you recommend"."""
_OF_ONESELF = re.compile(r"\b(?:I|[Mm]y|[Ww]e|[Oo]ur)\b")
"""Narrower than the pronouns of a question: "tell me" and a small "i" say little of who writes them."""
_local = threading.local()


def _stemmer() -> Stemmer.Stemmer:
    # One per thread, and without its own memo: a stemmer's memo would keep words that were forgotten.
    if not hasattr(_local, "stemmer"):
        _local.stemmer = Stemmer.Stemmer("english", 0)
    stemmer: Stemmer.Stemmer = _local.stemmer
    return stemmer


def words(text: str) -> list[str]:
    """Case-folded words and numbers of `text` in order, possessives and contractions opened, stop words included.

    "Anna's 1,000 km on 2023-05-07" → anna 1000 km on 2023 05 07; "can't" → not; runs of Chinese or Japanese characters
    come as overlapping pairs, since nothing stands between their words.
    """
    folded = unicodedata.normalize("NFKC", text).casefold().replace("\u2019", "'")
    found: list[str] = []
    for token in _TOKEN.findall(folded):
        if token.isascii() and token.isalnum():  # nearly all: a generator for each would take longer than the rest
            found.append(token)
        else:
            found.extend(_open(token))
    return found


def _open(token: str) -> Iterator[str]:
    if token[0].isdigit():
        yield token.replace(",", "")
    elif token.endswith("n't"):
        yield "not"
    elif _CJK.fullmatch(token):
        yield from (token[i : i + 2] for i in range(len(token) - 1))
    else:
        yield _SUFFIX.sub("", token)


def stems(text: str) -> list[str]:
    """English stems (Snowball) of the words of `text` in order, without stop words, numbers kept."""
    stemmed: list[str] = _stemmer().stemWords([word for word in words(text) if word not in STOP_WORDS])
    return stemmed


def asks_of_asker(text: str) -> bool:
    """Whether a question asks about the one who asks it ("Where do I …", "my"), and not about what the other said of it
    ("What did you recommend for my …")."""
    return not FIRST_PERSON.isdisjoint(words(text)) and _OF_THE_LISTENER.search(text) is None


def tells(record: NewTurn | Thought) -> int:
    """1 for what tells of its speaker ("I", "my"), as a thought does; 1 less for what asks; 0 for the rest."""
    if isinstance(record, Thought):
        return 1
    return bool(_OF_ONESELF.search(record.text)) - record.text.rstrip().endswith("?")


def count_tokens(text: str) -> int:
    """A rough count of a language model's tokens, for budgets: a quarter of the UTF-8 bytes, at least 1."""
    return len(text.encode("utf-8", "replace")) // _BYTES_PER_TOKEN + 1


def index_text(record: NewTurn | Thought) -> str:
    """What full text indexes of a turn or thought: who said it, and what."""
    return _labelled(record)


def embedding_text(record: NewTurn | Thought | Chunk) -> str | None:
    """What is embedded of a turn or thought: who said it, and what; of a chunk its summary, None where it has none."""
    return record.summary if isinstance(record, Chunk) else _labelled(record)


def _labelled(record: NewTurn | Thought) -> str:
    speaker = record.speaker if isinstance(record, NewTurn) else None
    return f"{speaker}: {record.text}" if speaker else record.text
