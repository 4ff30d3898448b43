"""What a journal tells of itself, each in a line of text: whose it is, and sums over all that was ever recorded."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over everything ever recorded. `claims` are those open now, `plan` is the number of the latest plan; `pause`
    keeps the endpoint's Retry-After over a restart: when it was set, and until when (Unix seconds).
    `possibly_billed_requests` is None in a journal that was begun by a version that did not count them. `excess` is by
    model: the most tokens that a prompt and a completion were billed beyond what was assumed.
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

    def text(self) -> str:
        """The totals as the journal stores them."""
        return json.dumps(
            [self.commits, self.events, self.claims, str(self.cost_usd), str(self.possibly_billed_usd), self.plan,
             self.pause, self.possibly_billed_requests, self.excess], separators=(",", ":"),
        )  # fmt: skip

    @classmethod
    def parse(cls, text: str) -> Totals:
        """The totals from their stored form."""
        commits, events, claims, cost, possibly, plan, pause, *later = json.loads(text)
        in_doubt = later[0] if later else None if events else 0
        excess = {
            model: (prompt, completion) for model, (prompt, completion) in (later[1] if later[1:] else {}).items()
        }
        return cls(
            commits, events, claims, Decimal(cost), Decimal(possibly), plan, tuple(pause) if pause else None, in_doubt,
            excess,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose journal it is. `renumbered` is the number of the commit since which the events have their numbers; a
    recovery gives them new ones.
    """

    job: str
    simulated: bool
    checkpoint_id: str
    renumbered: int = 0

    def text(self) -> str:
        """The identity as the journal stores it."""
        return json.dumps(asdict(self))

    @classmethod
    def parse(cls, text: str) -> Identity:
        """The identity from its stored form."""
        return cls(**json.loads(text))


def plus(known: int | None, more: int) -> int | None:
    """Return the sum; None where the first is not known."""
    return None if known is None else known + more


def longer_pause(standing: tuple[float, float] | None, new: tuple[float, float] | None) -> tuple[float, float] | None:
    """The pause that has more left at the moment when the new one is set; a clock that went back ends none early."""
    if standing is None or new is None:
        return standing or new
    since, until = standing
    return standing if until - max(since, new[0]) > new[1] - new[0] else new
