from __future__ import annotations

import pytest

from agentmem.secrets import find_secret

# Put together at run time, so that no scanner takes these inventions for leaks.
HELD = [
    ("API key", "my key is sk-" + "proj-a8Fh3kLq92MzPw0sXc7V"),
    ("access token", "gh" + "p_" + "a1B2" * 9),
    ("AWS access key", "use AKIA" + "ABCDEFGH12345678 for it"),
    ("Google API key", "AIza" + "Sy" * 16 + "abc"),
    ("Slack token", "xoxb-" + "123456789012-abcdef"),
    ("JSON web token", "ey" + "JhbGciOiJI.eyJzdWIiOiIx.SflKxwRJSMeKKF2Q"),
    ("private key", "-----BEGIN RSA " + "PRIVATE KEY-----"),
    ("card number", "pay with 4111 1111 1111 1111 please"),
    ("card number", "5500-0055-5555-5559"),
    ("password", "the password is Tr0ub4dor&3"),
    ("password", "Password for the wifi router: hunter2"),
    ("password", 'my password is "correct horse"'),
    ("password", "Mein Passwort ist Sommer2024!"),
    ("pin", "my PIN is 4711"),
    ("api key", "API key = 9f8e7d6c5b4a"),
    ("password in a URL", "postgres://ada:s3cret@localhost/db"),
]
FREE = [
    "I forgot my password again",
    "The password is too short, choose another",
    "A password is required to log in",
    "The password was changed yesterday.",
    "My phone is 0151 23456789 and the order is 1234567890123456",
    "Ada was born on 1990-05-01 and lives at number 12",
    "pinning the tail is fun; my pin is shiny",
    "an API key is what you need",
    "see https://example.org/a/b:c@d",
    "the secret key is under the mat",
    "",
]


@pytest.mark.parametrize(("kind", "text"), HELD)
def test_secret_is_found(kind: str, text: str) -> None:
    assert find_secret(text) == kind


@pytest.mark.parametrize("text", FREE)
def test_plain_talk_is_left_alone(text: str) -> None:
    assert find_secret(text) is None
