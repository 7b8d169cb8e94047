import pytest

from agentmem.text import asks_of_asker, count_tokens, stems, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Anna's dogs were running", ["anna", "dog", "run"]),
        ("It costs 1,000 and 3.5 more", ["cost", "1000", "3.5"]),
        ("on 2023-05-07 at 9:30", ["2023", "05", "07", "9", "30"]),
        ("20mg on the 3rd", ["20", "mg", "3"]),
        ("I can't, I won't", ["not", "not"]),
        ("Übergröße für Zoë", ["übergröss", "für", "zoë"]),
        ("\ufb01le", ["file"]),
        ("东京大学", ["东京", "京大", "大学"]),
        ("what is it?", []),
        ("\x00 \ud800", []),
        ("", []),
    ],
)
def test_stems(text: str, expected: list[str]) -> None:
    assert stems(text) == expected


def test_an_apostrophe_is_one_however_it_is_typed() -> None:
    assert words("don\u2019t say Anna\u2019s") == words("don't say Anna's") == ["not", "say", "anna"]


def test_the_month_of_may_is_no_stop_word() -> None:
    assert stems("in May") == ["may"]


def test_stems_of_a_megabyte_come_in_order() -> None:
    assert stems("ab cd " * 170_000)[:3] == ["ab", "cd", "ab"]


def test_tokens_are_counted_roughly_and_never_zero() -> None:
    assert count_tokens("") == 1
    assert 20 <= count_tokens("word " * 20) <= 30
    assert count_tokens("\ud800") >= 1


@pytest.mark.parametrize(
    ("question", "of_asker"),
    [
        ("Where do I live?", True),
        ("What is my dog called?", True),
        ("Where would you recommend that I eat?", True),
        ("Can you list what we planned?", True),
        ("What have you learned about me?", True),
        ("Where does Ann live?", False),
        ("What did you recommend for my knee?", False),
        ("What have you just told me?", False),
        ("Which wine was it that you\u2019ve suggested to us?", False),
        ("My sister liked what you said", False),
    ],
)
def test_a_question_is_of_who_asks_it_unless_it_is_of_what_the_other_said(question: str, of_asker: bool) -> None:
    assert asks_of_asker(question) is of_asker
