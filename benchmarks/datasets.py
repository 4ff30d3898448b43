"""What data sets take: samples and variants beside plain rows, images, exports, and the look at all answers."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks import BUILD, structured
from benchmarks.bench import Bench, fresh, median_of, say
from benchmarks.checkpoints import filled
from benchmarks.inputs import prompts
from benchmarks.job import Job
from benchmarks.process import Measured, measure
from benchmarks.table import Row, at_least, at_most
from pipeline.expect import load_schema
from pipeline.expect.expectation import SchemaExpectation

_DONE = 1_000_000
_ANSWER_BYTES = 300
_FORMATS = ("jsonl", "csv", "parquet", "messages", "prompt-completion", "hf")
_ROWS_PER_SECOND = 150_000
_SHARE_OF_BARE = 0.5
_IMAGES, _IMAGE_BYTES = 4, 1_000_000
_PNG = b"\x89PNG\r\n\x1a\n"


def samples(bench: Bench) -> Iterator[Row]:
    """Measure samples and variants beside as many plain rows, in turns."""
    rows = 20_000
    plain = Job("plain-rows", bench.server, prompts(rows), rows)
    several: dict[str, dict[str, Any]] = {
        "4 samples of 5,000 rows": {"prompt": {"column": "prompt", "samples": 4}},
        "4 variants of 5,000 rows": {"sweep": {"parameters.temperature": [0.1, 0.4, 0.7, 1.0]}},
    }
    for what, sections in several.items():
        job = Job("several-answers", bench.server, prompts(rows // 4), rows, sections=sections)
        ours, others = bench.interleaved(partial(fresh, job), partial(fresh, plain))
        share = median(one.rows_per_second / other.rows_per_second for one, other in zip(ours, others, strict=True))
        cpu = median(one.cpu_per_row / other.cpu_per_row for one, other in zip(ours, others, strict=True))
        yield Row(
            f"{what}, zero latency",
            f"{share:.2f} of the rows/s of as many plain rows, {cpu:.2f} of their CPU a row",
            f"20,000 plain rows {median_of(others, lambda run: run.rows_per_second):.0f} rows/s",
            "≥ 0.9",
            at_least(share, 0.9),
        )


def checks(bench: Bench) -> Iterator[Row]:
    """Measure the check of an answer with ten fields."""
    text, expectation = json.dumps(structured.ANSWER), SchemaExpectation(load_schema(structured.SCHEMA))
    found = median(structured.microseconds(lambda: expectation.read(text), 20_000) for _ in range(bench.repeats))
    yield Row(
        "an answer of ten fields, checked against its schema", f"{found:.0f} µs of CPU", "", "≤ 60 µs", found / 60
    )


def images(bench: Bench) -> Iterator[Row]:
    """Measure the memory of rows with four images of a megabyte each, where all slots are in use from the start."""
    peaks = {}
    for rows in (200, 2000):
        sections = {"prompt": {"user": "Row {{ id }}: what is there?", "images": ["photos"]}}
        job = Job(
            f"images-{rows}",
            bench.server,
            _photos(rows),
            rows,
            16,
            prefix="/fixed/1",
            columns=("id",),
            sections=sections,
        )
        peaks[rows] = fresh(job).measured.peak_bytes
    growth = peaks[2000] / peaks[200]
    yield Row(
        f"memory: 2,000 rows with {_IMAGES} images of 1 MB each, 16 in flight, latency 1 s",
        f"{peaks[2000] / 1e6:.0f} MB, {growth:.2f} of that of 200 rows",
        "",
        "≤ 1.25",
        at_most(growth, 1.25),
    )


def exports(bench: Bench) -> Iterator[Row]:
    """Measure exports of a million answers beside a bare writer of the same rows."""
    job = _done(bench)
    bare_input = job.directory / "bare.parquet"
    _command(job, "export", "--to", "parquet", "--overwrite", bare_input)
    for to in _FORMATS:
        pairs = [(_export(job, to), _bare(job, to, bare_input)) for _ in range(min(3, bench.repeats))]
        rate = _DONE / median(ours.wall for ours, _ in pairs)
        share = median(bare["cpu"] / ours.cpu for ours, bare in pairs)
        peak = max(ours.peak_bytes for ours, _ in pairs)
        say(f"{to}: {rate:.0f} rows/s, {share:.2f} of the bare writer by CPU, peak {peak / 1e6:.0f} MB")
        yield Row(
            f"export of {_DONE:,} rows to {to}, whole process",
            f"{rate:.0f} rows/s, {share:.2f} of the bare writer's speed by CPU, peak {peak / 1e6:.0f} MB",
            f"bare writer {_DONE / median(bare['seconds'] for _, bare in pairs):.0f} rows/s",
            f"≥ {_ROWS_PER_SECOND:,} rows/s or ≥ {_SHARE_OF_BARE}",
            min(at_least(rate, _ROWS_PER_SECOND), at_least(share, _SHARE_OF_BARE)),
        )


def inspect(bench: Bench) -> Iterator[Row]:
    """Measure the look at a million answers."""
    found = _command(_done(bench), "inspect", "--json")
    yield Row(
        f"inspect of {_DONE:,} rows",
        f"{found.wall:.0f} s ({found.cpu:.0f} s of CPU), peak {found.peak_bytes / 1e6:.0f} MB",
        "",
        "≤ 60 s, ≤ 500 MB",
        max(at_most(found.wall, 60), at_most(found.peak_bytes, 500e6)),
    )


def _done(bench: Bench) -> Job:
    """Return a job with all rows answered, made once."""
    job = Job("answered", bench.server, prompts(_DONE), _DONE, prefix=f"/bytes/{_ANSWER_BYTES}")
    if not (job.directory / "complete").exists():
        filled(job, _DONE, _ANSWER_BYTES)
        job.run()  # nothing is left to send; it plans, and publishes
        (job.directory / "complete").touch()
    return job


def _command(job: Job, *words: str | Path) -> Measured:
    return job.run(*words).measured


def _export(job: Job, to: str) -> Measured:
    path = job.directory / f"export-{to}"
    shutil.rmtree(path, ignore_errors=True)
    return _command(job, "export", "--to", to, *(() if to == "hf" else ("--overwrite",)), path)


def _bare(job: Job, to: str, output: Path) -> dict[str, float]:
    module: list[str | Path] = [
        sys.executable,
        "-m",
        "benchmarks.limits.bare_export",
        output,
        to,
        job.directory / "bare",
    ]
    measured = measure(module, job.directory / "bare.log")
    if measured.exit_code:
        raise RuntimeError(f"the bare writer failed; see {job.directory / 'bare.log'}")
    found: dict[str, float] = json.loads(measured.output)
    return found


def _photos(rows: int) -> Path:
    """Make a Parquet file of rows with an `id` and `photos`, lists of bytes that begin as PNG does."""
    path = BUILD / "inputs" / f"photos-{rows}.parquet"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        chance = np.random.default_rng(rows)
        schema = pa.schema([("id", pa.int64()), ("photos", pa.list_(pa.binary()))])
        with pq.ParquetWriter(path.with_suffix(".new"), schema, compression="none", use_dictionary=False) as writer:
            for row in range(rows):
                photos = [_PNG + chance.bytes(_IMAGE_BYTES - len(_PNG)) for _ in range(_IMAGES)]
                writer.write_table(pa.table([[row], [photos]], schema=schema))
        path.with_suffix(".new").rename(path)
    return path
