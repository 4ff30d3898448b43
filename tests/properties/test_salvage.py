"""Whatever happens to a journal's files, every record whose bytes are whole comes out of them, and nothing else."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from pipeline.journal import (
    Changes,
    Claim,
    Event,
    Identity,
    Journal,
    Recovered,
    State,
    Totals,
    rebuild,
    salvaged,
    store,
)
from pipeline.journal.events import checksum, pack_event
from pipeline.journal.outcome import decode

PAGE = 8192
FRAME = PAGE + 24
DATABASE, LOG = "journal.sqlite", "journal.sqlite-wal"


class Original:
    """A sound checkpoint, and all that was written to it. No dataclass: Hypothesis would print its megabytes.

    `pieces` has for each event its pieces, and for each piece every place where it stands: file, first byte, end.
    """

    def __init__(
        self,
        files: dict[str, bytes],
        events: list[Event],
        claims: list[Claim],
        open_claims: list[Claim],
        totals: Totals,
    ) -> None:
        self.files = files
        self.events = events
        self.claims = claims
        self.open_claims = open_claims
        self.totals = totals
        self.pieces: list[list[list[tuple[str, int, int]]]] = []

    def locate(self) -> None:
        self.pieces = [
            [list(self._places(*piece)) for piece in cell(seq, pack_event(event))]
            for seq, event in enumerate(self.events, 1)
        ]
        assert all(places for pieces in self.pieces for places in pieces)

    def _places(self, content: bytes, is_first: bool, is_last: bool) -> Iterator[tuple[str, int, int]]:
        for name in self.files.keys() & {DATABASE, LOG}:
            start, head = (0, 0) if name == DATABASE else (32, 24)
            at = self.files[name].find(content)
            while at >= 0:
                # Further pages begin with a link, and are known by what stands before them in the log.
                if is_first:
                    yield name, at, at + len(content) + (0 if is_last else 4)
                elif (at - 4 - head - start) % (PAGE + head) == 0:
                    yield name, at - 4 - head, at + len(content)
                at = self.files[name].find(content, at + 1)


def varint(number: int) -> bytes:
    found = [number & 0x7F]
    while number := number >> 7:
        found.append(number & 0x7F | 0x80)
    return bytes(reversed(found))


def cell(seq: int, packed: bytes) -> list[tuple[bytes, bool, bool]]:
    """A row of `events` as https://www.sqlite.org/fileformat2.html has it: what stands in its page, and in each further
    one. With each piece, whether it is the first and the last.
    """
    crc = checksum(seq, packed)
    sizes = {1: 1, 2: 2, 3: 3, 4: 4, 6: 5}
    length = next(bytes_ for bytes_ in sizes if crc < 1 << (8 * bytes_ - 1))
    types = b"\0" + varint(len(packed) * 2 + 12) + bytes([sizes[length]])
    payload = bytes([len(types) + 1]) + types + packed + crc.to_bytes(length, "big")
    local = len(payload)
    if local > PAGE - 35:
        least = (PAGE - 12) * 32 // 255 - 23
        local = least + (len(payload) - least) % (PAGE - 4)
        local = local if local <= PAGE - 35 else least
    rest = [payload[at : at + PAGE - 4] for at in range(local, len(payload), PAGE - 4)]
    pieces = [varint(len(payload)) + varint(seq) + payload[:local], *rest]
    return [(piece, at == 0, at == len(pieces) - 1) for at, piece in enumerate(pieces)]


def make_event(number: int) -> Event:
    state = State.ADOPTED if number % 7 == 3 else State.ATTEMPTED if number % 7 == 5 else State.ANSWERED
    record: dict[str, Any] = {
        "attempts": 1,
        "cost_usd": "0.5",
        "billed_usd": "0.5",
        "started_at": 1e9 + number,
        "response": f"{number}ä\n" * (number * 617 % 4000),
    }
    if state is State.ADOPTED:
        record = {"source": number}
    elif state is State.ATTEMPTED:
        record |= {"billed_usd": None, "possibly_billed": "0.25"}
    identity = (f"row-{number}", f"{number:032x}", 1 + number % 2, "c")
    return Event(1 + number // 50, number, state, *identity, decode(record))


def make_claim(number: int, row: int) -> Claim:
    return Claim(number, 1, row, f"row-{row}", f"{row:032x}", 2, "c", 1e9 + row, "0.75", 9, decode({}))


def write(directory: Path, how_it_ends: str) -> Original:
    """A journal as runs make it: each event closes its row's claim, and claims come before their events."""
    Journal.create(directory, job="job", simulated=True)
    journal = Journal.write(directory)
    for number in (1, 2):
        journal.register_settings(str(number), {"model": f"m{number}", "prompt": {"user": "ä" * 5000}})
    journal.register_run("run")
    events: list[Event] = []
    claims: list[Claim] = []
    for group in range(60):
        if group == 30 and how_it_ends == "killed in the second run":
            journal.close()
            journal = Journal.write(directory)
        new = [make_event(len(events) + offset) for offset in range(group % 4)]
        ahead = [make_claim(len(claims) + 1 + n, len(claims) + n) for n in range(len(events) + 8 - len(claims))]
        released = [claim.number for claim in claims[len(events) : len(events) + len(new)]]
        journal.commit(
            Changes(
                new,
                claims=ahead,
                release=released,
                plan=1 + len(events) // 50,
                cost_usd=sum((event.record.billed_usd or Decimal(0) for event in new), Decimal(0)),
                possibly_billed_usd=sum((event.record.possibly_billed or Decimal(0) for event in new), Decimal(0)),
            )
        )
        events += new
        claims += ahead
    original = Original({}, events, claims, journal.claims(), journal.totals)
    killed = directory.with_name("killed")
    shutil.copytree(directory, killed)
    journal.close()
    kept = directory if how_it_ends == "closed" else killed
    original.files = {path.name: path.read_bytes() for path in kept.iterdir() if not path.name.endswith("-shm")}
    original.locate()
    shutil.rmtree(killed)
    return original


ENDS = ("closed", "never reopened", "killed in the second run", "killed after the log began anew")


@pytest.fixture(scope="module")
def originals(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Original]:
    made = {}
    with pytest.MonkeyPatch.context() as patch:
        for how_it_ends in ENDS:
            patch.setattr(store, "_LOG_BYTES", 500_000 if how_it_ends == ENDS[-1] else 2**40)
            directory = tmp_path_factory.mktemp("original") / "checkpoint"
            directory.mkdir()
            made[how_it_ends] = write(directory, how_it_ends)
    assert LOG not in made["closed"].files
    assert len(made["never reopened"].files[DATABASE]) < 10 * PAGE
    assert all(len(made[how].files[LOG]) > 30 * PAGE for how in ENDS[1:])
    assert all(len(made[how].files[DATABASE]) > 30 * PAGE for how in ENDS[2:])
    return made


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("damaged")


@dataclass
class Outcome:
    """What came of a recovery: the numbers that the events had, the open claims, and what it said."""

    numbers: list[int]
    claims: list[Claim]
    totals: Totals
    identity: Identity | None
    recovered: Recovered


def recover(original: Original, files: Mapping[str, bytes], place: Path) -> Outcome:
    """Recover from the files, and check that nothing comes out that was not put in."""
    damaged, made = place / "checkpoint", place / "recovered"
    for directory in (damaged, made):
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir()
    for name, content in files.items():
        (damaged / name).write_bytes(content)
    (place / "index").unlink(missing_ok=True)
    with salvaged(damaged, place / "index") as salvage:
        found = salvage.identity
        identity = found or Identity("job", True, "new")
        recovered = rebuild(salvage, damaged, made, identity, [], kind="openai", model="job's")
    assert {path.name: path.read_bytes() for path in damaged.iterdir() if not path.name.endswith("-shm")} == files
    with closing(Journal.read(made)) as journal:
        assert journal.verify() == recovered.answers
        records = list(journal.records(range(1, journal.totals.events + 1)))
        assert len(records) == recovered.answers + recovered.others
        assert all(entry.settings_id in journal.settings() for entry, _ in records)
        numbers = [int(entry.row_id.removeprefix("row-")) + 1 for entry, _ in records]
        assert numbers == sorted(set(numbers))
        for number, (entry, record) in zip(numbers, records, strict=True):
            event = original.events[number - 1]
            if event.state is State.ADOPTED:
                assert numbers[entry.source - 1] == event.record.source
                assert record == decode({"source": entry.source})
            else:
                assert record == event.record
            assert entry[1:8] == (
                event.plan,
                event.position,
                event.state,
                event.row_id,
                event.request_hash,
                event.settings_id,
                event.content_key,
            )
        billed = sum((record.billed_usd or Decimal(0) for _, record in records), Decimal(0))
        possibly = sum((record.possibly_billed or Decimal(0) for _, record in records), Decimal(0))
        assert billed <= journal.totals.cost_usd <= original.totals.cost_usd
        assert possibly <= journal.totals.possibly_billed_usd <= original.totals.possibly_billed_usd
        assert max((entry.plan for entry, _ in records), default=0) <= journal.totals.plan
        assert journal.identity == replace(identity, renumbered=journal.totals.commits)
        return Outcome(numbers, journal.claims(), journal.totals, found, recovered)


@pytest.mark.parametrize("how_it_ends", ENDS)
def test_of_sound_files_everything_comes_back(originals: dict[str, Original], place: Path, how_it_ends: str) -> None:
    original = originals[how_it_ends]
    found = recover(original, original.files, place)
    assert found.numbers == list(range(1, len(original.events) + 1))
    assert [claim.row_id for claim in found.claims] == [claim.row_id for claim in original.open_claims]
    assert found.totals.cost_usd == original.totals.cost_usd
    assert found.totals.possibly_billed_usd == original.totals.possibly_billed_usd
    assert found.totals.plan == original.totals.plan
    assert found.totals.commits == original.totals.commits + 1
    assert found.recovered.lost == 0


@dataclass(frozen=True)
class Damage:
    """`length` bytes become something else, or are cut off with all that follows (-1)."""

    name: str
    share: float
    length: int
    filler: bytes


fillers = st.sampled_from([b"\0", b"\xff", b"garbage!", b"\x00\x01\x0d\x0a[", b"\x05\x00\xb0\x3c\x04["])
damages = st.builds(
    Damage,
    st.sampled_from([DATABASE, LOG]),
    st.floats(0, 1, exclude_max=True),
    st.sampled_from([1, 1, 30, 2000, PAGE, 5 * PAGE, 40 * PAGE, -1]),
    fillers,
)


@given(st.sampled_from(ENDS), st.lists(damages, min_size=1, max_size=3))
@settings(max_examples=50)
def test_every_record_whose_bytes_are_whole_comes_back_and_nothing_else(
    originals: dict[str, Original], place: Path, how_it_ends: str, damages: list[Damage]
) -> None:
    original = originals[how_it_ends]
    files = dict(original.files)
    touched: list[tuple[str, int, int]] = []
    for damage in damages:
        content = files.get(damage.name, b"")
        at, whole = int(damage.share * len(content)), len(original.files.get(damage.name, b""))
        end = whole if damage.length < 0 else at + damage.length
        touched.append((damage.name, at, end))
        if damage.name in files and damage.length < 0:
            files[damage.name] = content[:at]
        elif damage.name in files:
            filler = (damage.filler * damage.length)[: damage.length]
            files[damage.name] = (content[:at] + filler + content[end:])[: len(content)]
    found = recover(original, files, place)
    expect_all_whole(original, found, touched)
    assert found.recovered.lost <= len(original.events) - len(found.numbers)


def expect_all_whole(original: Original, found: Outcome, touched: list[tuple[str, int, int]]) -> None:
    def is_whole(place: tuple[str, int, int]) -> bool:
        return not any(place[0] == name and place[1] < end and at < place[2] for name, at, end in touched)

    whole = {
        seq
        for seq, pieces in enumerate(original.pieces, 1)
        if all(any(is_whole(place) for place in places) for places in pieces)
    }
    adopted = {seq: event.record.source for seq, event in enumerate(original.events, 1) if event.record.source}
    expected = {seq for seq in whole if seq not in adopted or adopted[seq] in found.numbers}
    assert expected <= set(found.numbers)
    assert len(found.numbers) + found.recovered.lost >= max(whole, default=0)
    # A claim that an event which came back has closed is not open; one that may be is among those that were made.
    rows = {claim.row_id for claim in found.claims}
    assert not rows & {f"row-{seq - 1}" for seq in found.numbers if seq not in adopted}
    assert rows <= {claim.row_id for claim in original.claims}


@pytest.mark.parametrize("names", [[DATABASE], [LOG], [DATABASE, LOG], [LOG, DATABASE]], ids="-".join)
def test_a_page_that_is_damaged_in_one_file_comes_from_the_other(
    originals: dict[str, Original], place: Path, names: list[str]
) -> None:
    original = originals["killed after the log began anew"]
    long_in_both = [
        pieces
        for pieces in original.pieces
        if len(pieces) > 1 and all({file for file, _, _ in places} == {DATABASE, LOG} for places in pieces)
    ]
    assert long_in_both
    # Every page that such an event goes on in, in one of the files or by turns, but not the page where it begins.
    files, touched = {name: bytearray(content) for name, content in original.files.items()}, []
    for pieces in long_in_both:
        for places, name in zip(pieces[1:], names * len(pieces), strict=False):
            for at in (end - 10 for file, _, end in places if file == name):
                files[name][at : at + 1] = b"!"
                touched.append((name, at, at + 1))
    found = recover(original, {name: bytes(content) for name, content in files.items()}, place)
    expect_all_whole(original, found, touched)


@pytest.mark.parametrize("name", [DATABASE, LOG])
def test_a_long_record_of_which_all_but_the_first_page_is_damaged_in_one_file_comes_from_the_other(
    place: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, name: str
) -> None:
    monkeypatch.setattr(store, "_LOG_BYTES", 0)
    event = Event(1, 0, State.ANSWERED, "row-0", "h", 1, "c", decode({"attempts": 1, "response": "word " * 80_000}))
    Journal.create(tmp_path, job="job", simulated=True)
    with closing(Journal.write(tmp_path)) as journal:
        journal.commit(Changes([event]))
        original = Original({n: (tmp_path / n).read_bytes() for n in (DATABASE, LOG)}, [event], [], [], journal.totals)
    original.locate()
    content = bytearray(original.files[name])
    for file, at, _ in (place for places in original.pieces[0][1:] for place in places):
        if file == name:
            content[at + 1000 : at + 1010] = b"0123456789"
    assert recover(original, {**original.files, name: bytes(content)}, place).numbers == [1]


def test_a_journal_of_which_nothing_is_left_becomes_an_empty_one(originals: dict[str, Original], place: Path) -> None:
    original = originals["closed"]
    files = {"acknowledged": original.files["acknowledged"], DATABASE: b"not a journal at all\n" * 400}
    found = recover(original, files, place)
    assert (found.numbers, found.claims, found.identity) == ([], [], None)
    assert found.recovered.lost >= 1
    assert found.totals.commits > original.totals.commits


def test_without_the_log_what_was_moved_into_the_database_comes_back_and_the_loss_is_counted(
    originals: dict[str, Original], place: Path
) -> None:
    original = originals["killed in the second run"]
    found = recover(original, {name: text for name, text in original.files.items() if name != LOG}, place)
    assert 0 < len(found.numbers) < len(original.events)
    assert found.numbers == list(range(1, len(found.numbers) + 1))
    assert found.recovered.lost == 1, "the count of commits shows that there was more, not how much"
    assert found.claims


def test_claims_that_a_kill_left_open_still_count_where_the_tree_is_broken(
    originals: dict[str, Original], place: Path
) -> None:
    original = originals["never reopened"]
    log = bytearray(original.files[LOG])
    log[32 + 8] ^= 1  # the first frame's salt: SQLite takes the whole log for a remnant
    found = recover(original, {**original.files, LOG: bytes(log)}, place)
    assert found.numbers == list(range(1, len(original.events) + 1))
    assert {claim.row_id for claim in original.open_claims} <= {claim.row_id for claim in found.claims}


def test_of_two_events_with_one_number_the_one_that_was_committed_counts(
    originals: dict[str, Original], place: Path
) -> None:
    original = originals["closed"]
    other = place / "other"
    shutil.rmtree(other, ignore_errors=True)
    other.mkdir()
    Journal.create(other, job="job", simulated=True)
    with closing(Journal.write(other)) as journal:
        # What a commit that was never finished may leave in the log.
        unfinished = [make_event(1), *(make_event(n) for n in range(2, 5)), make_event(len(original.events))]
        journal.commit(Changes(unfinished))
        log = (other / LOG).read_bytes()
    found = recover(original, {**original.files, LOG: log}, place)
    assert found.numbers == list(range(1, len(original.events) + 1))


def test_settings_that_are_lost_leave_no_answer_without_a_model(originals: dict[str, Original], place: Path) -> None:
    original = originals["closed"]
    database = original.files[DATABASE].replace(b'"model": "m1"', b'"model": "mX"')
    assert database != original.files[DATABASE]
    recover(original, {**original.files, DATABASE: database}, place)
    with closing(Journal.read(place / "recovered")) as journal:
        assert {settings["model"] for settings in journal.settings().values()} == {"job's"}
