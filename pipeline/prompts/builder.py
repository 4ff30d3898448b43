"""From a row to a request."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from msgspec.structs import replace

from pipeline.config.models import PROMPT_KEYS, ParametersConfig, PromptConfig
from pipeline.errors import ErrorKind, InvalidJob, Mistake
from pipeline.expect import Telling
from pipeline.prompts.chat import INSTRUCTING, read_messages
from pipeline.prompts.failures import PromptFailure, missing_column
from pipeline.prompts.images import image_parts
from pipeline.prompts.interface import RENDER_SECONDS
from pipeline.prompts.parameters import ParameterReader, moved_seed
from pipeline.prompts.texts import is_blank, scalar_text
from pipeline.prompts.trial import Trial, same_for_all_rows, try_rows
from pipeline.prompts.window import check_window
from pipeline.providers import ParameterValues
from pipeline.records import JsonObject, Message, PrintedList, PrintedObject, Request, Row
from pipeline.surrogates import well_formed
from pipeline.wording import listed

if TYPE_CHECKING:
    from pipeline.prompts.templates import Template

_T = TypeVar("_T")


class RequestBuilder:
    """Makes the requests of a job; `columns` are the input columns it uses. Safe from many threads.

    `prompt.system` goes first; where the row brings messages, only if none of them is a system message. A blank system
    text is left out. Examples come before the user's message. `telling` tells the endpoint what the answer has to be.
    With `needs_max_tokens` a row without it makes no request. Raises InvalidJob with every mistake that can be seen
    without a row.
    """

    def __init__(
        self,
        prompt: PromptConfig,
        parameters: ParametersConfig,
        model: str,
        columns: Sequence[str],
        parameter_ranges: Mapping[str, ParameterValues],
        context_window: int | None,
        *,
        needs_max_tokens: bool = False,
        extra_body: JsonObject | None = None,
        telling: Telling | None = None,
    ) -> None:
        self._model = model
        self._ranges = parameter_ranges
        self._extra_body = dict(extra_body or {})
        if prompt.tools is not None:
            self._extra_body["tools"] = list(prompt.tools)
        self._examples = tuple(_examples(prompt))
        self._telling = telling
        self._context_window = context_window
        mistakes: list[Mistake] = []
        self._system = _checked(lambda: _template(prompt.system, "prompt.system", columns), mistakes)
        self._user = _checked(lambda: _template(prompt.user, "prompt.user", columns), mistakes)
        self._parameters = _checked(
            lambda: ParameterReader(parameters, parameter_ranges, columns, needs_max_tokens=needs_max_tokens), mistakes
        )
        self._column = prompt.column
        self._chat = prompt.messages
        self._images = prompt.images or ()
        self._sends_addresses = prompt.image_urls is not None
        if len(prompt.given) != 1:
            mistakes.append(Mistake(f"a prompt has exactly one of {listed(PROMPT_KEYS)}", key="prompt"))
        images = ((f"prompt.images[{index}]", name) for index, name in enumerate(self._images))
        for key, name in (("prompt.column", prompt.column), ("prompt.messages", prompt.messages), *images):
            if name is not None and name not in columns:
                mistakes.append(missing_column(key, name, columns))
        if mistakes or self._parameters is None:
            raise InvalidJob(mistakes)
        used = [template.columns for template in (self._system, self._user) if template is not None]
        plain = {name for name in (prompt.column, prompt.messages) if name is not None}
        in_prompt = frozenset(plain).union(self._images, *used)
        self.columns: frozenset[str] = self._parameters.columns | in_prompt
        self._same_for_all = None
        if not in_prompt and not prompt.constant:
            self._same_for_all = same_for_all_rows([prompt.user or "", prompt.system or ""], columns)
        self._read_parameters = self._parameters.read

    def request(self, row: Row, seconds: float = RENDER_SECONDS) -> Request:
        """Return the request of one row, which needs to hold `columns` only; each of its templates may take `seconds`.

        Raises PromptFailure; nothing is sent then.
        """
        messages = self._messages(row, seconds)
        request = Request(self._model, messages, self._read_parameters(row), self._extra_body)
        if self._telling is not None:
            request = self._telling.told(request)
        check_window(request.messages, self._context_window)
        return request

    def sampled(self, request: Request, sample: int) -> Request:
        """Return the request of sample number `sample` of the same row: where it has a seed, with seed + sample."""
        seed = request.parameters.get("seed")
        if not isinstance(seed, int) or not sample:
            return request
        moved = moved_seed(seed, sample, self._ranges["seed"])
        return replace(request, parameters={**request.parameters, "seed": moved})

    def trial(
        self,
        rows: Iterable[Row],
        seconds: float = RENDER_SECONDS,
        total_seconds: float | None = None,
        most_tokens: float | None = None,
    ) -> Trial:
        """Make the requests of some rows and send none, as `try_rows` does. `total_seconds` is `seconds` by default.

        That all rows would be asked the same is a mistake, unless `prompt.constant` says that it is meant.
        """
        waiting = iter(rows)
        first = list(islice(waiting, 2))
        if len(first) > 1 and self._same_for_all is not None:
            return Trial([self._same_for_all])
        total = seconds if total_seconds is None else total_seconds
        return try_rows(self.request, chain(first, waiting), seconds, total, most_tokens)

    def _messages(self, row: Row, seconds: float) -> tuple[Message, ...]:
        if self._chat is not None:
            messages = read_messages(row[self._chat], sends_addresses=self._sends_addresses)
            if self._system is None or any(message["role"] in INSTRUCTING for message in messages):
                return messages
            return (*self._system_message(row, seconds), *messages)
        text = self._user.render(row, seconds) if self._user is not None else _column_text(row, str(self._column))
        if is_blank(text):
            raise PromptFailure(ErrorKind.EMPTY_PROMPT, "the prompt is empty")
        user: Message = {"role": "user", "content": text}
        if self._images and (parts := image_parts(row, self._images, sends_addresses=self._sends_addresses)):
            user["content"] = [{"type": "text", "text": text}, *parts]
        return (*self._system_message(row, seconds), *self._examples, user)

    def _system_message(self, row: Row, seconds: float) -> tuple[Message, ...]:
        text = self._system.render(row, seconds) if self._system is not None else ""
        return () if is_blank(text) else ({"role": "system", "content": text},)


def template_mistakes(prompt: PromptConfig) -> list[Mistake]:
    """Return what is wrong with the templates of a prompt whatever the columns are."""
    mistakes: list[Mistake] = []
    for key, text in (("prompt.system", prompt.system), ("prompt.user", prompt.user)):
        if text is not None:
            from pipeline.prompts.templates import parse

            try:
                parse(text, key)
            except InvalidJob as error:
                mistakes += error.mistakes
    return mistakes


def condition_mistakes(text: str | None) -> list[Mistake]:
    """Return what is wrong with `input.where` whatever the columns are."""
    if text is not None:
        from pipeline.prompts.conditions import check_condition

        try:
            check_condition(text, "input.where")
        except InvalidJob as error:
            return list(error.mistakes)
    return []


def _examples(prompt: PromptConfig) -> Iterator[Message]:
    """Yield the messages of the examples; a file of them has been read before."""
    for example in prompt.examples if isinstance(prompt.examples, tuple) else ():
        yield {"role": "user", "content": example.user}
        yield {"role": "assistant", "content": example.assistant}


def _template(text: str | None, key: str, columns: Sequence[str]) -> Template | None:
    if text is None:
        return None
    # Jinja2 takes long to import; a job with a column or messages does without.
    from pipeline.prompts.templates import Template

    return Template(text, key, columns)


def _column_text(row: Row, column: str) -> str:
    value = row[column]
    text = str(value) if isinstance(value, (PrintedList, PrintedObject)) else scalar_text(value)
    if text is None:
        message = f"column {column!r} holds a list or a struct; use prompt.messages, or a template"
        raise PromptFailure(ErrorKind.PROMPT_ERROR, message, key="prompt.column")
    return well_formed(text)


def _checked(build: Callable[[], _T], mistakes: list[Mistake]) -> _T | None:
    try:
        return build()
    except InvalidJob as error:
        mistakes.extend(error.mistakes)
        return None
