r"""Namespaces: tuples of strings. On the command line their parts are joined by "/", which "\/" escapes."""

from __future__ import annotations

import re
from typing import Any

from agentmem.errors import NamespaceError
from agentmem.types import Namespace

_MAX_PART = 200


def check_namespace(namespace: Any) -> Namespace:
    """The namespace as a tuple. Raises NamespaceError unless it is a non-empty sequence of non-empty strings."""
    if isinstance(namespace, str):
        raise NamespaceError(f"a namespace is a tuple of strings: write ({namespace!r},) instead of {namespace!r}")
    if not isinstance(namespace, (tuple, list)) or not namespace:
        raise NamespaceError(f"a namespace is required, as a tuple of strings such as ('ada',); got {namespace!r}")
    for part in namespace:
        _check_part(part, namespace)
    return tuple(namespace)


def _check_part(part: Any, namespace: Any) -> None:
    if not isinstance(part, str) or not part.strip():
        raise NamespaceError(f"every part of a namespace is a non-empty string; got {namespace!r}")
    if len(part) > _MAX_PART or any(ord(c) < 32 or 0xD800 <= ord(c) < 0xE000 for c in part):
        raise NamespaceError(
            f"a part of a namespace has at most {_MAX_PART} characters and no control characters; got {part[:40]!r}"
        )


def parse_namespace(text: str) -> Namespace:
    r"""`a/b` → ("a", "b"); `a\/b` → ("a/b",); `\\` is a backslash."""
    parts = [""]
    for token in re.findall(r"\\.|.", text, re.DOTALL):
        if token == "/":
            parts.append("")
        else:
            parts[-1] += token[-1]
    return check_namespace(tuple(parts))


def format_namespace(namespace: Namespace) -> str:
    return "/".join(part.replace("\\", "\\\\").replace("/", "\\/") for part in namespace)


def is_below(namespace: Namespace, root: Namespace) -> bool:
    """Whether `namespace` is `root` or stands below it, by whole parts."""
    return namespace[: len(root)] == root
