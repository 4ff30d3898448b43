"""Whether the output that stands shows what the job has now."""

from __future__ import annotations

from pipeline.app.jobs.job import OpenJob
from pipeline.plan import Plan
from pipeline.records import digest
from pipeline.sink import AnyResults, GatheredResults, shows


def state_of(opened: OpenJob, results: AnyResults) -> str:
    """Return a digest of everything that an output of these results shows.

    A plan holds only the numbers of the events, so the same one with another checkpoint has other answers. The plans of
    shards do not say how the rows of one stand among those of the others.
    """
    config = opened.job.config.output
    plans = [plan.state_digest() for plan in plans_of(results)]
    facts: list[object] = [
        results.checkpoint_id,
        [*plans, results.order()] if isinstance(results, GatheredResults) else plans[0],
        config.compression,
        config.prefix,
        opened.rows.carried,
        str(results.schema),
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
    state = state_of(opened, results)
    return shows(opened.job.output, state, results.count, opened.job.config.output.rows_per_file)
