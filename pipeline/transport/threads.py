"""The standard way to the endpoint: requests' own adapter, which blocks, in threads."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable, Mapping
from queue import SimpleQueue

import requests

from pipeline.errors import PipelineError
from pipeline.transport.adapter import ReplyResponse, WatchedRequest
from pipeline.transport.burst import ThreadBurst
from pipeline.transport.loop import Loop
from pipeline.transport.reply import HeldBack, Outcome, TransportError, Watch
from pipeline.transport.route import Route
from pipeline.transport.standard import StandardAdapter

MOST_THREADS = 256
"""Requests that one process has in flight by the standard way."""

_STACK_BYTES = 512 * 1024

Work = tuple[bytes, Watch, Callable[[Outcome], None]]


class _Meeting(Watch):
    """Has an attempt meet the others of its burst; the rest is what another watch says."""

    def __init__(self, watch: Watch, burst: ThreadBurst) -> None:
        self.fresh, self.patience = watch.fresh, watch.patience
        self._watch = watch
        self._ahead = [burst.ready, burst.sent]

    def sending(self) -> None:
        self._ahead.pop(0).wait()
        self._watch.sending()

    def sent(self) -> None:
        self._ahead.pop(0).wait()

    def replied(self, status: int, headers: Mapping[str, str]) -> None:
        self._watch.replied(status, headers)
        self.takes_body = self._watch.takes_body

    def received(self, piece: bytes) -> None:
        self._watch.received(piece)
        self.patience = self._watch.patience

    def ended(self) -> None:
        """Let no other wait for this one."""
        for meeting in self._ahead:
            meeting.arrive()


class Threads:
    """Sends over one route, from a thread for each request in flight, up to `slots`; they are started as needed."""

    def __init__(
        self,
        loop: Loop,
        route: Route,
        request: WatchedRequest,
        *,
        connections: int,
        timeout_seconds: float,
        most_bytes: int,
    ) -> None:
        self._loop = loop
        self._request = request
        self._timeout_seconds = timeout_seconds
        self.slots = min(connections, MOST_THREADS)
        """Fewer where the system starts no more threads."""
        self._adapter = StandardAdapter(route, connections=self.slots, most_bytes=most_bytes)
        self._session = requests.Session()
        self._session.trust_env = False
        self._session.mount("http://", self._adapter)
        self._session.mount("https://", self._adapter)
        self._work: SimpleQueue[Work | None] = SimpleQueue()
        self._threads = 0
        self._under_way = 0

    def burst(self, size: int) -> ThreadBurst | None:
        """What so many attempts are to be started with; None where others are under way."""
        return ThreadBurst(min(size, self.slots)) if size > 1 and not self._under_way else None

    def start(self, body: bytes, watch: Watch, done: Callable[[Outcome], None], burst: ThreadBurst | None) -> None:
        """Begin an attempt; `done` gets what comes of it, in the thread of the loop.

        Raises PipelineError where the system does not start a single thread.
        """
        self._under_way += 1
        if self._threads < min(self._under_way, self.slots):
            self._start_thread()
        self._work.put((body, watch if burst is None else _Meeting(watch, burst), done))

    def close(self) -> None:
        """Close the idle connections, and each of the others after its attempt; later attempts fail."""
        self._session.close()

    def abandon(self) -> None:
        """Close, and end every attempt under way at once."""
        self._adapter.abandon()
        for _ in range(self._threads):
            self._work.put(None)

    def _start_thread(self) -> None:
        # Daemon threads: a request that hangs in the resolver must not keep the program from ending.
        previous = threading.stack_size(_STACK_BYTES)
        try:
            threading.Thread(target=self._run, name="sender", daemon=True).start()
        except RuntimeError as error:
            if not self._threads:
                raise PipelineError(
                    "the system starts no thread to send from: raise the limit on processes (ulimit -u), memory"
                    " (ulimit -v) or the container's pids"
                ) from error
            self.slots = self._threads
            return
        finally:
            threading.stack_size(previous)
        self._threads += 1

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            body, watch, done = work
            try:
                outcome: Outcome | BaseException = self._post(body, watch)
            except BaseException as error:
                outcome = error
            if isinstance(watch, _Meeting):
                watch.ended()
            self._loop.call(lambda outcome=outcome, done=done: self._end(outcome, done))  # type: ignore[misc]

    def _post(self, body: bytes, watch: Watch) -> Outcome:
        request = copy.copy(self._request)
        request.body = body
        request.watch = watch
        response = self._session.send(
            request, stream=True, timeout=self._timeout_seconds, proxies={}, allow_redirects=False
        )
        assert isinstance(response, ReplyResponse)
        return response.reply

    def _end(self, outcome: Outcome | BaseException, done: Callable[[Outcome], None]) -> None:
        self._under_way -= 1
        if isinstance(outcome, BaseException) and not isinstance(outcome, TransportError | HeldBack):
            raise outcome
        done(outcome)
