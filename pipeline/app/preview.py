"""The requests that a plan would send, and what they would come to."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from pipeline.app.job import OpenJob
from pipeline.estimate import Sizes, estimate
from pipeline.plan import TO_SEND, Plan, Standing, UnsentFailure
from pipeline.records import Request
from pipeline.sources import pick
from pipeline.sources.identity import row_values

_SAMPLE_ROWS = 200


def requests_to_send(
    opened: OpenJob, plan: Plan, standings: Collection[Standing] = TO_SEND
) -> Iterator[Request | None]:
    """The request of each row that would be sent, in input order; None for a row that makes none."""
    wanted = [int(standing) for standing in standings]
    for start, batch in opened.rows.batches():
        offsets = np.flatnonzero(np.isin(plan.standings(start, start + batch.num_rows), wanted))
        if len(offsets):
            part = pick(batch, offsets)
            _, contents = opened.rows.identities(start, part)
            for values, content in zip(row_values(part), contents, strict=True):
                request, _ = opened.rows.request(values, content)
                yield None if isinstance(request, UnsentFailure) else request


def full_estimate(opened: OpenJob, plan: Plan) -> dict[str, Any]:
    """The estimate over every row to be sent."""
    return estimate(_sizes(requests_to_send(opened, plan)), opened.price, opened.job.config.limits)


def quick_estimate(opened: OpenJob, plan: Plan, standings: Collection[Standing]) -> dict[str, Any]:
    """The estimate from the first rows to be sent, taken to stand for all of them."""
    sample = list(islice(requests_to_send(opened, plan, standings), _SAMPLE_ROWS))
    share = plan.count(*standings) / max(1, len(sample))
    sizes = _sizes(iter(sample))
    counted = {name: round(getattr(sizes, name) * share) for name in Sizes.__slots__}
    return estimate(replace(sizes, **counted), opened.price, opened.job.config.limits)


def _sizes(requests: Iterator[Request | None]) -> Sizes:
    sizes = Sizes()
    for request in requests:
        if request is not None:
            sizes.add(request)
    return sizes
