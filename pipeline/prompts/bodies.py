"""From the body of a request in a batch file to the request."""

from __future__ import annotations

from collections.abc import Iterable

from pipeline.errors import ErrorKind
from pipeline.prompts.failures import PromptFailure
from pipeline.prompts.interface import RENDER_SECONDS
from pipeline.prompts.trial import Trial, try_rows
from pipeline.prompts.window import check_window
from pipeline.records import JsonObject, Message, ParameterValue, Request, Row

_NOT_SENT = frozenset({"model", "messages", "seed", "stream"})


class BodyBuilder:
    """Makes the requests of a job whose rows bring their bodies: each goes out as it is.

    The model is the job's, and `extra_body` adds the keys that a body lacks. With `needs_max_tokens` a row whose body
    does not limit its answer makes no request.
    """

    def __init__(
        self,
        column: str,
        model: str,
        context_window: int | None,
        *,
        needs_max_tokens: bool = False,
        extra_body: JsonObject | None = None,
    ) -> None:
        self.columns = frozenset({column})
        self._column = column
        self._model = model
        self._context_window = context_window
        self._needs_max_tokens = needs_max_tokens
        self._extra_body = dict(extra_body or {})

    def request(self, row: Row, seconds: float = RENDER_SECONDS) -> Request:
        """Return the request of one row; there is no template that could take `seconds`.

        Raises PromptFailure; nothing is sent then.
        """
        del seconds
        body: JsonObject = {**self._extra_body, **row[self._column]}
        messages: tuple[Message, ...] = tuple(body["messages"])
        parameters: dict[str, ParameterValue] = {}
        others = {name: value for name, value in body.items() if name not in _NOT_SENT}
        if isinstance(seed := body.get("seed"), int):
            parameters["seed"] = seed  # another answer to the same row has another one
        elif "seed" in body:
            others["seed"] = seed
        request = Request(self._model, messages, parameters, others)
        if self._needs_max_tokens and request.max_tokens is None:
            message = "the body has neither max_tokens nor max_completion_tokens, and a cost cap needs one"
            raise PromptFailure(ErrorKind.PROMPT_ERROR, message)
        check_window(messages, self._context_window)
        return request

    def sampled(self, request: Request, sample: int) -> Request:
        """Return the request itself: each line asks for one answer."""
        del sample
        return request

    def trial(
        self,
        rows: Iterable[Row],
        seconds: float = RENDER_SECONDS,
        total_seconds: float | None = None,
        most_tokens: float | None = None,
    ) -> Trial:
        """Make the requests of some rows and send none, as `try_rows` does. `total_seconds` is `seconds` by default."""
        return try_rows(self.request, rows, seconds, seconds if total_seconds is None else total_seconds, most_tokens)
