"""Any order of runs, kills and changes of input and settings, against an endpoint that keeps its own books.

Runs go through `pipeline.app.running.run.Run` in this process and over real sockets. A kill copies the job's
directory aside at that moment and puts the copy back once the run has unwound, so that the next run finds what
SIGKILL would have left.

`make test` tries a few dozen sequences; HYPOTHESIS_PROFILE=long tries many more and longer ones.
"""

from __future__ import annotations

import csv
import hashlib
import itertools
import json
import os
import shutil
import socket
import socketserver
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any, Literal, NamedTuple
from unittest.mock import patch

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from pipeline.app.observe.summary import Summary
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.config import Job, load_job
from pipeline.errors import InvalidInput
from pipeline.journal import Journal
from pipeline.records import Message, Request, request_hash

MODEL = "meta/llama-4-scout-17b-16e-instruct"
CONCURRENCY, MAX_ATTEMPTS, MAX_RUNS, MAX_TOKENS = 3, 3, 1, 50
INPUT_PRICE, OUTPUT_PRICE = Decimal("0.3"), Decimal("0.7")
HARMLESS_KINDS = ("good", "good", "good", "good", "unpriced", "fails1", "fails2", "busy1", "cut1")
"""The last digit says how often the endpoint misbehaves before it answers."""

OnChange = Literal["refuse", "rerun", "keep"]


class Prompt(NamedTuple):
    """What a row asks, as the endpoint sees it. The first word of `text` tells the endpoint what to do."""

    system: str
    text: str

    @property
    def kind(self) -> str:
        return self.text.partition(" ")[0]

    @property
    def is_answerable(self) -> bool:
        return self.kind not in ("", "refused", "doomed")

    @property
    def hash(self) -> str:
        messages: tuple[Message, ...] = (
            {"role": "system", "content": self.system},
            {"role": "user", "content": self.text},
        )
        return request_hash("dataoorts", Request(MODEL, messages, {"max_tokens": MAX_TOKENS}))


class Asked(NamedTuple):
    """One line of the endpoint's books. `is_known` says whether the reply went out whole and tells what it cost."""

    prompt: Prompt
    is_usable: bool
    billed: Decimal
    is_known: bool


class Endpoint(socketserver.ThreadingTCPServer):
    """Answers by the prompt's first word; each answer is numbered, so that no two are the same."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self) -> None:
        self.books: list[Asked] = []
        self.active: set[Any] = set()
        self.last_accepted: Any = None
        self._counts: Counter[Prompt] = Counter()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", 0), _Handler)
        self.address = f"http://127.0.0.1:{self.server_address[1]}/api/v1"

    def reply(self, body: dict[str, Any]) -> tuple[int, bytes | None]:
        """Enter a request in the books; returns the status and body, None where the connection is to be cut."""
        system, user = (message["content"] for message in body["data"]["messages"])
        prompt = Prompt(system, user)
        with self._lock:
            number = self._counts[prompt] = self._counts[prompt] + 1
            fails = int(prompt.kind[-1]) if prompt.kind[-1].isdigit() else 0
            if prompt.kind == "refused":
                return self._enter(prompt, 400, error=5006)
            if prompt.kind == "doomed" or (prompt.kind.startswith("fails") and number <= fails):
                return self._enter(prompt, 500, error=3043)
            if prompt.kind.startswith("busy") and number <= fails:
                return self._enter(prompt, 429, error=3040)
            seed = hashlib.sha256("|".join(prompt).encode()).digest()
            tokens, completion_tokens = 10 + seed[0] % 60, 1 + seed[1] % MAX_TOKENS
            cost = (INPUT_PRICE * tokens + OUTPUT_PRICE * completion_tokens) / 10**6
            if prompt.kind.startswith("cut") and number <= fails:
                self.books.append(Asked(prompt, False, cost, False))
                return 0, None
            result: dict[str, Any] = {"response": f"{system}|{user}|{len(self.books)}"}
            if prompt.kind != "unpriced":
                result["usage"] = {
                    "prompt_tokens": tokens,
                    "completion_tokens": completion_tokens,
                    "total_tokens": tokens + completion_tokens,
                }
            self.books.append(Asked(prompt, True, cost, "usage" in result))
            return 200, json.dumps({"result": result, "success": True, "errors": [], "messages": []}).encode()

    def _enter(self, prompt: Prompt, status: int, error: int) -> tuple[int, bytes]:
        self.books.append(Asked(prompt, False, Decimal(0), False))
        body = {"result": None, "success": False, "errors": [{"code": error, "message": "no"}], "messages": []}
        return status, json.dumps(body).encode()

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes away in the middle is what a kill looks like from here."""

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self.active.add(client_address)
            self.last_accepted = client_address
        super().process_request(request, client_address)

    def settle(self) -> None:
        """Wait until all that clients sent is in the books and every client has hung up."""
        give_up = time.monotonic() + 10
        # This connection is accepted after all that came before it.
        with socket.create_connection(("127.0.0.1", self.server_address[1])) as last:
            while self.last_accepted != last.getsockname() and time.monotonic() < give_up:
                time.sleep(0.0005)
        while self.active and time.monotonic() < give_up:
            time.sleep(0.0005)
        assert not self.active, "a connection was left open after the run"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: Endpoint

    def handle(self) -> None:
        try:
            super().handle()
        finally:
            with self.server._lock:
                self.server.active.discard(self.client_address)

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status, reply = self.server.reply(json.loads(body))
        if reply is None:
            self.close_connection = True
            return
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(reply)}\r\n\r\n"
        self.wfile.write(head.encode() + reply)

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


class Killed(BaseException):
    """Stands for SIGKILL."""


Moment = tuple[str, int]
"""Where a kill comes: at the n-th moment right before or right after a commit, a renaming or a sync."""

_STEPS: dict[str, tuple[Any, str]] = {"commit": (Journal, "commit"), "rename": (Path, "rename"), "sync": (os, "fsync")}


@contextmanager
def killed_at(moment: Moment, directory: Path, aside: Path) -> Iterator[None]:
    """Kill at that moment; the disk as it was then stands in `directory` afterwards. Where the run has no such moment
    it comes to its end.
    """
    step, number = moment
    owner, name = _STEPS[step]
    function: Callable[..., Any] = getattr(owner, name)
    passed = itertools.count(1)

    def pass_moment() -> None:
        if next(passed) == number:
            shutil.copytree(directory, aside)
            raise Killed

    def stepped(*args: Any, **kwargs: Any) -> Any:
        pass_moment()
        result = function(*args, **kwargs)
        pass_moment()
        return result

    try:
        with patch.object(owner, name, stepped):
            yield
    finally:
        if aside.exists():
            shutil.rmtree(directory)
            aside.rename(directory)


@dataclass(frozen=True)
class Row:
    """An input row. `id` is unique only where the job names it as the id."""

    id: str
    text: str
    note: str = ""


class Shown(NamedTuple):
    """What the last whole output says of a row."""

    prompt: Prompt
    status: str
    response: str | None
    error_kind: str | None

    @property
    def answered(self) -> Prompt:
        """What the answer was given to: an earlier prompt where the row kept its answer."""
        return Prompt(*(self.response or "||").split("|")[:2])

    @property
    def is_kept(self) -> bool:
        return self.response is not None and self.answered != self.prompt


Key = tuple[str, ...]

texts = st.one_of(
    st.builds("{} {}".format, st.sampled_from(HARMLESS_KINDS), st.integers(0, 3)),
    st.builds("{} {}".format, st.sampled_from(("good", "good", "refused", "doomed")), st.integers(0, 3)),
    st.sampled_from(("good 1", "good 2", "")),
)
indexes = st.integers(0, 1000)
Edit = tuple[str, int, str]
edits = st.tuples(st.sampled_from(("append", "append", "copy", "text", "carried", "remove", "reverse")), indexes, texts)
made = st.lists(edits, max_size=5)
moments = st.one_of(
    st.tuples(st.just("commit"), st.integers(1, 30)), st.tuples(st.sampled_from(("rename", "sync")), st.integers(1, 12))
)
choices = st.sampled_from(("refuse", "rerun", "keep"))


class Runs(RuleBasedStateMachine):
    """The model knows what each row asks, and from the endpoint's books and earlier outputs what may be asked again."""

    endpoint: Endpoint
    home: Path

    @initialize(has_ids=st.booleans(), first=st.lists(texts, min_size=1, max_size=8))
    def begin(self, has_ids: bool, first: list[str]) -> None:
        self.directory, self.aside = self.home / "job", self.home / "aside"
        for path in (self.directory, self.aside):
            shutil.rmtree(path, ignore_errors=True)
        self.directory.mkdir()
        self.endpoint.books.clear()
        self.endpoint._counts.clear()
        self.has_ids = has_ids
        self.ids = itertools.count()
        self.rows: list[Row] = []
        self.system = "s0"
        self.most_wanted: Counter[Prompt] = Counter()  # by how many rows at once, and so how often it may be answered
        self.lost: Counter[Prompt] = Counter()  # open claims at a kill
        self.wanted: dict[Key, set[Prompt]] = {}
        self.asked_since: dict[Key, set[Prompt]] = {}  # since the last whole output, which is counted in
        self.may_keep: set[tuple[Key, Prompt]] = set()
        self.failed_runs: Counter[tuple[Key, Prompt]] = Counter()
        self.shown: dict[Key, Shown] = {}
        self.approved = self.system
        self.is_settled = False  # nothing happened since the last whole output
        self.is_steady = True  # no run since then that did not end in a whole output
        self.cost = self.possibly = Decimal(0)
        self.edit([("append", 0, text) for text in first])

    # ---- changes

    def edit(self, made: list[Edit]) -> None:
        for what, index, text in made:
            at = index % max(1, len(self.rows))
            if what == "append" or not self.rows:
                self._put(len(self.rows), Row(f"r{next(self.ids)}", text))
            elif what == "copy":
                row = self.rows[at]
                self._put(len(self.rows), replace(row, id=f"r{next(self.ids)}") if self.has_ids else row)
            elif what == "text":
                self._put(at, replace(self.rows[at], text=text), instead=True)
            elif what == "carried":
                self._put(at, replace(self.rows[at], note=text), instead=True)
            elif what == "remove":
                del self.rows[at : at + 1 + index % 3]
            else:
                self.rows = [*reversed(self.rows[:at]), *self.rows[at:]]
        self.is_settled = self.is_settled and not made

    @rule(system=st.sampled_from(("s0", "s1", "s2")))
    def change_settings(self, system: str) -> None:
        self.is_settled = self.is_settled and system == self.system
        self.system = system

    @rule(at=indexes, way=st.sampled_from(("flip", "cut", "remove", "garbage")))
    def damage_plan(self, at: int, way: str) -> None:
        plan = self.directory / "checkpoint" / "plan"
        if not plan.exists():
            return
        content = bytearray(plan.read_bytes()) or bytearray(1)
        if way == "remove":
            plan.unlink()
        elif way == "flip":
            content[at % len(content)] ^= 1 << at % 8
            plan.write_bytes(content)
        else:
            plan.write_bytes(content[: at % len(content)] if way == "cut" else b"garbage")

    def _put(self, index: int, row: Row, *, instead: bool = False) -> None:
        """At most one row is doomed: with five of them and nothing else to send, the run would call it an outage."""
        others = self.rows[:index] + self.rows[index + instead :]
        if row.text.startswith("doomed") and any(other.text.startswith("doomed") for other in others):
            row = replace(row, text="good 0")
        self.rows = [*self.rows[:index], row, *self.rows[index + instead :]]

    # ---- runs

    @rule(made=made, on_change=choices)
    def run(self, made: list[Edit], on_change: OnChange) -> None:
        self.edit(made)
        self._run(RunOptions(on_change=on_change))

    @rule(on_change=choices)
    def run_again(self, on_change: OnChange) -> None:
        self._run(RunOptions(on_change=on_change))

    @rule(made=made, on_change=choices, limit=st.integers(0, 3))
    def run_limited(self, made: list[Edit], on_change: OnChange, limit: int) -> None:
        self.edit(made)
        self._run(RunOptions(on_change=on_change, limit=limit))

    @rule(on_change=choices)
    def retry_failed(self, on_change: OnChange) -> None:
        self._run(RunOptions(on_change=on_change, retry=True))

    @rule(made=made, on_change=choices, moments=st.lists(moments, min_size=1, max_size=4))
    def run_and_kill(self, made: list[Edit], on_change: OnChange, moments: list[Moment]) -> None:
        self.edit(made)
        for moment in moments:
            self._run(RunOptions(on_change=on_change), kill_at=moment)

    @rule(made=made, on_change=choices, moment=moments)
    def run_after_kill(self, made: list[Edit], on_change: OnChange, moment: Moment) -> None:
        self.edit(made)
        self._run(RunOptions(on_change=on_change), kill_at=moment)
        self._run(RunOptions(on_change=on_change))

    @invariant()
    def no_answer_is_bought_twice(self) -> None:
        answered = Counter(asked.prompt for asked in self.endpoint.books if asked.is_usable)
        for prompt, count in answered.items():
            assert count <= self.most_wanted[prompt] + self.lost[prompt], f"{prompt} was answered {count} times"

    def _run(self, options: RunOptions, kill_at: Moment | None = None) -> None:
        self._write_input()
        first, output_before = len(self.endpoint.books), self._output_stamp()
        run = Run(_job(self.directory, self.endpoint.address, self.has_ids, self.system), options)
        try:
            if kill_at is None:
                run.execute()
            else:
                with killed_at(kill_at, self.directory, self.aside):
                    run.execute()
        except InvalidInput:
            self.endpoint.settle()
            assert len(self.endpoint.books) == first, "a refused run sent something"
            assert self._output_stamp() == output_before, "a refused run touched the output"
            self._check_refusal(options)
            return
        except Killed:
            self._settle()
            self._note_run(options)
            self._check_repeated_failures(first, options)
            self._check_kill(first)
            self.is_settled = self.is_steady = False
            return
        self._settle()
        assert not self._had_to_refuse(options), "finished rows changed with the settings, and the run did not refuse"
        self._note_run(options)
        self._check_repeated_failures(first, options)
        self._check_money(first, run.summary)
        if run.summary.status == "kept":
            assert not self.rows and len(self.endpoint.books) == first and self._output_stamp() == output_before
        elif run.summary.pending:
            self._check_partial(run.summary, options)
            self.is_settled = self.is_steady = False
        else:
            may_send = options.retry or any(
                shown.error_kind == "server_error" or (shown.is_kept and options.on_change == "rerun")
                for shown in self.shown.values()
            )
            if self.is_settled and not may_send:
                assert len(self.endpoint.books) == first, "a second run sent something"
                assert self._output_stamp() == output_before, "a second run touched the output"
            self._check_whole(run.summary, first, options)
            self.is_settled = self.is_steady = True

    def _settle(self) -> None:
        for thread in threading.enumerate():
            if thread.name == "sender":
                thread.join(10)
        self.endpoint.settle()

    def _write_input(self) -> None:
        with (self.directory / "input.csv").open("w", newline="") as file:
            writer = csv.writer(file, quoting=csv.QUOTE_ALL)
            writer.writerow(("id", "text", "note"))
            writer.writerows((row.id, row.text, row.note) for row in self.rows)

    def _keyed(self) -> list[tuple[Key, Row, Prompt]]:
        """Each row with what it is known by, and what it asks."""
        seen: Counter[Row] = Counter()
        found = []
        for row in self.rows:
            seen[row] += 1
            key = (row.id,) if self.has_ids else (row.id, row.text, row.note, str(seen[row]))
            found.append((key, row, Prompt(self.system, row.text)))
        return found  # type: ignore[return-value]

    def _output_stamp(self) -> tuple[int, int] | None:
        path = self.directory / "output.parquet"
        return (path.stat().st_ino, path.stat().st_mtime_ns) if path.exists() else None

    # ---- what has to hold

    def _note_run(self, options: RunOptions) -> None:
        """A run got past its plan: from now on these rows may have been asked."""
        keyed = self._keyed()
        if options.on_change == "keep":
            self.may_keep |= {(key, prompt) for key, _, prompt in keyed}
        if options.on_change == "rerun":
            self.approved = self.system
        wanted = Counter(prompt for _, _, prompt in keyed)
        if self.may_keep:  # an answer that a row keeps, though it asks something else by now, serves no other row
            now = {key: prompt for key, _, prompt in keyed}
            for key, prompts in self.wanted.items():
                wanted.update(prompt for prompt in prompts if now.get(key) != prompt)
        self.most_wanted |= wanted
        for key, _, prompt in keyed:
            self.wanted.setdefault(key, set()).add(prompt)
            since = self.asked_since.setdefault(key, set())
            since.add(prompt)
            if since != {prompt}:  # another request begins anew
                self.failed_runs.pop((key, prompt), None)

    def _answered(self) -> set[Prompt]:
        return {asked.prompt for asked in self.endpoint.books if asked.is_usable}

    def _had_to_refuse(self, options: RunOptions) -> bool:
        """Whether a row that was shown with an answer would be paid for again because the settings changed."""
        if options.on_change != "refuse" or self.approved == self.system or not self.is_steady:
            return False
        answered = self._answered()
        return any(
            (shown := self.shown.get(key)) is not None
            and shown.response is not None
            and shown.answered.system != self.system
            and prompt.is_answerable
            and prompt not in answered
            and prompt not in self.wanted[key]
            and not any((key, kept) in self.may_keep for kept in self.wanted[key] if kept.system == self.system)
            for key, _, prompt in self._keyed()
        )

    def _check_refusal(self, options: RunOptions) -> None:
        """A refusal has a reason: a finished row asks something else by now, all rows are gone, or without an id some
        that were asked are, and others have come.
        """
        assert options.on_change == "refuse"
        answered = self._answered()
        keys = {key for key, _, _ in self._keyed()}
        is_replaced = not self.has_ids and bool(self.wanted.keys() - keys) and bool(answered)
        assert (
            is_replaced
            or (not self.rows and answered)
            or any(
                prompt != other for key, _, prompt in self._keyed() for other in self.wanted.get(key, set()) & answered
            )
        )

    def _check_repeated_failures(self, first: int, options: RunOptions) -> None:
        """What failed for good, or in too many runs, is not asked again but by `retry-failed`."""
        asked = Counter(one.prompt for one in self.endpoint.books[first:])
        assert not any(prompt.kind == "" for prompt in asked), "an empty prompt was sent"
        if options.retry:
            return
        may_ask: Counter[Prompt] = Counter()
        for key, _, prompt in self._keyed():
            shown = self.shown.get(key)
            is_same = shown is not None and shown.status == "failed" and self.asked_since[key] == {prompt}
            if prompt.kind == "refused":
                may_ask[prompt] += not is_same
            elif prompt.kind == "doomed":
                may_ask[prompt] += not is_same or self.failed_runs[key, prompt] <= MAX_RUNS
        for prompt, count in asked.items():
            if prompt.kind == "refused":
                assert count <= may_ask[prompt], f"{prompt} was refused before and was asked again"
            elif prompt.kind == "doomed":
                assert may_ask[prompt], f"{prompt} failed in too many runs and was asked again"

    def _check_kill(self, first: int) -> None:
        """The slots in flight are all that a kill can cost."""
        checkpoint = self.directory / "checkpoint"
        asked = self.endpoint.books[first:]
        if not Journal.exists(checkpoint):
            assert not asked
            return
        shutil.copytree(checkpoint, self.aside)
        journal = Journal.read(self.aside)
        try:
            claims, totals = journal.claims(), journal.totals
        finally:
            journal.close()
            shutil.rmtree(self.aside)
        assert len(claims) <= CONCURRENCY
        by_hash = {prompt.hash: prompt for _, _, prompt in self._keyed()}
        by_hash |= {prompt.hash: prompt for prompts in self.wanted.values() for prompt in prompts}
        worst = sum((Decimal(claim.worst_cost or 0) for claim in claims), Decimal(0))
        cost, possibly = totals.cost_usd, totals.possibly_billed_usd + worst
        known = sum((one.billed for one in asked if one.is_known), Decimal(0))
        billed = sum((one.billed for one in asked), Decimal(0))
        assert cost - self.cost <= known
        assert cost + possibly - self.cost - self.possibly >= billed
        if not claims or claims[0].plan == totals.plan:
            self.lost.update(by_hash[claim.request_hash] for claim in claims)
        self.cost, self.possibly = cost, possibly

    def _check_money(self, first: int, summary: Summary) -> None:
        asked = self.endpoint.books[first:]
        assert summary.job_cost_usd is not None
        assert summary.possibly_billed_usd is not None
        assert summary.requests == len(asked)
        assert summary.job_cost_usd == self.cost + sum((one.billed for one in asked if one.is_known), Decimal(0))
        unknown = sum((one.billed for one in asked if not one.is_known), Decimal(0))
        assert summary.possibly_billed_usd >= self.possibly + unknown
        assert (summary.possibly_billed_usd > self.possibly) == bool(unknown)
        self.cost, self.possibly = summary.job_cost_usd, summary.possibly_billed_usd

    def _check_partial(self, summary: Summary, options: RunOptions) -> None:
        assert (options.limit is not None or options.retry) and summary.pending
        assert summary.exit_code in (0, 3)
        found = pq.read_table(self.directory / "output.partial.parquet").to_pylist()
        assert len(found) == summary.rows - summary.pending if summary.rows else not found
        positions = iter(self._keyed())
        for line in found:
            for key, row, prompt in positions:
                if (row.id, row.text, row.note) == (line["id"], line["text"], line["note"]):
                    self._check_line(line, key, row, prompt)
                    break
            else:
                raise AssertionError("the partial output has rows that are not the input's, or in another order")

    def _check_whole(self, summary: Summary, first: int, options: RunOptions) -> None:
        found = pq.read_table(self.directory / "output.parquet").to_pylist()
        assert not (self.directory / "output.partial.parquet").exists()
        assert not list(self.directory.glob(".*.writing"))
        keyed = self._keyed()
        assert len(found) == len(keyed) == summary.rows
        assert len({line["row_id"] for line in found}) == len(found)
        responses = [line["response"] for line in found if line["response"] is not None]
        assert len(set(responses)) == len(responses), "one answer stands in two rows"
        failed = [line for line in found if line["status"] == "failed"]
        assert (summary.failed, summary.exit_code) == (len(failed), 3 if failed else 0)
        asked = {one.prompt for one in self.endpoint.books[first:]}
        shown = {}
        for (key, row, prompt), line in zip(keyed, found, strict=True):
            shown[key] = self._check_line(line, key, row, prompt)
            assert not (shown[key].is_kept and options.on_change == "rerun"), "a rerun left an old answer"
            before = self.shown.get(key)
            if before is None or not self.is_steady or (before.is_kept and options.on_change == "rerun"):
                pass  # a new row, one that other runs had to do with, or one whose kept answer is given up
            elif before.prompt == prompt and before.status == "succeeded":
                assert line["response"] == before.response, "an acknowledged answer was replaced"
            if line["status"] == "failed" and prompt.kind == "doomed" and prompt in asked:
                self.failed_runs[key, prompt] += 1
        self.shown = shown
        self.asked_since = {key: {prompt} for key, _, prompt in keyed}

    def _check_line(self, line: dict[str, Any], key: Key, row: Row, prompt: Prompt) -> Shown:
        assert (line["id"], line["text"], line["note"]) == (row.id, row.text, row.note)
        if self.has_ids:
            assert line["row_id"] == row.id
        if line["status"] == "succeeded":
            system, text, _ = line["response"].split("|")
            asked = Prompt(system, text)
            assert asked == prompt or self._may_be_kept(asked, key, prompt)
            assert line["request_hash"] == asked.hash
            assert (line["cost_usd"] is None) == (asked.kind == "unpriced")
        else:
            kinds = {"": "empty_prompt", "refused": "bad_request", "doomed": "server_error"}
            assert line["error_kind"] == kinds.get(prompt.kind), "a row failed that has an answer"
            assert line["response"] is None
        return Shown(prompt, line["status"], line["response"], line["error_kind"])

    def _may_be_kept(self, asked: Prompt, key: Key, prompt: Prompt) -> bool:
        """Whether the user said to keep this answer: for this row, or, where only the settings had changed, for a row
        that asked the same and is gone, so that its answer went to this one.
        """
        if (key, prompt) in self.may_keep and asked in self.wanted[key]:
            return True
        return asked.text == prompt.text and any(
            kept == prompt and asked in self.wanted[row] for row, kept in self.may_keep
        )


@cache
def _job(directory: Path, address: str, has_ids: bool, system: str) -> Job:
    file = directory.parent / f"{has_ids}-{system}.yaml"
    file.write_text(f"""
name: runs
input: {{path: {directory}/input.csv{", id: id" if has_ids else ""}}}
prompt: {{system: "{system}", user: "{{{{ text }}}}"}}
endpoint: {{url: "{address}", model: {MODEL}, api_key_env: null}}
parameters: {{max_tokens: {MAX_TOKENS}}}
pricing: {{input_usd_per_million: {INPUT_PRICE}, output_usd_per_million: {OUTPUT_PRICE}}}
limits: {{concurrency: {CONCURRENCY}}}
retry: {{max_attempts: {MAX_ATTEMPTS}, initial_seconds: 0.001, max_seconds: 0.002, max_runs: {MAX_RUNS}}}
checkpoint: {{path: {directory}/checkpoint}}
output: {{path: {directory}/output.parquet}}
""")
    return load_job(file)


_MEMORY = Path("/dev/shm")  # a kill loses nothing that was written, so no disk is needed
PROFILES = {"short": (35, 12), "long": (1000, 30)}


@pytest.mark.timeout(3600)  # a failure takes minutes to shrink
def test_any_order_of_runs_kills_and_changes_keeps_every_promise() -> None:
    examples, steps = PROFILES["long" if os.environ.get("HYPOTHESIS_PROFILE") == "long" else "short"]
    with Endpoint() as endpoint, tempfile.TemporaryDirectory(dir=_MEMORY if _MEMORY.is_dir() else None) as home:
        threading.Thread(target=endpoint.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        machine = type("BoundRuns", (Runs,), {"endpoint": endpoint, "home": Path(home)})
        try:
            run_state_machine_as_test(
                machine,
                settings=settings(
                    max_examples=examples, stateful_step_count=steps, suppress_health_check=list(HealthCheck)
                ),
            )
        finally:
            endpoint.shutdown()
