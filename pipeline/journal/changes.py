"""What one commit of the journal makes durable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal

from msgspec import Struct, field

from pipeline.journal.batches import OpenBatch
from pipeline.journal.events import Claim, Event


class Changes(Struct):
    """New events, claims to close (`release`) and new claims, with what they add to the totals. Money is in USD.

    Of the pause and the one on disk the longer is kept. `excess` and `server_pauses` replace what was known of their
    models and servers, `batches` all that are out.
    """

    events: Sequence[Event] = ()
    release: Sequence[int] = ()
    claims: Sequence[Claim] = ()
    cost_usd: Decimal = Decimal(0)
    possibly_billed_usd: Decimal = Decimal(0)
    possibly_billed_requests: int = 0
    plan: int | None = None
    pause: tuple[float, float] | None = None
    server_pauses: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    excess: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    batches: Sequence[OpenBatch] | None = None
