"""Answers to one row as ballots: what most of them say, and how far they agree."""

from __future__ import annotations

import pytest

from pipeline.expect.votes import Agreement, Agreements, Won, ballot_of, majority


@pytest.mark.parametrize(
    ("ballots", "won"),
    [
        ("aab", Won("a", 2 / 3)),
        ("a", Won("a", 1.0)),
        ("baab", None),
        ("abc", None),
        ("", None),
        ("abbcc", None),
        ("aaabbcc", Won("a", 3 / 7)),
    ],
)
def test_the_most_frequent_answer_wins_unless_another_is_as_frequent(ballots: str, won: Won[str] | None) -> None:
    assert majority(ballots) == won


def test_equal_values_are_the_same_ballot() -> None:
    assert ballot_of(4) == ballot_of(4.0) == "4"
    assert ballot_of({"b": [1.0], "a": None}) == ballot_of({"a": None, "b": [1]})
    assert ballot_of("4") != ballot_of(4)
    assert ballot_of(True) != ballot_of(1)


def test_agreement_is_over_rows_with_two_answers_at_least() -> None:
    found = Agreements(None)
    for row in ("aa", "ab", "aab", "a", ""):
        found.add([[answer] for answer in row])
    found.add([["a"], [None]])
    share = round((1 + 1 / 2 + 2 / 3) / 3, 6)
    assert found.figures == {"response": Agreement(rows=3, share=share, unanimous=1, tied=1)}
    assert Agreements(None).figures == {"response": Agreement(0, None, 0, 0)}
