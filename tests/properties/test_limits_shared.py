"""The shared limit holds over any minute for every job's own rates, whoever sends, waits, gives back or is killed."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from pipeline.limits.shared import SharedEntry, SharedLimit

START = 1000.0
ROUNDING = 1e-5

rates = st.one_of(st.none(), st.floats(0.2, 100.0))
pairs = st.tuples(rates, rates)


@dataclass
class Sent:
    """A request as the endpoint would count it."""

    at: float
    tokens: int


@dataclass
class Step:
    """A job asks for a request after a while, with so many tokens, and if it has to wait, perhaps as told. Some steps
    later it is settled: at which share of its tokens, and how late it was sent; or it was never sent, or the job is
    killed and another takes its place.
    """

    member: int
    tokens: int
    idle: float
    waits: bool
    share: float
    late: float
    settled_after: int
    end: str


steps = st.lists(
    st.builds(
        Step,
        member=st.integers(0, 3),
        tokens=st.integers(0, 150),
        idle=st.floats(0.0, 20.0),
        waits=st.booleans(),
        share=st.floats(0.0, 1.0),
        late=st.floats(0.0, 20.0),
        settled_after=st.integers(0, 4),
        end=st.sampled_from(["settled", "settled", "settled", "withdrawn", "killed"]),
    ),
    max_size=40,
)


def check(rate: tuple[float | None, float | None], sent: list[Sent], mine: Sent) -> None:
    """A request was let in: what is known to have been sent leaves room for it, by the rates of its own job."""
    for per_minute, amount, held in (
        (rate[0], 1, [(one.at, 1) for one in sent]),
        (rate[1], mine.tokens, [(one.at, one.tokens) for one in sent]),
    ):
        if per_minute is not None:
            capacity, minute = max(1, int(per_minute)), 60.0 * max(1.0, 1 / per_minute)
            before = sum(many for at, many in held if at > mine.at - minute + ROUNDING)
            assert before + min(amount, capacity) <= capacity


@given(st.tuples(pairs, pairs, pairs, pairs), steps)
def test_no_minute_has_more_than_the_rate_of_each_job_that_sends(
    rates: tuple[tuple[float | None, float | None], ...], steps: list[Step]
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "account"

        def join(number: int) -> SharedLimit:
            requests, tokens = rates[number]
            return SharedLimit(
                path, requests_per_minute=requests, tokens_per_minute=tokens, boot="one", clock=lambda: 1e9
            )

        members = [join(number) for number in range(4)]
        left: list[SharedLimit] = []
        sent: list[Sent] = []
        under_way: list[tuple[int, SharedLimit, SharedEntry, Sent, Step]] = []
        now = START
        for number, step in enumerate(steps):
            for due in [one for one in under_way if one[0] <= number]:
                under_way.remove(due)
                _, limit, entry, mine, planned = due
                if planned.end == "withdrawn":
                    limit.withdraw(entry)
                    sent.remove(mine)
                elif planned.end == "settled":
                    mine.at, mine.tokens = min(mine.at + planned.late, now), int(mine.tokens * planned.share)
                    limit.settle(entry, mine.tokens, mine.at)
                elif limit in members:  # its file stays open, as that of a process that hangs does
                    left.append(limit)
                    members[planned.member] = join(planned.member)
            now += step.idle
            limit = members[step.member]
            found = limit.reserve(step.tokens, now)
            if isinstance(found, float):
                assert found > 0
                if not step.waits:
                    continue
                now += found
                found = limit.reserve(step.tokens, now)
                if isinstance(found, float):
                    continue
            mine = Sent(now, step.tokens)
            check(rates[step.member], sent, mine)
            sent.append(mine)
            under_way.append((number + 1 + step.settled_after, limit, found, mine, step))
        for one in (*members, *left):
            one.close()


@given(pairs, st.lists(st.integers(0, 300), min_size=1, max_size=10))
def test_who_is_alone_and_waits_as_told_is_let_in(rate: tuple[float | None, float | None], amounts: list[int]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        limit = SharedLimit(
            Path(directory) / "account",
            requests_per_minute=rate[0],
            tokens_per_minute=rate[1],
            clock=lambda: 1e9,
        )
        now = START
        for amount in amounts:
            found = limit.reserve(amount, now)
            if isinstance(found, float):
                now += found
                found = limit.reserve(amount, now)
            assert isinstance(found, SharedEntry)
        limit.close()
