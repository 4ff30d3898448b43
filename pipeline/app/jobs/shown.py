"""Whether the output that stands shows what the job has now."""

from __future__ import annotations

import pyarrow as pa

from pipeline.app.jobs.job import OpenJob
from pipeline.plan import Plan
from pipeline.records import digest
from pipeline.sink import AnyResults, GatheredResults, shows


def state_of(opened: OpenJob, schema: pa.Schema, checkpoint_id: str, plan: str | list[str]) -> str:
    """Return a digest of everything that an output shows. `plan` is the digest of its plan, or of each of them.

    A plan holds only the numbers of the events, so the same one with another checkpoint has other answers.
    """
    config = opened.job.config.output
    facts: list[object] = [
        checkpoint_id,
        plan,
        config.compression,
        config.prefix,
        opened.rows.carried,
        str(schema),
    ]
    if opened.rows.has_variants:
        facts.append([variant.name for variant in opened.rows.variants])
    if opened.rows.expected is not None:
        facts.append(opened.rows.expected.facts)
    return digest(facts)


def plans_of(results: AnyResults) -> list[Plan]:
    """Return the plan of a job, or those of its shards that were run."""
    return [one.plan for one in (results.known if isinstance(results, GatheredResults) else [results])]


def is_shown(opened: OpenJob, results: AnyResults) -> bool:
    """Return whether the output has every row, as the journals have it; see `shows`."""
    if not opened.job.writes_output:
        return False
    digests = [plan.state_digest() for plan in plans_of(results)]
    plan = digests if isinstance(results, GatheredResults) else digests[0]
    state = state_of(opened, results.schema, results.checkpoint_id, plan)
    return shows(opened.job.output, state, results.count, opened.job.config.output.rows_per_file)
