"""Secrets are seen, and talk about secrets isn't taken for one."""

from __future__ import annotations

import time

import pytest

from agentmem.secrets import find_secret

# Put together here, so that no scanner takes this file for a leak.
TOLD = {
    "OpenAI or Anthropic key": ["my key is sk-" + "proj-abcDEF1234567890abcdef", "sk-" + "ant-api03-Zx9" + "yW8v" * 8],
    "GitHub token": ["ghp_" + "a1B2" * 9, "use github_pat_" + "11ABCDE0_" * 6],
    "GitLab token": ["glpat-" + "a1B2c3D4" * 3],
    "AWS key": ["AKIA" + "IOSFODNN7EXAMPLE is in the console"],
    "Slack token": ["xoxb-" + "1234567890-abcdefghij"],
    "Google key": ["AIza" + "SyA1b2C" * 5],
    "Stripe key": ["sk_live_" + "a1B2c3D4" * 3],
    "Hugging Face token": ["hf_" + "aBcDeFgHiJ" * 3],
    "JSON web token": ["eyJhbGciOiJIUzI1NiJ9." + "eyJzdWIiOiIxMjM0In0.abcdefghijk"],
    "private key": ["-----BEGIN RSA " + "PRIVATE KEY-----\nMIIE", "-----BEGIN " + "PRIVATE KEY-----"],
    "credentials in an address": ["postgres://bob:s3cr3t" + "@db.local/x"],
    "API key": [
        "The API key: 9f8a7b6c5d4e3f2a1b0c",
        "my access token is Zm9vYmFyYmF6MTIz",
        "Authorization: Bearer abcdefgh12345678ijkl",
        "client_secret = 'q8Zr7Yp1'",
    ],
    "password": [
        "my password is hunter2",
        "My password is swordfish.",
        "I changed my password to Tr0ub4dor&3",
        "mein Passwort lautet Geheim99",
        "mot de passe: soleil42",
        "the wifi password for the cabin is BlueMoon!",
        "password: 'correct horse battery staple'",
        "passphrase is correct-horse-battery",
        "pwd=abc123",
    ],
    "PIN": ["my PIN is 4821", "The pin for the garage is 0419", "pin: 123456", "CVV 123"],
    "card number": ["card 4111 1111 1111 1111", "5500-0000-0000-0004", "Amex 378282246310005, exp 09/27"],
}

SAID = [
    "my password is too weak",
    "The password is in the safe",
    "a password is required here",
    "I forgot my password",
    "her password was stolen last year",
    "passwords are 8-12 characters long",
    "the API key is stored in the vault",
    "api key: YOUR_API_KEY",
    "password = request.form['password']",
    "password: str",
    "self.password = self.make_password",
    "Password: <input type='password'>",
    "slack_token = 'xoxb-your-slack-token'",
    "pin the note to the wall",
    "I pinned 2023 photos",
    "PIN codes expire in 2027",
    "card 4111 1111 1111 1112",
    "call me at 415 555 2671 or 030 1234567",
    "order 1234567890123456",
    "in 2020 2021 2022 2023 and 2024",
    "takes 20 mg daily since 5 May 2023",
    "the key point of the session: bring 3 items",
    "https://example.org/a:b@c",
    "",
]


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in TOLD.items() for text in texts])
def test_a_secret_is_seen_and_named(kind: str, text: str) -> None:
    assert find_secret(text) == kind
    assert find_secret(f"By the way, don't forget:\n{text}\nThanks!") == kind


@pytest.mark.parametrize("text", SAID)
def test_talk_about_secrets_is_no_secret(text: str) -> None:
    assert find_secret(text) is None


@pytest.mark.parametrize("unit", ["password ", "1 ", "password for a ", "://", "a:b:", "eyJ", "sk-", "PIN for "])
def test_time_grows_with_the_text_only(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    started = time.perf_counter()
    find_secret(text)
    assert time.perf_counter() - started < 3
