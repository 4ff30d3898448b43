"""What the simulated endpoint does with one connection: read, check, draw, answer, record."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
from collections import Counter
from dataclasses import dataclass

from pipeline.simulator import chance
from pipeline.simulator.answers import make_answer
from pipeline.simulator.apis import APIS, DATAOORTS, Api
from pipeline.simulator.batches import FAULTS as BATCH_FAULTS
from pipeline.simulator.batches import Batches
from pipeline.simulator.chat_request import ChatRequest, JsonObject, Refusal, check_key, read_json
from pipeline.simulator.faults import Fault, Outcome, Scene, good
from pipeline.simulator.ledger import Bill, Ledger, count_askings
from pipeline.simulator.rate import RateWindow
from pipeline.simulator.wire import Connection, HttpRequest, Reply, Unreadable, json_reply, metrics_reply, read_request

_BATCHES = "/v1/batches"


@dataclass(frozen=True)
class Settings:
    """How the simulator behaves; the same words are flags of `pipeline simulate`.

    `latency_seconds` is the mean of a log-normal latency and `latency_spread` the standard deviation of its logarithm.
    `fault_rate` is the probability of a fault by chance, `broken_json_rate` that of a structured answer that is not
    what was asked for. With `varies`, a request that is asked again gets another answer, unless it has a seed or the
    temperature 0. `requests_per_minute` holds over every 60 s; None is no limit.
    `best_concurrency` is how many requests are worked on at once, None any number; the others wait.
    A batch is worked on after `batch_seconds`; the first one meets the first of `batch_faults`, and so on.
    `ledger` is a file to append to; `port` 0 picks a free one. Raises ValueError for a value out of range.
    """

    latency_seconds: float = 0.0
    latency_spread: float = 0.0
    fault_rate: float = 0.0
    broken_json_rate: float = 0.0
    varies: bool = False
    seed: int = 0
    requests_per_minute: float | None = None
    best_concurrency: int | None = None
    batch_seconds: float = 0.0
    batch_faults: tuple[str, ...] = ()
    ledger: str | None = None
    port: int = 0

    def __post_init__(self) -> None:
        _require(math.isfinite(self.latency_seconds) and self.latency_seconds >= 0, "latency_seconds must be >= 0")
        _require(math.isfinite(self.latency_spread) and self.latency_spread >= 0, "latency_spread must be >= 0")
        _require(0 <= self.fault_rate <= 1, "fault_rate must be from 0 to 1")
        _require(0 <= self.broken_json_rate <= 1, "broken_json_rate must be from 0 to 1")
        rate = self.requests_per_minute
        _require(rate is None or (math.isfinite(rate) and rate > 0), "requests_per_minute must be > 0")
        _require(self.best_concurrency is None or self.best_concurrency >= 1, "best_concurrency must be >= 1")
        _require(math.isfinite(self.batch_seconds) and self.batch_seconds >= 0, "batch_seconds must be >= 0")
        known = ", ".join(BATCH_FAULTS)
        _require(set(self.batch_faults) <= set(BATCH_FAULTS), f"batch_faults are of: {known}")
        _require(0 <= self.port <= 65_535, "port must be from 0 to 65535")


class Service:
    """The endpoint's state: the ledger, the rate window and how often each prompt was asked."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._askings: Counter[str] = Counter() if settings.ledger is None else count_askings(settings.ledger)
        self._ledger = Ledger(settings.ledger)
        rate = settings.requests_per_minute
        self._window = None if rate is None else RateWindow(rate)
        self._requests = 0
        best = settings.best_concurrency
        self._batch = None if best is None else asyncio.Semaphore(best)
        self._running = self._waiting = 0
        self._batches = Batches(
            self._answer_line, seconds=settings.batch_seconds, faults=settings.batch_faults, seed=settings.seed
        )

    def close(self) -> None:
        """Close the ledger."""
        self._ledger.close()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the requests of one connection until either side closes it."""
        connection = Connection(reader, writer)
        try:
            with contextlib.suppress(ConnectionError):
                while await self._serve_one(connection):
                    pass
        finally:
            writer.close()

    async def _serve_one(self, connection: Connection) -> bool:
        try:
            request = await read_request(connection)
        except Unreadable as unreadable:
            reply = json_reply(unreadable.status, DATAOORTS.error(8001, str(unreadable)))
            await reply.send(connection, reply)
            return False
        if request is None:
            return False
        if request.method == "POST" and request.path in APIS:
            is_open = await self._exchange(connection, request, APIS[request.path])
        else:
            reply = self._elsewhere(request)
            await reply.send(connection, reply)
            is_open = reply.is_complete
        return is_open and request.keeps_connection

    def _elsewhere(self, request: HttpRequest) -> Reply:
        if (reply := self._batches.reply(request)) is not None:
            return reply
        if request.method == "GET" and request.path == "/health":
            return json_reply(200, {"status": "ok", "requests": self._requests})
        if request.method == "GET" and request.path == "/metrics" and self._batch is not None:
            return metrics_reply(self._running, self._waiting)
        if request.path in APIS:
            return json_reply(405, APIS[request.path].error(7000, "Send a POST"), {"Allow": "POST"})
        return json_reply(404, DATAOORTS.error(7000, "No route for that address"))

    async def _exchange(self, connection: Connection, request: HttpRequest, api: Api) -> bool:
        """Answer one request and record it; return whether the connection stays open."""
        self._requests += 1
        n = self._requests
        has_key = bool(request.headers.get("authorization"))
        chat = None
        fault = None
        bill = Bill()
        try:
            check_key(request.headers.get("authorization"))
            chat = api.read(read_json(request.headers.get("content-type"), request.body))
            marker = chance.find_marker(chat.texts)
        except Refusal as refusal:
            self._ledger.asked(n, request.path, has_key, chat)
            outcome = _refuse(api, refusal)
        else:
            self._ledger.asked(n, request.path, has_key, chat)
            outcome, fault, bill = await self._answer(api, chat, marker)
        return await self._deliver(connection, n, fault, outcome, bill)

    async def _answer(
        self, api: Api, chat: ChatRequest, marker: chance.Marker | None
    ) -> tuple[Outcome, Fault | None, Bill]:
        try:
            self._admit()
        except Refusal as refusal:
            return _refuse(api, refusal), None, Bill()
        occurrence = self._count(chat, marker)
        drawn = chance.draw(self._settings.seed, chat.prompt, occurrence)
        fault, options = None, {}
        if marker is not None and (marker.times is None or occurrence < marker.times):
            fault, options = marker.fault, dict(marker.options)
        elif marker is None:
            fault = chance.fault_by_chance(drawn, self._settings.fault_rate)
        breaks = chance.breaks(self._settings.seed, chat.prompt, occurrence, self._settings.broken_json_rate)
        answer = make_answer(self._settings.seed, chat, self._number(chat, occurrence), breaks=breaks)
        outcome = (fault.make if fault else good)(Scene(api, chat, answer, options))
        if outcome.reply.status == 429 and self._window is not None:
            self._window.withdraw()
        if fault is not None and not fault.is_billed:
            return outcome, fault, Bill()
        wait = chance.latency(drawn, self._settings.latency_seconds, self._settings.latency_spread)
        await self._work(wait)
        cost = chat.model.cost(answer.prompt_tokens, answer.completion_tokens)
        return outcome, fault, Bill(answer.prompt_tokens, answer.completion_tokens, cost)

    async def _work(self, seconds: float) -> None:
        """Take so long over a request, once it has its turn."""
        if self._batch is None:
            if seconds:
                await asyncio.sleep(seconds)
            return
        self._waiting += 1
        try:
            await self._batch.acquire()
        finally:
            self._waiting -= 1
        self._running += 1
        try:
            await asyncio.sleep(seconds)
        finally:
            self._running -= 1
            self._batch.release()

    def _answer_line(self, body: JsonObject) -> tuple[int, JsonObject]:
        """Answer a line of a batch at half the price, and record it."""
        api = APIS["/v1/chat/completions"]
        self._requests += 1
        n, chat, bill = self._requests, None, Bill()
        try:
            chat = api.read(body)
        except Refusal as refusal:
            self._ledger.asked(n, _BATCHES, True, None)
            outcome = _refuse(api, refusal)
        else:
            self._ledger.asked(n, _BATCHES, True, chat)
            occurrence = self._count(chat, None)
            breaks = chance.breaks(self._settings.seed, chat.prompt, occurrence, self._settings.broken_json_rate)
            answer = make_answer(self._settings.seed, chat, self._number(chat, occurrence), breaks=breaks)
            outcome = good(Scene(api, chat, answer, {}))
            cost = chat.model.cost(answer.prompt_tokens, answer.completion_tokens) / 2
            bill = Bill(answer.prompt_tokens, answer.completion_tokens, cost)
        self._ledger.answered(n, None, outcome, bill, True)
        return outcome.reply.status or 0, json.loads(outcome.reply.body)

    def _admit(self) -> None:
        if self._window is None:
            return
        wait = self._window.admit(asyncio.get_running_loop().time())
        if wait:
            raise Refusal(429, 3021, "Too many requests per minute", math.ceil(wait))

    def _count(self, chat: ChatRequest, marker: chance.Marker | None) -> int:
        """Count how often this prompt was asked before, unless nothing depends on it: the counts take memory."""
        settings = self._settings
        if not (
            settings.fault_rate or settings.broken_json_rate or settings.latency_spread or settings.varies or marker
        ):
            return 0
        occurrence = self._askings[chat.prompt]
        self._askings[chat.prompt] = occurrence + 1
        return occurrence

    def _number(self, chat: ChatRequest, occurrence: int) -> int:
        """Return which of the answers to a request it gets."""
        is_fixed = "seed" in chat.parameters or chat.parameters.get("temperature") == 0
        return occurrence if self._settings.varies and not is_fixed else 0

    async def _deliver(self, connection: Connection, n: int, fault: Fault | None, outcome: Outcome, bill: Bill) -> bool:
        # The record comes first: a reply that a client has, but no ledger, would make the ledger useless as a witness.
        reply = outcome.reply
        is_delivered = reply.is_complete and not connection.is_closed
        self._ledger.answered(n, None if fault is None else fault.name, outcome, bill, is_delivered)
        try:
            await reply.send(connection, reply)
        except BaseException:
            if is_delivered:
                self._ledger.undelivered(n)
            raise
        return reply.is_complete


def _refuse(api: Api, refusal: Refusal) -> Outcome:
    headers = {} if refusal.retry_after is None else {"Retry-After": str(refusal.retry_after)}
    return Outcome(json_reply(refusal.status, api.error(refusal.code, refusal.message), headers))


def _require(is_met: bool, message: str) -> None:
    if not is_met:
        raise ValueError(message)
