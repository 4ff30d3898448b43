"""Bespoke Curator in its batch mode, with so many lines in a batch."""

from __future__ import annotations

from benchmarks.peers.curator import run
from benchmarks.peers.task import BATCH_MAX_TOKENS, Task


def main(task: Task) -> None:
    """Run the whole job."""
    lines = {"batch_size": task.concurrency, "batch_check_interval": 1}
    run(task, max_tokens=BATCH_MAX_TOKENS, backend_params=lines, batch=True)


if __name__ == "__main__":
    main(Task.of_command_line())
