"""The witness for whole jobs: the endpoint's own ledger, against what the job recorded and published.

Needs prompts that differ from row to row, so that each request in the ledger names its row.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from pipeline.journal import ANSWERS, Journal
from pipeline.simulator import Exchange, read_ledger

SOCKET_SECONDS = 0.2
"""After a kill, what stands in the socket's buffer reaches the ledger within this."""


@dataclass(frozen=True)
class Kill:
    """What a kill left behind: which prompts were answered on disk by then, and the requests that nobody recorded."""

    at: float
    answered: frozenset[str] = frozenset()
    open_claims: int = 0
    lost: tuple[Exchange, ...] = ()


@dataclass
class Ledger:
    """Everything that the endpoint was asked and billed, by the digest of the prompt."""

    path: Path
    exchanges: list[Exchange] = field(init=False)
    by_prompt: dict[str, list[Exchange]] = field(init=False)

    def __post_init__(self) -> None:
        self.exchanges = read_ledger(self.path)
        self.by_prompt = defaultdict(list)
        for exchange in self.exchanges:
            self.by_prompt[exchange.asked["prompt"]].append(exchange)

    @property
    def billed(self) -> Decimal:
        """USD in all, whether the client knows of it or not."""
        return sum(map(billed, self.exchanges), Decimal(0))


def billed(exchange: Exchange) -> Decimal:
    """What the endpoint charged for it, in USD."""
    return Decimal(0) if exchange.answered is None else Decimal(exchange.answered["cost_usd"])


def is_known(exchange: Exchange) -> bool:
    """Whether the client can know what it was billed: the reply was delivered and says so."""
    answered = exchange.answered
    return answered is not None and answered["delivered"] and answered["usage"] is not None


def is_usable(exchange: Exchange) -> bool:
    """Whether the client got an answer."""
    answered = exchange.answered
    return answered is not None and answered["delivered"] and answered["status"] == 200 and bool(answered["response"])


def look_after_kill(checkpoint: Path, ledger: Path, prompt_of: Mapping[str, str]) -> Kill:
    """Read a copy of what a process that is dead left; `prompt_of` gives a request hash's prompt digest."""
    at = time.time()
    time.sleep(SOCKET_SECONDS)
    if not (checkpoint / "journal.sqlite").exists():
        return Kill(at)
    with tempfile.TemporaryDirectory() as scratch:
        copy = Path(scratch) / "as-it-was"
        shutil.copytree(checkpoint, copy)
        journal = Journal.read(copy)
        answered = frozenset(prompt_of[entry.request_hash] for entry in journal.index() if entry.state in ANSWERS)
        claims = [(prompt_of[claim.request_hash], claim.claimed_at) for claim in journal.claims()]
        journal.close()
    by_prompt = Ledger(ledger).by_prompt
    lost = tuple(one for prompt, since in claims for one in by_prompt[prompt] if one.asked["at"] >= since)
    return Kill(at, answered, len(claims), lost)


def check_job(
    ledger: Ledger,
    prompts: Sequence[str],
    summary: Mapping[str, Any],
    output: Path,
    kills: Iterable[Kill] = (),
    slots: int = 0,
) -> None:
    """Hold a job that came to its end to what FAULTS demands; `prompts` are the rows' prompt digests in input order."""
    kills = list(kills)
    lines = pq.read_table(output, columns=["status", "response", "attempts", "error_kind"]).to_pylist()
    assert len(lines) == len(prompts) == summary["rows"]
    answers = {prompt: [one for one in found if is_usable(one)] for prompt, found in ledger.by_prompt.items()}
    for number, (line, prompt) in enumerate(zip(lines, prompts, strict=True)):
        if line["status"] == "succeeded":
            found = [one.answered["response"] for one in answers[prompt] if one.answered]
            assert line["response"] in found, f"row {number} has an answer that the endpoint never gave to its prompt"
        else:
            assert line["error_kind"], f"row {number} failed without a kind"
    lost = {_name(one) for kill in kills for one in kill.lost}
    for kill in kills:
        assert len(kill.lost) <= kill.open_claims <= slots, "more was in flight than there are slots"
        again = [p for p in kill.answered if any(one.asked["at"] > kill.at for one in ledger.by_prompt[p])]
        assert not again, "what was acknowledged before a kill was asked again"
    doubled = [p for p, found in answers.items() if sum(_name(one) not in lost for one in found) > 1]
    assert not doubled, "answers that came home were asked for again"
    kept = [one for one in ledger.exchanges if _name(one) not in lost]
    known = sum((billed(one) for one in kept if is_known(one)), Decimal(0))
    assert Decimal(summary["job_cost_usd"]) == known, "the job's cost is not what the endpoint billed"
    assert known + Decimal(summary["possibly_billed_usd"]) >= ledger.billed, "the endpoint billed more than was counted"
    assert not output.with_name(output.name.replace(".parquet", ".partial.parquet")).exists()
    assert not list(output.parent.glob(".*.writing"))


def _name(exchange: Exchange) -> tuple[str, int]:
    return exchange.asked["server"], exchange.asked["n"]
