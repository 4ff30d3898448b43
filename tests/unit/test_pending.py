"""What waits for the next commit is counted once, and nothing is committed where there is nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from pipeline.batches.book import Book
from pipeline.batches.lines import MISSING
from pipeline.catalogue import Terms
from pipeline.config.models import LimitsConfig
from pipeline.errors import ErrorKind
from pipeline.journal import Changes, Event, Journal, Outcome, State
from pipeline.journal.batches import OpenBatch
from pipeline.plan import Plan
from pipeline.records import Request
from pipeline.runner.admission import Admission, Reservation
from pipeline.runner.feed import NEVER_ASKED, Work
from pipeline.runner.pending import PendingCommit
from tests.support.virtual import PRICE, Bench


@pytest.fixture
def plan(tmp_path: Path) -> Iterator[Plan]:
    (tmp_path / "plan").mkdir()
    bench = Bench(tmp_path / "plan", 4)
    yield bench.plan
    bench.journal.close()


@pytest.fixture
def commits(monkeypatch: pytest.MonkeyPatch) -> list[Changes]:
    seen: list[Changes] = []
    commit = Journal.commit

    def counted(self: Journal, changes: Changes) -> int:
        seen.append(changes)
        return commit(self, changes)

    monkeypatch.setattr(Journal, "commit", counted)
    return seen


@pytest.fixture
def pending(tmp_path: Path, plan: Plan) -> Iterator[PendingCommit]:
    (tmp_path / "book").mkdir()
    Journal.create(tmp_path / "book", job="test", simulated=False)
    journal = Journal.write(tmp_path / "book")
    journal.register_settings("1" * 32, {"model": "m", "parameters": {"max_tokens": 5}})
    yield PendingCommit(journal, plan)
    journal.close()


def event(plan: Plan, position: int, state: State, record: Outcome) -> Event:
    return Event(plan.number, position, state, f"r{position}", "0" * 32, 1, "", record)


def test_nothing_is_committed_where_nothing_waits(pending: PendingCommit, commits: list[Changes]) -> None:
    pending.commit()
    assert commits == []
    pending.add(event(pending.plan, 0, State.ANSWERED, Outcome(response="a", response_type="text")))
    assert (pending.events, pending.size) == (1, 1)
    pending.commit()
    pending.commit()
    assert (len(commits), pending.size, pending.journal.totals.events) == (1, 0, 1)
    pending.commit(batches=[])
    assert len(commits) == 2


def test_a_failure_that_keeps_an_answer_counts_as_a_failure(pending: PendingCommit) -> None:
    failed = Outcome(error_kind=ErrorKind.TIMEOUT, source=1)
    pending.add(event(pending.plan, 1, State.FAILED, failed), recorded_as=State.ADOPTED)
    pending.add(event(pending.plan, 2, State.ANSWERED, Outcome(response_type="empty", truncated=True)))
    pending.commit()
    progress = pending.progress
    assert (progress.failed, progress.succeeded, progress.empty, progress.truncated) == (1, 1, 1, 1)
    assert [pending.plan.state(position) for position in (1, 2)] == [State.ADOPTED, State.ANSWERED]


def book_of(pending: PendingCommit) -> Book:
    terms = {"m": Terms(PRICE, 1000)}
    admission = Admission(LimitsConfig(), terms=terms, spent=Decimal(0))
    return Book(pending, terms=terms, max_attempts=3, admission=admission)


def put_out(book: Book, pending: PendingCommit, key: str, positions: list[int]) -> OpenBatch:
    request = Request("m", ({"role": "user", "content": "hi"},), {"max_tokens": 5})
    admission = Admission(LimitsConfig(), terms={"m": Terms(PRICE, 1000)}, spent=Decimal(0))
    claims = []
    for position in positions:
        reserved = admission.reserve(request, 0.0)
        assert isinstance(reserved, Reservation)
        work = Work(position, f"r{position}", "", request, f"{position:032d}", NEVER_ASKED, 1)
        claims.append(book.claim(work, reserved, key))
    batch = OpenBatch(key, 0.0, len(claims), "1", "24h")
    book.open(batch, claims)
    return batch


@pytest.mark.parametrize("end", [Book.give_back, lambda book, number: book.settle(number, MISSING)])
def test_a_book_adds_up_its_open_lines_as_they_come_and_go(
    pending: PendingCommit, end: Callable[[Book, int], object]
) -> None:
    book = book_of(pending)
    first, second = put_out(book, pending, "first", [0, 1]), put_out(book, pending, "second", [2])
    each = Decimal(book.claims[1].worst_cost or 0)
    assert (book.lines_of(first), book.lines_of(second), book.worst_usd) == ([1, 2], [3], 3 * each)
    end(book, 1)
    assert (book.lines_of(first), book.worst_usd) == ([2], 2 * each)
    book.commit()
    again = book_of(pending)  # as a later run reads them
    assert (again.lines_of(first), again.lines_of(second), again.worst_usd) == ([2], [3], 2 * each)
    for number in (2, 3):
        end(again, number)
    assert again.lines_of(first) == []
    assert again.worst_usd == 0


def test_a_book_commits_what_there_is(pending: PendingCommit, commits: list[Changes]) -> None:
    book = book_of(pending)
    batch = put_out(book, pending, "first", [0])
    book.update(batch)  # as it is known already
    book.commit()
    assert len(commits) == 1
    book.give_back(1)
    book.close(batch)
    assert [changes.batches for changes in commits] == [[batch], []]
    assert pending.journal.totals.claims == 0
