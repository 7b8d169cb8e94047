"""How much a model takes in at once, and how long a prompt is: asked of its server, else estimated.

vLLM names its window in `GET /v1/models` (`max_model_len`) and counts a prompt, template included, at `POST /tokenize`.
Other servers say less: then the window is learnt from their first refusal, and lengths are estimated.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agentmem.models import chat
from agentmem.text import count_tokens

if TYPE_CHECKING:
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage
    from langchain_core.tools import BaseTool

_log = logging.getLogger(__name__)
_SECONDS = 5.0
_ROOM = 1024
"""Tokens kept free for an answer, at most a quarter of the window, where the model sets no `max_tokens`."""
_MARGIN = 1.3
"""An estimate counts this much: better a prompt that is too short than one that is refused."""
_TOO_FAR = 1.5
"""A refusal despite an estimate that fitted says that a token is shorter, by nobody knows how much."""
_MESSAGE_TOKENS = 64
"""More than any chat template puts around one message, or around one tool."""
_SIZE = re.compile(r"(?:context (?:length|size|window)|maximum model length)\D{0,40}?(\d{2,})", re.IGNORECASE)
_ASKED = re.compile(r"(?:requested|at least|has|contains|length)\s+\(?(\d{2,})(?: input)? tokens", re.IGNORECASE)


class Window:
    """The window of one model. `size` is in tokens, for prompt and answer together; None while nobody has said it."""

    def __init__(self, model: BaseChatModel) -> None:
        self._model = model
        self._client: Any = getattr(model, "root_client", None)
        self._size: int | None = None
        self._asked = self._client is None
        self._counts = False
        self._margin = _MARGIN

    @property
    def size(self) -> int | None:
        if not self._asked:
            self._asked = True
            self._size = _size_in(self._ask("get", "models"), chat.label_of(self._model))
            self._counts = self._size is not None
        return self._size

    @property
    def limit(self) -> int | None:
        """Tokens that a prompt may take, with room left for the answer."""
        size = self.size
        if size is None:
            return None
        room = getattr(self._model, "max_tokens", None) or min(_ROOM, size // 4)
        return max(size - int(room), 1)

    def count(self, messages: Sequence[BaseMessage], tools: Sequence[BaseTool] = ()) -> int:
        """Tokens of a prompt. No server is asked where the prompt's bytes alone show that it fits: no tokenizer makes
        more tokens of a text than it has bytes."""
        sent, described = _as_sent(messages, tools)
        written = json.dumps([sent, described], ensure_ascii=False)
        most = len(written.encode()) + _MESSAGE_TOKENS * (len(sent) + len(described))
        if self.limit is not None and most <= self.limit:
            return most
        counted = self._counted(sent, described) if self._counts else None
        return int(count_tokens(written) * self._margin) if counted is None else counted

    def learn(self, refusal: str, messages: Sequence[BaseMessage], tools: Sequence[BaseTool] = ()) -> None:
        """From a server's words on a prompt that was too long: its window, and that estimates were too low."""
        counted = self.count(messages, tools)
        named = _SIZE.search(refusal)
        self._size = int(named[1]) if named else min(self.size or counted, counted)
        self._asked = True
        asked = max((int(number) for number in _ASKED.findall(refusal)), default=0)
        if not self._counts:
            self._margin *= max(asked, _TOO_FAR * self._size) / counted

    def _counted(self, sent: list[dict[str, Any]], described: list[dict[str, Any]]) -> int | None:
        """The server's own count; None, now and from here on, where it has none."""
        body = {"model": chat.label_of(self._model), "messages": sent} | ({"tools": described} if described else {})
        said = self._ask("post", str(self._client.base_url.join("../tokenize")), body=body)
        count = said.get("count") if isinstance(said, Mapping) else None
        self._counts = isinstance(count, int)
        return count if isinstance(count, int) else None

    def _ask(self, method: str, address: str, **what: Any) -> Any:
        """The server's JSON; None where it gives none: what is wrong with it shows when it is asked for words."""
        import openai

        options = {"timeout": _SECONDS, "max_retries": 0}
        try:
            return getattr(self._client, method)(address, cast_to=object, options=options, **what)
        except (openai.OpenAIError, ValueError) as error:
            _log.info("%s %s is not answered: %s", method.upper(), address, type(error).__name__)
            return None


def _as_sent(messages: Sequence[BaseMessage], tools: Sequence[BaseTool]) -> tuple[list[Any], list[Any]]:
    from langchain_core.messages import convert_to_openai_messages
    from langchain_core.utils.function_calling import convert_to_openai_tool

    return list(convert_to_openai_messages(list(messages))), [convert_to_openai_tool(tool) for tool in tools]


def _size_in(models: Any, name: str) -> int | None:
    """The window that a list of models names: the model's own, or, for an adapter, that of the model below it."""
    entries = models.get("data") if isinstance(models, Mapping) else None
    known = {e["id"]: e for e in entries or () if isinstance(e, Mapping) and isinstance(e.get("id"), str)}
    entry = known.get(name)
    while entry is not None:
        size = entry.get("max_model_len")
        if isinstance(size, int) and size > 0:
            return size
        entry = known.pop(entry.get("parent"), None)
    return None
