"""Facts about a whole journal, each in a line of text: whose it is, and sums over everything that was ever recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from pipeline.journal.batches import OpenBatch
from pipeline.journal.changes import Changes


class Seen(Struct, frozen=True):
    """When timestamps in the future were first seen in the journal: `at` (Unix seconds).

    They are those of the first `events` events, and of the pause that was set at `pause_since`. So all of these were
    recorded before `at`.
    """

    at: float
    events: int
    pause_since: float | None


class Totals(Struct, frozen=True):
    """Sums over everything that was ever recorded. Money is in USD.

    `claims` are the open ones, `plan` is the number of the latest plan. `pause` keeps the endpoint's Retry-After over a
    restart: when it was set, and until when (Unix seconds); `server_pauses` keeps it by address, for a job with several
    servers. `possibly_billed_requests` is None in a journal of a version that did not count them. `excess` is by model:
    the maximum numbers of prompt and completion tokens that were billed beyond the assumed worst case. `seen` is None
    if no timestamp in the future was seen. `cache_hits` counts the answers from a cache, and `cache_saved_usd` is what
    they had cost, as far as known. `batches` are those that are open at the provider.
    """

    commits: int = 0
    events: int = 0
    claims: int = 0
    cost_usd: Decimal = Decimal(0)
    possibly_billed_usd: Decimal = Decimal(0)
    plan: int = 0
    pause: tuple[float, float] | None = None
    possibly_billed_requests: int | None = 0
    excess: Mapping[str, tuple[int, int]] = field(default_factory=dict)
    seen: Seen | None = None
    server_pauses: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    cache_hits: int = 0
    cache_saved_usd: Decimal = Decimal(0)
    batches: tuple[OpenBatch, ...] = ()

    def text(self) -> str:
        """Return the totals as the journal stores them."""
        batches = [batch.facts() for batch in self.batches]
        seen = self.seen and [self.seen.at, self.seen.events, self.seen.pause_since]
        return json.dumps(
            [
                self.commits,
                self.events,
                self.claims,
                str(self.cost_usd),
                str(self.possibly_billed_usd),
                self.plan,
                self.pause,
                self.possibly_billed_requests,
                self.excess,
                seen,
                self.server_pauses,
                *([self.cache_hits, str(self.cache_saved_usd), batches] if self.cache_hits or batches else []),
            ],
            separators=(",", ":"),
        )

    def after(self, changes: Changes) -> Totals:
        """Return the totals as they are once changes are on disk."""
        records = [event.record for event in changes.events]
        saved = [record.saved_usd or Decimal(0) for record in records if record.shared_from is not None]
        return replace(
            self,
            events=self.events + len(changes.events),
            claims=self.claims + len(changes.claims) - len(changes.release),
            cost_usd=self.cost_usd + changes.cost_usd,
            possibly_billed_usd=self.possibly_billed_usd + changes.possibly_billed_usd,
            possibly_billed_requests=plus(self.possibly_billed_requests, changes.possibly_billed_requests),
            plan=self.plan if changes.plan is None else changes.plan,
            pause=self.longer_pause(changes.pause),
            excess={**self.excess, **changes.excess},
            server_pauses={**self.server_pauses, **changes.server_pauses},
            cache_hits=self.cache_hits + len(saved),
            cache_saved_usd=self.cache_saved_usd + sum(saved, Decimal(0)),
            batches=self.batches if changes.batches is None else tuple(changes.batches),
        )

    def pause_left(self, now: float) -> float:
        """Return how many seconds of the pause are left at `now` (Unix seconds).

        A pause that was set in the future, by a clock that was ahead, lasts as long as intended from when it was first
        seen.
        """
        if self.pause is None:
            return 0.0
        since, until = self.pause
        return until - now if since <= now else self._pause_seen(now) + (until - since) - now

    def server_pause_left(self, server: str, now: float) -> float:
        """Return how many seconds are left of one server's pause at `now` (Unix seconds)."""
        since, until = self.server_pauses.get(server, (now, now))
        return until - max(since, now) if since <= now else until - since

    def is_pause_unseen(self, now: float) -> bool:
        """Return whether the pause was set later than `now`, and this was not recorded yet."""
        return self.pause is not None and self.pause[0] > now and self._pause_seen(now) == now

    def _pause_seen(self, now: float) -> float:
        is_known = self.seen is not None and self.pause is not None and self.seen.pause_since == self.pause[0]
        return min(self.seen.at, now) if self.seen is not None and is_known else now

    def longer_pause(self, new: tuple[float, float] | None) -> tuple[float, float] | None:
        """Return the pause that has more left at the moment when the new one is set."""
        return new if new is not None and new[1] - new[0] >= self.pause_left(new[0]) else self.pause

    @classmethod
    def parse(cls, text: str) -> Totals:
        """Return the totals from their stored form."""
        commits, events, claims, cost, possibly, plan, pause, *later = json.loads(text)
        in_doubt = later[0] if later else None if events else 0
        excess = {
            model: (prompt, completion) for model, (prompt, completion) in (later[1] if later[1:] else {}).items()
        }
        return cls(
            commits,
            events,
            claims,
            Decimal(cost),
            Decimal(possibly),
            plan,
            tuple(pause) if pause else None,
            in_doubt,
            excess,
            Seen(*later[2]) if later[2:] and later[2] else None,
            {server: (since, until) for server, (since, until) in (later[3] if later[3:] else {}).items()},
            later[4] if later[4:] else 0,
            Decimal(later[5]) if later[5:] else Decimal(0),
            tuple(OpenBatch.of(facts) for facts in (later[6] if later[6:] else ())),
        )


class Identity(Struct, frozen=True):
    """Whose journal it is.

    The events have their numbers since commit number `renumbered`; a recovery numbers them again.
    """

    job: str
    simulated: bool
    checkpoint_id: str
    renumbered: int = 0

    def text(self) -> str:
        """Return the identity as the journal stores it."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Identity:
        """Return the identity from its stored form."""
        return cls(**json.loads(text))


def plus(known: int | None, more: int) -> int | None:
    """Return the sum; None if the first is unknown."""
    return None if known is None else known + more
