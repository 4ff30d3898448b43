"""Running the simulator: in a thread of this process, or in the foreground of its own process."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future
from typing import Self

from pipeline.simulator.service import Service, Settings
from pipeline.simulator.wire import HEAD_LIMIT

HOST = "127.0.0.1"
_BACKLOG = 4_096
_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Simulator:
    """The endpoint as a server on loopback, in a daemon thread.

    Use it as a context manager, or call `start` and `stop`; it can be started again after a stop. `address` is where it
    listens, `http://127.0.0.1:PORT`.
    """

    def __init__(self, settings: Settings | None = None) -> None:
        self.settings = settings or Settings()
        self.address = ""
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop
        self._stop: asyncio.Event

    def start(self) -> str:
        """Listen, and return the address. Raises OSError if the port or the ledger cannot be opened."""
        if self._thread is not None:
            raise RuntimeError("the simulator is running already")
        listening: Future[str] = Future()
        thread = threading.Thread(target=self._run, args=(listening,), name="simulator", daemon=True)
        thread.start()
        self.address = listening.result()
        self._thread = thread
        return self.address

    def stop(self) -> None:
        """Close every connection and end the thread. Requests in flight get no reply."""
        if self._thread is None:
            return
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._thread = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def _run(self, listening: Future[str]) -> None:
        try:
            asyncio.run(self._main(listening))
        except BaseException as error:
            if listening.done():
                raise
            listening.set_exception(error)  # `start` waits for it in the other thread

    async def _main(self, listening: Future[str]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        await _listen(self.settings, listening.set_result, self._stop)


def serve(settings: Settings, announce: Callable[[str], None]) -> None:
    """Serve in the foreground until SIGINT or SIGTERM; `announce` gets the base address once it listens.

    Must run in the main thread of a process. Raises OSError if the port or the ledger cannot be opened.
    """
    _allow_connections()
    asyncio.run(_serve(settings, announce))


def _allow_connections() -> None:
    """Raise the limit on open files as far as allowed: each connection uses one, and 1,024 is a common limit."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))


async def _serve(settings: Settings, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in _SIGNALS:
        loop.add_signal_handler(number, stop.set)
    await _listen(settings, announce, stop)


async def _listen(settings: Settings, announce: Callable[[str], None], stop: asyncio.Event) -> None:
    service = Service(settings)
    tasks: set[asyncio.Task[None]] = set()

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        try:
            await service.serve(reader, writer)
        except asyncio.CancelledError:  # only a stop cancels
            writer.transport.abort()
        finally:
            tasks.discard(task)

    try:
        server = await asyncio.start_server(connected, HOST, settings.port, limit=HEAD_LIMIT, backlog=_BACKLOG)
        try:
            announce(f"http://{HOST}:{server.sockets[0].getsockname()[1]}")
            await stop.wait()
        finally:
            server.close()
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        service.close()
