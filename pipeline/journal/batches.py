"""The batches that a job has at its provider, as the journal stores them."""

from __future__ import annotations

from msgspec import Struct, convert
from msgspec.structs import asdict

from pipeline.records import JsonObject


class OpenBatch(Struct, frozen=True):
    """A batch whose lines are open claims. Timestamps are Unix seconds.

    `key` identifies it in its metadata, `requests` is the number of its lines. It is billed at `price_factor` (exact
    decimal text) times the price, and `window` is how long the provider may take. Without a `file_id` nothing was
    created yet. Without a `batch_id` it may have been created: `searched_at` is when the provider's list was first seen
    without it. `status`, `completed` and `failed` are as the provider last reported. `worst_usd` is the maximum cost of
    all lines, as far as prices are known, and `price` that of a single request to its model, as of `Price.texts`.
    """

    key: str
    intended_at: float
    requests: int
    price_factor: str
    window: str
    file_id: str | None = None
    batch_id: str | None = None
    searched_at: float | None = None
    status: str = "intended"
    completed: int = 0
    failed: int = 0
    worst_usd: str | None = None
    price: tuple[str, str, str | None, str | None] | None = None

    def facts(self) -> JsonObject:
        """Return the batch as a JSON object."""
        return asdict(self)

    @classmethod
    def of(cls, facts: JsonObject) -> OpenBatch:
        """Return the batch of a JSON object."""
        return convert(facts, cls)
