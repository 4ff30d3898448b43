"""The next request of a row, if the job says what its answers have to be."""

from __future__ import annotations

import re
from collections.abc import Callable

from pipeline.errors import ErrorKind
from pipeline.expect import Expected, Objection
from pipeline.journal import Outcome
from pipeline.records import Failure, Request
from pipeline.runner.feed import History, Work

_UNTAKEN = re.compile(r"response_?format|json_?schema|json mode|structured|guided|grammar", re.IGNORECASE)
_REFUSALS = frozenset({ErrorKind.BAD_REQUEST, ErrorKind.SCHEMA_NOT_SUPPORTED})


class Asking:
    """Judges answers, and asks again.

    If the endpoint refuses the form in which it is told what to answer, the prompt tells it for the rest of the run,
    and `warn` is called. A row keeps its hash all the same.
    """

    def __init__(self, expected: Expected, warn: Callable[[str], None]) -> None:
        self._expected = expected
        self._telling = expected.telling
        self._warn = warn
        self._has_fallen_back = False

    def prepare(self, work: Work) -> None:
        """Set the next request of a row, by the answers that it was given before."""
        first = work.first_request or work.request
        if self._has_fallen_back and self._telling.is_in_form(first):
            first = self._telling.fallen_back(first)
        elif not work.history.answers:
            return
        history, work.first_request = work.history, first
        work.request = self._expected.following(first, history.answers, history.last_answer, history.objection)

    def judged(self, record: Outcome, history: History) -> tuple[Outcome, Objection | None]:
        """Return the record of an answer with its objection, and the objection itself; None if the answer is valid."""
        objection = self._expected.objection(record.response, truncated=record.truncated)
        record = record._replace(answer_attempts=history.answers + 1)
        if history.answers and history.cost is None:
            record = record._replace(cost=None)  # the cost of an earlier answer is unknown
        if objection is None:
            return record, None
        kept = history.kept
        is_cut = objection.kind is ErrorKind.TRUNCATED_ANSWER
        return record._replace(
            error_kind=objection.kind,
            error_message=objection.words,
            objection=None if is_cut else objection.words,
            source=kept.source if kept else 0,
            kept_as=int(kept.kept_as) if kept else None,
            stood_for=kept.stood_for if kept else (),
        ), objection

    def asks_again(self, record: Outcome) -> bool:
        """Return whether a row whose last answer, of this record, was rejected is asked again."""
        return self._expected.asks_again_after(record.answer_attempts)

    def is_in_form(self, request: Request) -> bool:
        """Return whether a request tells the endpoint in a form that it may refuse."""
        return self._telling.is_in_form(request)

    def falls_back(self, failure: Failure) -> bool:
        """Return whether the failure of a request in that form only says that the endpoint does not accept it. The row
        is then sent again.
        """
        if failure.kind not in _REFUSALS:
            return False
        if failure.kind is ErrorKind.BAD_REQUEST and not _UNTAKEN.search(failure.message):
            return False
        if not self._has_fallen_back:
            self._has_fallen_back = True
            self._warn(
                f"the endpoint does not take `response_format` ({failure.kind}, HTTP {failure.http_status}); the prompt"
                " tells it from now on"
            )
        return True


def with_answers(record: Outcome, history: History) -> Outcome:
    """Return the record of a failed attempt, with the answers that the row was given before."""
    if not history.answers:
        return record
    return record._replace(answer_attempts=history.answers, response=history.last_answer, objection=history.objection)
