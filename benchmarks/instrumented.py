"""Runs the command with its commits and its publishing timed: instrumented.py TIMES COMMAND…

The wrappers stand here and not in the program, which has no hooks for them. TIMES becomes a JSON object: `commits`, one
list each of seconds, CPU seconds of its thread, slots that it freed, and the seconds from the last byte of each answer
to the end of the commit; `publish`, seconds and CPU seconds of each publishing. Of buying by batches they are the CPU
seconds of the thread: `lines`, each line's making; `fill`, all that goes out; `collect`, all that comes back.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from pipeline.cli import main
from pipeline.cli.memory import keep_little

keep_little()  # as the command does, before pyarrow is imported

import pipeline.app.running.publishing  # noqa: E402
import pipeline.batches.incoming  # noqa: E402
import pipeline.batches.outgoing  # noqa: E402
from pipeline.journal import Changes, Journal  # noqa: E402


def time_commits(found: list[Any]) -> None:
    """Have every commit of the journal append what it took to `found`."""
    commit = Journal.commit

    def timed(self: Journal, changes: Changes) -> int:
        cpu, started = time.thread_time(), time.perf_counter()
        try:
            return commit(self, changes)
        finally:
            seconds, cpu, now = time.perf_counter() - started, time.thread_time() - cpu, time.time()
            ends = [event.record.finished_at for event in changes.events]
            waits = [now - end for end in ends if end is not None]
            found.append((seconds, cpu, len(changes.release), waits))

    Journal.commit = timed  # type: ignore[method-assign]


def time_publishing(found: list[Any]) -> None:
    """Have every publishing append what it took to `found`."""
    publish = pipeline.app.running.publishing.publish  # type: ignore[attr-defined]

    def timed(*words: Any, **others: Any) -> int:
        cpu, started = time.process_time(), time.perf_counter()
        try:
            rows: int = publish(*words, **others)
        finally:
            found.append((time.perf_counter() - started, time.process_time() - cpu))
        return rows

    pipeline.app.running.publishing.publish = timed  # type: ignore[attr-defined]


def time_batches(times: dict[str, list[Any]]) -> None:
    """Have the parts of buying by batches append what they took."""
    _time(pipeline.batches.outgoing, "request_line", times["lines"])
    _time(pipeline.batches.outgoing.Outgoing, "_fill", times["fill"])
    _time(pipeline.batches.incoming.Incoming, "_collect", times["collect"])


def _time(where: Any, name: str, found: list[Any]) -> None:
    function = getattr(where, name)

    def timed(*words: Any, **others: Any) -> Any:
        started = time.thread_time()
        try:
            return function(*words, **others)
        finally:
            found.append(time.thread_time() - started)

    setattr(where, name, timed)


if __name__ == "__main__":
    times: dict[str, list[Any]] = {"commits": [], "publish": [], "lines": [], "fill": [], "collect": []}
    path = Path(sys.argv.pop(1))
    time_commits(times["commits"])
    time_publishing(times["publish"])
    time_batches(times)
    try:
        main()
    finally:
        path.write_text(json.dumps(times), encoding="utf-8")
