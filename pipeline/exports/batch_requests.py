"""The request files of OpenAI's Batch API: what a job still has to ask, in files that the API accepts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np

from pipeline.errors import CheckpointFailed
from pipeline.journal import State
from pipeline.plan import TO_SEND, Plan, Rows, UnsentFailure
from pipeline.providers import Endpoint
from pipeline.providers.batch_lines import request_line
from pipeline.storage import LOCAL

MAX_LINES = 50_000
MAX_BYTES = 200_000_000
"""The most lines and bytes of one file (platform.openai.com/docs/guides/batch)."""

_STATES = (*TO_SEND, State.FAILED_PASSING)


def write_request_files(
    parts: Sequence[tuple[Rows, Plan]],
    endpoint: Endpoint,
    path: Path,
    owner: str,
    record: Callable[[Path, Path], None],
) -> tuple[int, int]:
    """Write the requests of all rows without an answer, those that failed for good aside, to `requests-00001.jsonl` and
    so on in the directory `path`. A file asks one model, as a batch has to. Returns how many requests, and how many
    rows that make none.

    Args:
        parts: the rows of the job with their plan, or those of each of its shards.
        owner: a word for the name of files that are not complete yet.
        record: is told of each complete file, and of the place that it is about to take; may raise OSError.

    Raises CheckpointFailed where a file cannot be written, and what the reading of the rows raises.
    """
    models = dict.fromkeys(variant.model for rows, _ in parts for variant in rows.variants)
    files = _Files((model, line) for model in models for part in parts for line in _lines(*part, endpoint, model))
    try:
        for number in count(1):
            target = path / f"requests-{number:05}.jsonl"
            with LOCAL.publish(target, owner, partial(_told, record, target)) as draft, draft.open("wb") as file:
                file.writelines(files.next())
            if files.is_over:
                break
    except OSError as error:
        raise CheckpointFailed(f"{path}: the export cannot be written: {error.strerror}") from error
    return files.written, files.unsent


def _told(record: Callable[[Path, Path], None], target: Path, draft: Path) -> None:
    record(draft, target)


class _Files:
    """Parts lines, each with its model, into files. `written` lines were given out; of `unsent` rows there is none."""

    def __init__(self, lines: Iterator[tuple[str, bytes | None]]) -> None:
        self._lines = lines
        self._waiting: tuple[str, bytes] | None = None
        self.written = self.unsent = 0
        self.is_over = False

    def next(self) -> Iterator[bytes]:
        """Yield the lines of the next file: as many of a model as it may hold, but one at least."""
        lines = size = 0
        of_file: str | None = None
        while (found := self._waiting or self._line()) is not None:
            (model, line), self._waiting = found, None
            if lines and (model != of_file or lines >= MAX_LINES or size + len(line) > MAX_BYTES):
                self._waiting = found
                return
            of_file, lines, size = model, lines + 1, size + len(line)
            self.written += 1
            yield line
        self.is_over = True

    def _line(self) -> tuple[str, bytes] | None:
        for model, line in self._lines:
            if line is not None:
                return model, line
            self.unsent += 1
        return None


def _lines(rows: Rows, plan: Plan, endpoint: Endpoint, model: str) -> Iterator[bytes | None]:
    """Yield the line of each row that asks a model and is not answered; None for one that makes no request."""
    asks_it = np.repeat([variant.model == model for variant in rows.variants], rows.samples or 1)
    for part in rows.wanted_parts(plan.which(_STATES) & np.resize(asks_it, len(plan))):
        ids = plan.row_ids(part.positions, part.ids)
        for position, row_id, (request, _) in zip(part.positions, ids, part.requests(), strict=True):
            if isinstance(request, UnsentFailure):
                yield None
                continue
            variant, sample = rows.cell(position)
            parts = [rows.input_id(row_id), *([variant.name] if variant.name else [])]
            custom_id = "/".join([*parts, *([str(sample)] if rows.samples is not None else [])])
            yield request_line(custom_id, request, endpoint)
