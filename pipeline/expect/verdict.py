"""Whether an answer holds, and what is asked after one that does not. Pure functions over what a job expects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from pipeline.errors import ErrorKind
from pipeline.expect.expectation import Expectation, Invalid
from pipeline.expect.forms import Telling
from pipeline.records import JsonObject, Message, Request

SEED_STEP = 1_000_000
"""How far the seeds of one row's answers are apart."""


class Objection(Struct, frozen=True):
    """Why an answer does not hold: the kind of failure, and the words for it."""

    kind: ErrorKind
    words: str


class Expected(Struct, frozen=True):
    """What a job expects of its answers, and how often it asks for one. `seeds` brings a seed into the endpoint's
    range; `facts` are what makes it another expectation when it changes.
    """

    expectation: Expectation
    telling: Telling
    attempts: int
    feedback: bool
    seeds: Callable[[int], int]
    facts: JsonObject

    def objection(self, response: str | None, *, truncated: bool | None) -> Objection | None:
        """Return what is wrong with an answer; None where it holds. One that was cut off is never read."""
        if truncated:
            return Objection(ErrorKind.TRUNCATED_ANSWER, "the answer was cut off at max_tokens")
        if not response:
            return Objection(ErrorKind.INVALID_ANSWER, "the answer has no text")
        try:
            self.expectation.read(response)
        except Invalid as invalid:
            return Objection(ErrorKind.INVALID_ANSWER, str(invalid))
        return None

    def value(self, response: str | None, *, truncated: bool | None) -> Any:
        """Return what is read out of an answer, as its column holds it; None where the answer does not hold."""
        if truncated or not response:
            return None
        try:
            return self.expectation.read(response)
        except Invalid:
            return None

    def asks_again_after(self, answers: int) -> bool:
        """Return whether a row that has had so many answers, none of which holds, is asked for another one. A row that
        has failed once begins anew.
        """
        return answers % self.attempts != 0

    def following(self, request: Request, answers: int, last: str | None, words: str | None) -> Request:
        """Return what is asked after so many answers: the request with its own seed, and with feedback the `last`
        answer and what is wrong with it. `words` is None after an answer that was cut off: the question alone.
        """
        if not answers:
            return request
        parameters = dict(request.parameters)
        if isinstance(seed := parameters.get("seed"), int):
            parameters["seed"] = self.seeds(seed + SEED_STEP * answers)
        request = replace(request, parameters=parameters)
        if not self.feedback or not last or words is None:
            return request
        told: Message = {"role": "assistant", "content": last}
        asked: Message = {"role": "user", "content": f"This answer is not valid: {words}. Give a valid one."}
        return replace(request, messages=(*request.messages, told, asked))
