"""Whatever is written to the journal is read back, and whatever is damaged in it is noticed."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic_core import from_json, to_json

from pipeline.errors import CheckpointFailed
from pipeline.journal import Changes, Claim, Event, Journal, State
from pipeline.journal.outcome import Outcome, decode, encode
from pipeline.records import digest, digest_of_texts

PAGE = 8192


@dataclass
class Content:
    """All that a journal should hold."""

    events: list[Event] = field(default_factory=list)
    claims: dict[int, Claim] = field(default_factory=dict)
    settings: dict[int, Any] = field(default_factory=dict)
    runs: list[str] = field(default_factory=list)
    cost: Decimal = Decimal(0)
    pause: tuple[float, float] | None = None

    def check(self, directory: Path) -> None:
        """Read the journal whole, by every way there is to read it."""
        with closing(Journal.read(directory)) as journal:
            index = list(journal.index())
            records = list(journal.records(range(1, len(index) + 1)))
            assert index == [
                (
                    seq,
                    e.plan,
                    e.position,
                    e.state,
                    e.row_id,
                    e.request_hash,
                    e.settings_id,
                    e.content_key,
                    e.record.source,
                )
                for seq, e in enumerate(self.events, 1)
            ]
            assert [entry for entry, _ in records] == index
            assert [record for _, record in records] == [e.record for e in self.events]
            assert journal.claims() == [self.claims[number] for number in sorted(self.claims)]
            assert journal.settings() == self.settings
            assert journal.runs() == self.runs
            assert (journal.job, journal.simulated) == ("job", False)
            totals = journal.totals
            assert (totals.events, totals.cost_usd, totals.pause) == (len(self.events), self.cost, self.pause)


def make_event(number: int) -> Event:
    state = State.ADOPTED if number % 7 == 3 else State.ANSWERED
    record: dict[str, Any] = {"attempts": 1, "response": f"{number}ä" * (number * 37 % 500)}
    if state is State.ADOPTED:
        record["source"] = number
    return Event(1, number, state, f"row-{number}", f"{number:032x}", 1, f"{number:032d}", decode(record))


def make_claim(number: int) -> Claim:
    return Claim(number, 1, number, f"row-{number}", f"{number:032x}", 1, "c", 1.5, "0.1", 9, Outcome(attempts=number))


def write_groups(journal: Journal, content: Content, groups: range) -> None:
    """Commits of all sizes, each as a run makes them: outcomes, claims closed, claims made."""
    for group in groups:
        events = [make_event(len(content.events) + offset) for offset in range(group % 5)]
        claims = [make_claim(group * 10 + offset) for offset in range(group % 4 * 3)]
        release = sorted(content.claims)[: len(content.claims) // 2]
        pause = (float(group), group + 5.0)
        journal.commit(Changes(events, release=release, claims=claims, cost_usd=Decimal("0.01"), pause=pause))
        content.events += events
        content.claims = {n: c for n, c in content.claims.items() if n not in release} | {c.number: c for c in claims}
        content.cost += Decimal("0.01")
        content.pause = pause


def write_whole(directory: Path, content: Content, how_it_ends: str) -> None:
    Journal.create(directory, job="job", simulated=False)
    journal = Journal.write(directory)
    for number in (1, 2):
        description = {"model": f"m{number}", "prompt": {"user": "ä" * 3000}}
        content.settings[journal.register_settings(str(number), description)] = description
    journal.register_run("run")
    content.runs.append("run")
    write_groups(journal, content, range(50))
    if how_it_ends == "killed in the second run":
        journal.close()
        journal = Journal.write(directory)
    if how_it_ends != "never reopened":
        write_groups(journal, content, range(50, 100))
    if how_it_ends == "closed":
        journal.close()
    else:
        # What a kill leaves: what stands in the files at this moment.
        shutil.copytree(directory, directory.with_name("killed"))
        journal.close()
        shutil.rmtree(directory)
        directory.with_name("killed").rename(directory)


class Original:
    def __init__(self, files: dict[str, bytes], content: Content) -> None:
        self.files = files
        self.content = content

    def put(self, directory: Path) -> None:
        for old in directory.iterdir():
            old.unlink()
        for name, content in self.files.items():
            (directory / name).write_bytes(content)


ENDS = ("closed", "never reopened", "killed in the second run")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Original]:
    made = {}
    for how_it_ends in ENDS:
        directory = tmp_path_factory.mktemp("original") / "checkpoint"
        directory.mkdir()
        content = Content()
        write_whole(directory, content, how_it_ends)
        files = {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith("-shm")}
        content.check(directory)
        made[how_it_ends] = Original(files, content)
    assert {"journal.sqlite", "acknowledged"} == made["closed"].files.keys()
    assert all(len(made[how].files["journal.sqlite-wal"]) > 20 * PAGE for how in ENDS[1:])
    assert len(made["closed"].files["journal.sqlite"]) > 10 * PAGE
    return made


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    yield tmp_path_factory.mktemp("damaged")


def expect_right_or_refused(original: Original, directory: Path) -> None:
    """With the damaged files in place: all is read as it was written, or refused; and so it stays after more commits.
    A refusal leaves the files as they are.
    """

    def files() -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in directory.iterdir() if not path.name.endswith("-shm")}

    before = files()
    try:
        original.content.check(directory)
    except CheckpointFailed:
        assert files() == before
        return
    assert files() == before
    try:
        journal = Journal.write(directory)
    except CheckpointFailed:
        assert files() == before
        return
    known = original.content
    content = Content([*known.events], {**known.claims}, known.settings, known.runs, known.cost, known.pause)
    with closing(journal):
        write_groups(journal, content, range(100, 110))
    content.check(directory)


which = st.sampled_from(ENDS)
where = st.floats(0, 1, exclude_max=True)


@given(which, st.sampled_from(["journal.sqlite", "journal.sqlite-wal"]), where)
@settings(max_examples=120)
def test_a_journal_that_is_cut_off_at_any_byte_is_whole_or_refused(
    originals: dict[str, Original], directory: Path, how_it_ends: str, name: str, share: float
) -> None:
    original = originals[how_it_ends]
    content = original.files.get(name, original.files["journal.sqlite"])
    name = name if name in original.files else "journal.sqlite"
    original.put(directory)
    (directory / name).write_bytes(content[: int(share * len(content))])
    expect_right_or_refused(original, directory)


@given(which, st.sampled_from(["journal.sqlite", "journal.sqlite-wal"]), where, st.booleans(), st.integers(0, 7))
@settings(max_examples=200)
def test_a_flipped_bit_never_shows_as_content(
    originals: dict[str, Original],
    directory: Path,
    how_it_ends: str,
    name: str,
    share: float,
    in_a_head: bool,
    bit: int,
) -> None:
    original = originals[how_it_ends]
    name = name if name in original.files else "journal.sqlite"
    content = bytearray(original.files[name])
    at = int(share * len(content))
    if in_a_head:  # where a page's kind, its cells and the way to the next page stand
        at = at // PAGE * PAGE + at % 128
    content[min(at, len(content) - 1)] ^= 1 << bit
    original.put(directory)
    (directory / name).write_bytes(content)
    expect_right_or_refused(original, directory)


@given(which, where, st.integers(1, 3 * PAGE), st.randoms(use_true_random=False))
@settings(max_examples=40)
def test_garbage_and_lost_sectors_never_show_as_content(
    originals: dict[str, Original], directory: Path, how_it_ends: str, share: float, length: int, random: Any
) -> None:
    original = originals[how_it_ends]
    name = random.choice(sorted(original.files))
    content = bytearray(original.files[name])
    at = int(share * len(content))
    filler = random.choice([random.randbytes(length), bytes(length), bytes(content[:length])])
    content[at : at + length] = filler[: len(content) - at]
    original.put(directory)
    (directory / name).write_bytes(content)
    expect_right_or_refused(original, directory)


surrogates = st.text(st.characters(min_codepoint=0xD700, max_codepoint=0xE100))
any_text = st.text() | surrogates | st.text(st.sampled_from('\ud83d\ude00a\0\n"\\\u2028'))
ids = st.text(st.characters(exclude_categories=["Cs"]))


def in_unicode(text: str) -> str:
    """What is to come back: halves of a character that find each other are it; those left alone are U+FFFD."""
    joined = re.sub(
        "([\ud800-\udbff])([\udc00-\udfff])",
        lambda pair: chr(0x10000 + (ord(pair[1]) - 0xD800) * 0x400 + ord(pair[2]) - 0xDC00),
        text,
    )
    return re.sub("[\ud800-\udfff]", "\ufffd", joined)


@pytest.fixture(scope="module")
def long_journal(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Journal]:
    directory = tmp_path_factory.mktemp("long")
    Journal.create(directory, job="job", simulated=False)
    with closing(Journal.write(directory)) as journal:
        yield journal


def outcomes(texts: st.SearchStrategy[str]) -> st.SearchStrategy[Outcome]:
    """Every value that an outcome can have, by the types of its fields."""
    amounts = st.decimals(0, 2_000_000, allow_nan=False, allow_infinity=False)
    strategies: dict[str, st.SearchStrategy[Any]] = {
        "str": texts,
        "int": st.integers(0, 2**63 - 1),
        "float": st.floats(0, 2e9),
        "bool": st.booleans(),
        "Decimal": amounts,
        "tuple[str, ...]": st.lists(texts, max_size=3).map(tuple),
        "tuple[str, str, str | None, str | None]": st.tuples(texts, texts, st.none() | texts, st.none() | texts),
    }
    chosen = {}
    for name, kind in Outcome.__annotations__.items():
        known = strategies[kind.__forward_arg__.removesuffix(" | None")]
        chosen[name] = st.none() | known if Outcome._field_defaults[name] is None else known
    return st.builds(Outcome, **chosen)


@given(outcomes(ids))
def test_an_outcome_is_read_back_as_it_was_written(outcome: Outcome) -> None:
    assert decode(from_json(to_json(encode(outcome)))) == outcome


@given(any_text, ids, ids, ids, st.integers(0, 2**63 - 1))
@settings(max_examples=100)
def test_any_text_and_any_id_come_back(
    long_journal: Journal, text: str, row_id: str, request_hash: str, content: str, position: int
) -> None:
    record, expected = Outcome(response=text, attempts=2), Outcome(response=in_unicode(text), attempts=2)
    event = Event(1, position, State.FAILED, row_id, request_hash, 3, content, record)
    claim = Claim(1, 1, position, row_id, request_hash, 3, content, 0.1, None, 2, record)
    seq = long_journal.commit(Changes([event], claims=[claim]))
    assert list(long_journal.records([seq])) == [
        ((seq, 1, position, State.FAILED, row_id, request_hash, 3, content, 0), expected)
    ]
    (found,) = long_journal.claims()
    assert (found.row_id, found.history) == (row_id, expected)
    long_journal.commit(Changes(release=[1]))


@dataclass
class Step:
    events: int
    claims: int
    release: list[bool]
    reopen: bool


steps = st.builds(Step, st.integers(0, 4), st.integers(0, 4), st.lists(st.booleans(), max_size=6), st.booleans())


@given(st.lists(steps, min_size=1, max_size=8))
@settings(max_examples=20)
def test_after_a_kill_at_any_commit_the_files_hold_exactly_what_was_acknowledged(
    tmp_path_factory: pytest.TempPathFactory, history: list[Step]
) -> None:
    base = tmp_path_factory.mktemp("history")
    directory, killed = base / "checkpoint", base / "killed"
    directory.mkdir()
    Journal.create(directory, job="job", simulated=False)
    content = Content()
    journal = Journal.write(directory)
    for step in history:
        if step.reopen:
            journal.close()
            journal = Journal.write(directory)
        events = [make_event(len(content.events) + offset) for offset in range(step.events)]
        first = max(content.claims, default=0) + 1
        claims = [make_claim(first + offset) for offset in range(step.claims)]
        release = [number for number, wanted in zip(sorted(content.claims), step.release, strict=False) if wanted]
        journal.commit(Changes(events, release=release, claims=claims))
        content.events += events
        content.claims = {n: c for n, c in content.claims.items() if n not in release} | {c.number: c for c in claims}
        shutil.copytree(directory, killed)
        content.check(killed)
        shutil.rmtree(killed)
    journal.close()
    content.check(directory)
    shutil.rmtree(base)


@given(st.text(), any_text)
def test_the_digest_of_texts_is_that_of_their_list(first: str, second: str) -> None:
    assert digest_of_texts(first, second) == digest([first, second])
