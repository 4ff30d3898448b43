"""What names a job's input, settings and rows: where it is unchanged, so are the requests."""

from __future__ import annotations

from typing import Any

from pipeline.app.jobs.builders import needs_max_tokens
from pipeline.app.jobs.image_files import image_facts
from pipeline.app.jobs.job import OpenJob
from pipeline.records import digest
from pipeline.sources import fingerprint

PLAN_VERSION = 3


def fingerprint_of(opened: OpenJob) -> str:
    """Return what names the input and the settings: where it is unchanged, so is every row's request."""
    source, images = opened.rows.source, opened.job.config.prompt.images
    return digest([fingerprint(source), rules_of(opened), *([image_facts(source, images)] if images else [])])


def rules_of(opened: OpenJob) -> str:
    """Return what names the settings and how the input is read: where it is unchanged, the same row makes the same
    request.
    """
    config, rows = opened.job.config.input, opened.rows
    reading = [config.format, config.id, config.csv.model_dump()]
    if config.where is not None:
        reading.append(config.where)
    if opened.job.shard is not None:
        reading.append(str(opened.job.shard))
    needed: list[Any] = ["max_tokens"] if needs_max_tokens(opened.job.config) else []
    if rows.cells > 1 or rows.has_variants:
        needed.append({"samples": rows.samples, "marks": [variant.mark for variant in opened.variants]})
    if rows.deduplicate:
        needed.append("deduplicate")
    return digest([PLAN_VERSION, reading, *opened.settings, *needed])
