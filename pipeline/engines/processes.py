"""The engine whose senders are separate processes, so that sending and recording each have a core.

A sender stores nothing and exits when its connection closes, so none outlives the run, however the run ends.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress

from pipeline.client import Attempt
from pipeline.engines.crew import LONGEST_TURN, Crew, SenderEnded
from pipeline.engines.sender_config import SenderConfig
from pipeline.engines.sender_process import SECONDS_TO_END, SenderProcess, cannot_start
from pipeline.errors import PipelineError
from pipeline.limits import Pause

_SECONDS_TO_BEGIN = 60.0
_SECONDS_OF_GRACE = 30.0
"""How long after `timeout_seconds` a sender may return a result. The watchdog of a run waits longer."""


class ProcessEngine(Crew[SenderProcess]):
    """Sends from several processes, up to `config.slots` requests together; `pause` applies to all of them.

    A sender may be silent for as long as an attempt takes. Starting takes at most `seconds`; if no sender is ready by
    then, the engine has no slots. Meanwhile `check` is called, which may raise.

    Raises:
        InvalidInput: the configuration cannot be used (see `SenderConfig.client`).
        PipelineError: from the constructor, if a sender cannot start; from `receive`, if the last one has exited.
    """

    def __init__(
        self,
        config: SenderConfig,
        processes: int,
        pause: Pause,
        warn: Callable[[str], None] = lambda message: None,
        seconds: float = math.inf,
        check: Callable[[], None] = lambda: None,
    ) -> None:
        try:
            super().__init__(config.slots, warn)
        except OSError as error:
            raise cannot_start(error) from error
        self._longest_attempt = config.timeout_seconds + _SECONDS_OF_GRACE
        shared = -1
        try:
            shared = pause.share()
            for _ in range(processes):
                self._senders.append(SenderProcess.start(config, shared))
            self._wait_until_ready(seconds, check)
        except OSError as error:
            self.close()
            raise cannot_start(error) from error
        except BaseException:
            self.close()
            raise
        finally:
            with suppress(OSError):
                os.close(shared)

    def close(self) -> None:
        """End all senders, whatever they are doing."""
        senders = self._senders
        super().close()
        give_up = time.monotonic() + SECONDS_TO_END
        for sender in senders:
            sender.end(give_up - time.monotonic())

    def _wait_until_ready(self, seconds: float, check: Callable[[], None]) -> None:
        """Wait for the first sender. If it can send, the others can too; they join when they are ready."""
        give_up = time.monotonic() + min(seconds, _SECONDS_TO_BEGIN)
        while all(sender.slots is None for sender in self._senders):
            left = give_up - time.monotonic()
            if left <= 0:
                if seconds < _SECONDS_TO_BEGIN:
                    return
                raise PipelineError(
                    f"a process to send from was not ready within {_SECONDS_TO_BEGIN:g} s; set limits.processes: 1"
                )
            check()
            self._wait(min(left, LONGEST_TURN))
            for sender in list(self._senders):
                self._take(sender, [], 0.0)

    def _is_waited_for(self, sender: SenderProcess) -> bool:
        return sender.slots is None or bool(sender.in_flight)

    def _most_silent(self, sender: SenderProcess) -> float:
        return _SECONDS_TO_BEGIN if sender.slots is None else self._longest_attempt

    def _ended(self, sender: SenderProcess) -> SenderEnded:
        return sender.ended()

    def _give_up(self, sender: SenderProcess, attempts: list[Attempt]) -> None:
        """End a silent sender, unless it is the last one that can send: the run's watchdog handles that."""
        if sender.slots is None or self._has_others(sender):
            sender.end(0.0)
            self._lose(sender, SenderEnded(f"it said nothing for {sender.silent:.0f} s and was ended"), attempts)

    def _lose(self, sender: SenderProcess, fault: SenderEnded, attempts: list[Attempt]) -> None:
        """Continue without a sender. Raises `fault` if no other is left."""
        if not self._has_others(sender):
            raise fault
        super()._lose(sender, fault, attempts)
