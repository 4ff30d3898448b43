"""The batches that a job has at its provider: what is known of each, as the journal keeps it."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from pipeline.records import JsonObject


@dataclass(frozen=True, slots=True)
class OpenBatch:
    """A batch whose lines are open claims. Stamps are Unix seconds.

    `key` is what its metadata says, `requests` how many lines it has. It is billed at `price_factor` (exact decimal
    text) times the price, and `window` is how long the provider may take. Until `file_id` is known nothing was created.
    While `batch_id` is not known it may have been: `searched_at` is when the provider's list was first seen without it.
    `status`, `completed` and `failed` are as the provider last told,
    `worst_usd` is the most that all lines can cost, as far as prices are known.
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

    def facts(self) -> JsonObject:
        """Return the batch as JSON holds it."""
        return asdict(self)

    @classmethod
    def of(cls, facts: JsonObject) -> OpenBatch:
        """Return the batch that such facts stand for."""
        return cls(**facts)
