"""Whether memory and cost stay flat as the number of rows grows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from benchmarks.bench import Bench, fresh
from benchmarks.inputs import prompts
from benchmarks.job import Job, Run
from benchmarks.table import Row, at_most

LOOK_SECONDS = 0.02
"""A small run publishes within a quarter of a second, and that is when it holds most."""
MOST_BYTES = 200e6
GROWTH = 1.10
BYTES_PER_ROW = 16
_SMALL = 20_000


def small_prompts(bench: Bench) -> Iterator[Row]:
    """Prompts of 300 bytes, up to 200,000 rows."""
    yield from _rows(_runs(bench, (_SMALL, 200_000)), "300 B prompts")


def large_prompts(bench: Bench) -> Iterator[Row]:
    """Prompts of 50 kB and answers of 100 kB; of pyarrow's own pages its reader alone holds half of what is allowed."""
    runs = _runs(bench, (2000, 20_000), prompt_bytes=50_000, prefix="/bytes/100000", small_pages=True)
    yield from _rows(runs, "50 kB prompts in pages of 1 MB, 100 kB answers")
    runs = _runs(bench, (2000, 20_000), prompt_bytes=50_000, prefix="/bytes/100000")
    yield from _rows(runs, "the same in pyarrow's own pages of 50 MB")


def first_only(bench: Bench) -> Iterator[Row]:
    """Measure only the smallest size, for the quick table."""
    yield from _rows(_runs(bench, (_SMALL,)), "300 B prompts")


def millions(bench: Bench) -> Iterator[Row]:
    """Two million rows: memory, and the CPU for a row beside that of a small run."""
    before, large, after = _runs(bench, (_SMALL, 2_000_000, _SMALL))
    yield from _rows([before, large], "300 B prompts")
    small = (before.cpu_per_row + after.cpu_per_row) / 2
    growth = large.cpu_per_row / small
    yield Row(
        "cost of growth: CPU a row at 2,000,000 rows over that at 20,000",
        f"{growth:.2f} ({1000 * large.cpu_per_row:.2f} ms over {1000 * small:.2f} ms)",
        "",
        "≤ 1.1",
        at_most(growth, 1.1),
    )


def most_bytes(rows: int, first: Run) -> float:
    """Return what a run over `rows` rows may hold, by the first and smallest one."""
    return first.measured.peak_bytes * GROWTH + BYTES_PER_ROW * rows


def _runs(
    bench: Bench, sizes: Sequence[int], prompt_bytes: int = 300, prefix: str = "", small_pages: bool = False
) -> list[Run]:
    inputs = [(size, prompts(size, prompt_bytes, small_pages=small_pages)) for size in sizes]
    jobs = [Job(path.stem, bench.server, path, size, 64, prefix) for size, path in inputs]
    return [fresh(job, look_seconds=LOOK_SECONDS) for job in jobs]


def _rows(runs: Sequence[Run], what: str) -> Iterator[Row]:
    first = runs[0]
    peak = first.measured.peak_bytes
    yield Row(
        f"memory: {what}, {first.rows:,} rows, 64 in flight",
        f"{peak / 1e6:.0f} MB",
        "",
        "≤ 200 MB",
        at_most(peak, MOST_BYTES),
    )
    for run in runs[1:]:
        peak, most = run.measured.peak_bytes, most_bytes(run.rows, first)
        yield Row(
            f"memory: {what}, {run.rows:,} rows",
            f"{peak / 1e6:.0f} MB",
            "",
            f"≤ {most / 1e6:.0f} MB (10% and 16 bytes a row more)",
            at_most(peak, most),
        )
