"""What is taken out of a reply before anything keeps it."""

from __future__ import annotations

import json

import pytest

from pipeline.redaction import Redaction

KEY = "sk-7f3b9c2e51d84a06"


@pytest.mark.parametrize("value", ["team-a", 'quo"ted value', "back\\slash", "gr\u00fc\u00dfe-team"])
@pytest.mark.parametrize("levels", [0, 1, 2])
def test_a_header_s_value_comes_back_as_stars_however_it_is_escaped(value: str, levels: int) -> None:
    text = f"you sent {value} here"
    for _ in range(levels):
        text = json.dumps(text)
    cleaned = Redaction(None, [value]).clean(text.encode())
    assert b"***" in cleaned and value.encode() not in cleaned
    for _ in range(levels):
        cleaned = json.loads(cleaned).encode()
    assert cleaned == b"you sent *** here"


def test_a_value_of_less_than_six_characters_is_not_looked_for() -> None:
    assert Redaction(None, ["teams", "", "x"]).clean(b"teams x") == b"teams x"


def test_one_value_within_another_leaves_no_rest() -> None:
    assert Redaction(KEY, ["secret", "secret-and-more"]).clean(f"secret-and-more {KEY} secret".encode()) == (
        b"*** [key] ***"
    )
