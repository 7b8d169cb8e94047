"""Does a text hold a secret? Patterns of keys, payment cards and stated passwords, so that none becomes a thought.

Patterns are a net with holes: a password told in a way that nobody writes down as one is not recognised, and neither
are seed phrases. What is no credential by itself (an account number, an address) is not sought.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from agentmem.errors import SecretError

__all__ = ["find_secret", "refuse_secret"]

_ISSUED = {
    "private key": r"-----BEGIN (?:[A-Z0-9]+ )*PRIVATE KEY(?: BLOCK)?-----",
    "OpenAI or Anthropic key": r"\bsk-(?=[\w-]{0,64}\d)[A-Za-z0-9][\w-]{18,}[A-Za-z0-9]",
    "GitHub token": r"\b(?:gh[pousr]_[A-Za-z0-9]{36,}|github_pat_\w{40,})",
    "GitLab token": r"\bglpat-[\w-]{20,}",
    "AWS key": r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z2-7]{16}\b",
    "Slack token": r"\bxox[abeoprs]-(?=[A-Za-z-]{0,20}\d)[A-Za-z0-9-]{10,}|https://hooks\.slack\.com/services/[\w/]{20,}",
    "Google key": r"\bAIza[\w-]{35}(?![\w-])|\bya29\.[\w-]{20,}|\bGOCSPX-[\w-]{20,}",
    "Stripe key": r"\b(?:[sr]k_(?:live|test)|whsec)_[A-Za-z0-9]{16,}",
    "Hugging Face token": r"\bhf_[A-Za-z0-9]{30,}",
    "package registry token": r"\bnpm_[A-Za-z0-9]{36}|\bpypi-[\w-]{50,}",
    "SendGrid key": r"\bSG\.[\w-]{16,}\.[\w-]{16,}",
    "Telegram token": r"\b\d{8,10}:AA[\w-]{33}",
    "JSON web token": r"\beyJ[\w-]{8,}\.eyJ[\w-]{8,}\.[\w-]{8,}",
    "credentials in an address": r"\b[a-z][a-z0-9+.-]{1,20}://[^\s/:@'\"<>{}$]{1,64}:(?P<value>[^\s/@'\"<>{}$]{3,128})@[\w.-]",
}

_PASSWORD_NAMES = (
    r"pass ?words?|pass ?phrases?|pass ?codes?|pwd|passwd|passwort|kennwort|mot de passe|contrase[nñ]a|senha|wachtwoord"
)
_KEY_NAMES = (
    r"(?:api|access|secret|private|account|auth(?:entication)?|encryption|licen[cs]e|signing)"
    r"[ _-]?(?:access[ _-]?)?keys?"
    r"|(?:api|access|auth|bearer|refresh|secret|session)[ _-]?tokens?|client[ _-]?secrets?|api[ _-]?secrets?"
)
# A few words may stand between the name and the value: "the password for the router is …".
_BETWEEN = r"(?P<between>(?: (?:for|to|of|on|at|in|für|vom|von|pour|de|para) [^\n:=.;!?]{1,40}?)?)"
_SAYS = (
    r"(?: (?:is|was|are|ist|war|lautet|est|es|é|remains|became)(?: now| still| set to| jetzt)?[ :]+"
    r"| ?(?:=>|:=|[:=]) ?| (?:to|zu) )"
)
_QUOTED = r"[\"'`“„«](?P<quoted>[^\"'`”“»\n]{3,200})[\"'`”“»]"
_BARE = r"(?P<value>[^\s\"'`“„«,;]{3,200})"
_STATED = re.compile(
    rf"(?<![A-Za-z])(?P<name>(?P<key>{_KEY_NAMES})|{_PASSWORD_NAMES})[\"'`*]{{0,2}}{_BETWEEN}(?P<says>{_SAYS})(?:{_QUOTED}|{_BARE})",
    re.IGNORECASE,
)
_PIN = re.compile(
    rf"\b(?:PIN|[Pp]in)(?:[ -]?(?:code|number|nummer))?{_BETWEEN}(?:{_SAYS}| )[\"'“]?\d{{4,12}}(?!\d|[ .,-]\d|/)"
    rf"|\b(?:CVV|CVC|CVV2|CVC2)(?: ?(?:code|number))?(?:{_SAYS}| )\d{{3,4}}\b"
)
_BEARER = re.compile(r"\b(?:Authorization: ?|Bearer )(?:Bearer |Basic )?(?P<value>[A-Za-z0-9+/_=.~-]{16,})")
_CARD = re.compile(r"(?<![\d.-])(?:\d[ -]?){12,18}\d(?![\d]|[.-]\d)")
_ISSUERS = re.compile(r"4|5[0-8]|2[2-7]|3[04-9]|6")
_LENGTHS = {"4": (13, 16, 19), "3": (14, 15, 16), "5": (16,), "2": (16,), "6": (16, 17, 18, 19)}

_PLACEHOLDER = re.compile(
    r"your|example|sample|change_?me|placeholder|dummy|redacted|hidden|secret_?key$|password$|\.\.\.|…|\*{3}|x{4}|<|\{|\}|\[|\(|\)"
    r"|^\$|^%|^os\.|environ|getenv|process\.env|^(?:none|null|true|false|str|string|text|hash|self|user|req|request|config|settings)\b",
    re.IGNORECASE,
)
# What is said of a password without telling it: "the password is too weak", "my password was stolen".
_SAID_OF_TEXT = """
    a about again all also always an and any as at auf bad because bei being better both but by case complex
    confidential correct das der die different difficult easier easy ein eine empty enough even falsch fine for
    from getting going gone good great hard hers his how if im immer impossible in incorrect insecure invalid it
    its just kein known kurz lang long longer lost mandatory maybe mine missing more my necessary needed never new
    nicht no noch not now null off okay old on one only optional our out over plain poor pretty private probably
    quite random really required richtig right safe same schwach secret secure shared short sicher simple so some
    something stark still strong stronger such terrible that the their them then there these they this those to
    too true unique unknown unsafe up valid very von weak weaker weg what when where which why with without
    working written wrong you yours zu
"""
_SAID_OF = frozenset(_SAID_OF_TEXT.split())
_PARTICIPLE = re.compile(r"[a-z]+(?:ed|ing|ly|able|ible|ten|olen)")
_PLAIN_WORD = re.compile(r"[^\W\d_]+")


def find_secret(text: str) -> str | None:
    """What kind of secret `text` holds ("AWS key", "password", "card number", …), None where none is seen."""
    return next(_found(text), None)


def refuse_secret(text: str, what: str) -> None:
    """Raises SecretError where a text that would become one of `what` ("thoughts") holds a secret."""
    secret = find_secret(text)
    if secret is not None:
        raise SecretError(f"this looks like it holds a secret ({secret}): secrets are not made into {what}")


def _found(text: str) -> Iterator[str]:
    for kind, pattern in _PATTERNS.items():
        if any(_is_told(match) for match in pattern.finditer(text)):
            yield kind
    for kind, sees in _CHECKS.items():
        if sees(text):
            yield kind


def _is_told(match: re.Match[str]) -> bool:
    return not _PLACEHOLDER.search(match.groupdict().get("value") or "")


def _has_card(text: str) -> bool:
    return any(_is_card(re.sub(r"[ -]", "", match[0])) for match in _CARD.finditer(text))


def _is_card(digits: str) -> bool:
    """Issuer, length and check digit (Luhn) fit: a random number of 16 digits fits in one case of about 15."""
    if not _ISSUERS.match(digits) or len(digits) not in _LENGTHS[digits[0]] or len(set(digits)) < 2:
        return False
    doubled = (sum(divmod(2 * int(d), 10)) for d in digits[-2::-2])
    return (sum(map(int, digits[-1::-2])) + sum(doubled)) % 10 == 0


def _has_key(text: str) -> bool:
    stated = any(m["key"] and _looks_random(_value(m)) for m in _STATED.finditer(text))
    return stated or any(_looks_random(m["value"]) for m in _BEARER.finditer(text))


def _has_password(text: str) -> bool:
    return any(not m["key"] and _is_password(m) for m in _STATED.finditer(text))


def _value(match: re.Match[str]) -> str:
    return match["quoted"] or match["value"].rstrip(".!?)]}*_")


def _looks_random(value: str) -> bool:
    """An issued key: no words, and letters with digits, or a mixture of cases too long for a name."""
    if len(value) < 8 or _PLACEHOLDER.search(value) or " " in value:
        return False
    mixed = bool(re.search(r"\d", value)) and bool(re.search(r"[A-Za-z]", value))
    return mixed or (len(value) >= 20 and value.lower() != value != value.upper())


def _is_password(match: re.Match[str]) -> bool:
    value = _value(match)
    if len(value) < 3 or _PLACEHOLDER.search(value) or "://" in value:
        return False
    if not _PLAIN_WORD.fullmatch(value):
        return bool(match["quoted"]) or _is_no_prose(value)
    # A plain word is a password only where it stands at the end, not where a sentence goes on about passwords.
    word, rest = value.lower(), match.string[match.end() :]
    told = word not in _SAID_OF and not _PARTICIPLE.fullmatch(word)
    return told and bool(match["quoted"] or not re.match(r"[ \t]*[\w(\[=]", rest))


def _is_no_prose(value: str) -> bool:
    """A digit or a mark inside a word: "hunter2", "pa$$"; not "it's" or "self.password" or "8-12"."""
    if re.fullmatch(r"[A-Za-z_]+(?:[.'\u2019_/-][A-Za-z_]+)*|[\W_]+|\d{1,2}(?:[-\u2013+]\d{0,2})?", value):
        return bool(re.fullmatch(r"[a-z]+(?:-[a-z]+){2,}", value))
    return bool(re.search(r"\d|[^\w\s]", value))


_PATTERNS: dict[str, re.Pattern[str]] = {kind: re.compile(pattern) for kind, pattern in _ISSUED.items()}
_CHECKS: dict[str, Callable[[str], bool]] = {
    "API key": _has_key,
    "password": _has_password,
    "PIN": lambda text: bool(_PIN.search(text)),
    "card number": _has_card,
}
