"""`pipeline retry-failed --list`: the rows that would be sent, as CSV."""

from __future__ import annotations

import csv
import shutil
import sys
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING, Any

from pipeline.app.jobs.signals import ignore_signals
from pipeline.cli.console import Console, json_text
from pipeline.cli.options import ended, load_one
from pipeline.wording import money

if TYPE_CHECKING:
    from pipeline.config import Shard

_BYTES_IN_MEMORY = 2**20


def list_failed(
    console: Console,
    job_file: str,
    overrides: Sequence[str],
    shard: Shard | None,
    *,
    kind: str | None,
    limit: int | None,
) -> None:
    """Print the rows, all of them or, where something goes wrong, none."""

    def action() -> None:
        from pipeline.app.jobs.scratch import scratch
        from pipeline.app.use_cases.failed import failed_rows, listed_columns
        from pipeline.exports.cells import safe_cells

        job = load_one(job_file, overrides, shard, "--list")
        columns = listed_columns(job)
        with (
            scratch(job.checkpoint_path) as place,
            tempfile.SpooledTemporaryFile(_BYTES_IN_MEMORY, "w+", encoding="utf-8", newline="", dir=str(place)) as file,
        ):
            rows = islice(failed_rows(job, kind), limit)
            if console.is_json:
                file.write(f'{{"job": {json_text(job.config.name)}, "failed": [')
                for number, row in enumerate(rows):
                    file.write((", " if number else "") + json_text({name: _plain(row[name]) for name in columns}))
                file.write("]}\n")
            else:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(columns)
                writer.writerows(safe_cells([_visible(_plain(row[name])) for name in columns]) for row in rows)
            file.seek(0)
            ignore_signals()
            shutil.copyfileobj(file, sys.stdout)
            sys.stdout.flush()

    ended(console, action)


def _plain(value: Any) -> Any:
    """Return counts as they are, everything else as text."""
    if isinstance(value, Decimal):
        return money(value)
    return value if value is None or isinstance(value, int) else str(value)


def _visible(value: Any) -> Any:
    """Return a text on one line, without control sequences."""
    if not isinstance(value, str):
        return value
    return "".join(char if char.isprintable() else repr(char)[1:-1] for char in value)
