"""The tokenizer: whole words of the closed world, bytes for anything else, and agentmem's fixed texts as single tokens.

A prompt is short that way (a memory line takes about 12 tokens), which is what lets a model this small learn on one CPU
core to look things up in it. The fixed texts are tokens of their own: where their wording changes, the tokenizer's file
is made anew (`python -m agentmem.testing.closed_world.tokens`) and the weights stay.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers

from agentmem import prompt
from agentmem.testing.closed_world import path
from agentmem.testing.closed_world.lessons import Lesson, Message
from agentmem.testing.closed_world.world import NOTED, UNKNOWN
from agentmem.thinking.asking import EXTRACT, RECONCILE, SUMMARISE

PAD, SYSTEM, USER, ASSISTANT, TOOL, END = (
    f"<|{name}|>" for name in ("pad", "system", "user", "assistant", "tool", "end")
)
CONTROL = (PAD, SYSTEM, USER, ASSISTANT, TOOL, END)
CALL, CALL_END = "<tool_call>", "</tool_call>"
# A month of a year, a day, an hour, a minute; then words and signs with the space before them.
_PIECE = (
    r"\d{4}-\d{2}|-\d{2}(?!\d)| \d{2}(?=:)|:\d{2}| (?=\d{4}-)| ?\d{4}(?!\d)| ?\d{1,2}|'s| ?\p{L}+(?:'t)?"
    r"| ?[^\s\p{L}\d]+|\s"
)
_OF_IDS = re.compile(r"[a-f]{2,8}|(?!20(?:2\d|3[0-2]))\d{4}(-\d\d)?")
"""Pieces that only ids consist of, which are spelt out instead."""
_FRAMES = (
    "\n- ",
    "\n</memory>",
    ' | turn | user | "',
    ' | turn | assistant | "',
    ' | thought | from user | "',
    ' | thought | from agent | "',
    " | turn | ",
    ' (user) | "',
    ' | user | "',
    ' | assistant | "',
    ' | "',
    " | ",
    "<exchange>",
    "</exchange>",
    "<new>",
    "</new>",
    "<existing>",
    "</existing>",
    UNKNOWN,
    NOTED,
    '{"thoughts":[]}',
    '{"thoughts":[{"turn":',
    ',"text":"',
    '","head":"',
    '","relation":"',
    '","tail":"',
    '"},{"turn":',
    '"}]}',
    '{"decisions":[{"new":',
    '],"action":"',
    ',"existing":[',
    '","text":"',
    '"},{"new":',
    '{"summary":"',
    '"}',
    CALL,
    CALL_END,
    '." | ',
)


def number_of(tokenizer: Tokenizer, token: str) -> int:
    """The id of a control token. Raises ValueError where the tokenizer is not of this world."""
    number = tokenizer.token_to_id(token)
    if number is None:
        raise ValueError(f"this tokenizer has no {token}: it is not the closed world's")
    return int(number)


def fixed_texts() -> tuple[str, ...]:
    """What agentmem always says in the same words; each is one token, in this order."""
    return (
        prompt.RULES.split(" {today}")[0],
        f"\n\n{prompt._NOTHING}",
        "\n\n" + prompt._MEMORY.split("\n{lines}")[0],
        EXTRACT.instruction,
        RECONCILE.instruction,
        SUMMARISE.instruction,
    )


def build(texts: Iterable[str]) -> Tokenizer:
    """A tokenizer whose words are those of the texts."""
    pieces = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PIECE), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    whole = [*fixed_texts(), *_FRAMES]
    cut = re.compile("|".join(re.escape(text) for text in sorted([*whole, *CONTROL], key=len, reverse=True)))
    words = {piece for text in texts for part in cut.split(text) for piece, _ in pieces.pre_tokenize_str(part)}
    dates = [f"20{y}-{m:02}" for y in range(20, 33) for m in range(1, 13)] + [f"20{y} 20{y}" for y in range(20, 33)]
    dates += [f"{number} -{number:02} :{number:02}" for number in range(100)]
    words |= {piece for text in dates for piece, _ in pieces.pre_tokenize_str(text)}
    words = {word for word in words if not _OF_IDS.fullmatch(word)}
    vocabulary = [*CONTROL, *alphabet, *sorted(words - set(alphabet))]
    tokenizer = Tokenizer(models.BPE({word: n for n, word in enumerate(vocabulary)}, [], ignore_merges=True))
    tokenizer.pre_tokenizer = pieces
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in CONTROL])
    tokenizer.add_tokens([AddedToken(text, special=False, normalized=False) for text in whole])
    return tokenizer


TEMPLATE = (
    "{%- macro offered() %}{% if tools %}{{ '\\n\\n# Tools' }}{% for tool in tools %}"
    "{{ '\\n- ' ~ tool.function.name ~ '(' ~ (tool.function.parameters.properties or {}) | join(', ') ~ ')' }}"
    "{% endfor %}{% endif %}{% endmacro %}"
    "{%- if tools and messages[0].role != 'system' %}{{ '<|system|>' ~ offered() ~ '<|end|>' }}{% endif %}"
    "{%- for m in messages %}{{ '<|' ~ m.role ~ '|>' }}"
    "{%- if m.content is string %}{{ m.content }}{% elif m.content %}"
    "{%- for part in m.content %}{{ part.text }}{% endfor %}{% endif %}"
    "{%- if loop.first and m.role == 'system' %}{{ offered() }}{% endif %}"
    "{%- for call in m.tool_calls or [] %}{{ '<tool_call>\\n{\"name\": ' ~ call.function.name | tojson ~ "
    "', \"arguments\": ' ~ (call.function.arguments if call.function.arguments is string else "
    "call.function.arguments | tojson) ~ '}\\n</tool_call>' }}{% endfor %}"
    "{{- '<|end|>' }}{% endfor %}"
    "{%- if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
"""The chat template: short marks around each message, the tools as name(arguments) below the system message."""


def render(lesson: Lesson) -> str:
    """The lesson as the model sees it: what the chat template makes of it, faster."""
    return "".join(
        f"<|{message['role']}|>{message['content']}{_offered(lesson) if not n else ''}{_calls(message)}{END}"
        for n, message in enumerate(lesson.messages)
    )


def _offered(lesson: Lesson) -> str:
    lines = [
        f"\n- {t['function']['name']}({', '.join(t['function']['parameters']['properties'])})" for t in lesson.tools
    ]
    return "\n\n# Tools" + "".join(lines) if lines else ""


def _calls(message: Message) -> str:
    return "".join(
        f"{CALL}\n{json.dumps(call['function'], ensure_ascii=False)}\n{CALL_END}"
        for call in message.get("tool_calls", [])
    )


def write(tokenizer: Tokenizer, folder: Path) -> None:
    """The tokenizer's files, as transformers and vLLM read them."""
    from transformers import PreTrainedTokenizerFast

    PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]  # transformers has no types
        tokenizer_object=tokenizer,
        pad_token=PAD,
        eos_token=END,
        chat_template=TEMPLATE,
        clean_up_tokenization_spaces=False,
    ).save_pretrained(folder)


def refresh(folder: Path) -> None:
    """Give the tokens of agentmem's fixed texts, in a model's folder, the wording that these have now."""
    file = folder / "tokenizer.json"
    content = json.loads(file.read_text("utf-8"))
    whole = [token for token in content["added_tokens"] if not token["special"]]
    for token, text in zip(whole, fixed_texts(), strict=False):
        token["content"] = text
    write(Tokenizer.from_str(json.dumps(content)), folder)


if __name__ == "__main__":
    refresh(path())
