"""The smallest request there is, to see whether the endpoint answers: what `doctor --online` sends."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

from pipeline.app.jobs.endpoint import endpoint_address, sender_config
from pipeline.app.jobs.pricing import price_of
from pipeline.app.use_cases.doctor import Check
from pipeline.catalogue import Bounds, cost, worst_cost
from pipeline.client import Client, Task
from pipeline.config import Job
from pipeline.endings import Exit, StopKind
from pipeline.errors import InvalidInput
from pipeline.limits import Pause
from pipeline.records import Failure, Message, Request
from pipeline.redaction import Redaction
from pipeline.transport import AttemptHooks, Outcome, RawReply, RequestBody, Transport
from pipeline.wording import money

_MOST_SKEW_SECONDS = 30.0


def ask(job: Job, environ: Mapping[str, str], announce: Callable[[str], None]) -> Iterator[Check]:
    """Ask the endpoint for one token. `announce` gets the maximum cost as text before anything is sent."""
    config = job.config
    messages: tuple[Message, ...] = ({"role": "user", "content": "Hi"},)
    request = Request(config.endpoint.model, messages, {"max_tokens": 1}, config.endpoint.extra_body or {})
    price = price_of(config)
    worst = worst_cost(price, Bounds.of(request, None))
    most = "an unknown price" if worst is None else f"at most ${money(worst)}"
    announce(f"asking {config.endpoint.model} for one token, for {most}")
    try:
        with endpoint_address(job) as address:
            sender = sender_config(job, address, environ)
            transport = _Witness(
                sender.endpoint.url,
                sender.headers,
                connections=1,
                timeout_seconds=sender.timeout_seconds,
                standard=sender.standard,
            )
            try:
                redaction = Redaction(sender.key, sender.header_values)
                attempt = Client(sender.endpoint, transport, Pause(), redaction).attempt(Task(1, request))
            finally:
                transport.end()
    except InvalidInput as error:
        yield Check("endpoint", str(error), "see what is said of the key and the proxy", Exit.REFUSED)
        return
    result = attempt.result
    if result is None or isinstance(result, Failure):
        kind, message = (StopKind.RETRY_AFTER, "a pause") if result is None else (result.kind, result.message)
        yield Check("endpoint", f"{kind}: {message}", f"docs/errors.md says what {kind} means", Exit.REFUSED)
    else:
        billed = cost(price, result.usage)
        paid = "for a price that is not known" if billed is None else f"for ${money(billed)}"
        yield Check("endpoint", f"{config.endpoint.model} answered in {attempt.latency:.2f} s, {paid}")
    if transport.reply is not None:
        yield from _skew(transport.reply.headers.get("Date"), attempt.finished_at)


class _Witness(Transport):
    """Keeps the reply, for its headers."""

    reply: RawReply | None = None

    def start(self, body: RequestBody, hooks: AttemptHooks, done: Callable[[Outcome], None], burst: Any = None) -> None:
        def ended(outcome: Outcome) -> None:
            self.reply = outcome if isinstance(outcome, RawReply) else None
            done(outcome)

        super().start(body, hooks, ended, burst)


def _skew(stamp: str | None, at: float) -> Iterator[Check]:
    """Compare this machine's clock with the endpoint's, which dates its Retry-After."""
    try:
        seconds = at - parsedate_to_datetime(stamp or "").timestamp()
    except ValueError:
        return
    remedy = None if abs(seconds) <= _MOST_SKEW_SECONDS else "set one of the clocks; Retry-After dates would be misread"
    yield Check("clock", f"{seconds:+.0f} s from the endpoint's", remedy)
