"""CONTRACT section 1, `recover`, and section 4, promise 10: what is whole comes back, and is never asked for again."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sqlite3
import warnings
from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from pipeline.app.jobs.job import load_job
from pipeline.app.running.options import RunOptions
from pipeline.app.running.run import Run
from pipeline.app.use_cases import forecast
from pipeline.app.use_cases.recover import Recovery, recover
from pipeline.errors import CheckpointFailed, PipelineError
from pipeline.journal import JobLock, Journal, replacement
from tests.functional.conftest import (
    COST,
    KEY,
    KEY_VARIABLE,
    USUAL_USAGE,
    Asked,
    Endpoint,
    Reply,
    Workspace,
    answer,
    ended,
    refusal,
    usual,
)

ANSWERED = ("0", "1", "2", "3", "twice")
ROWS = (*ANSWERED, "bad")
ASKED = len(ROWS) + 1
CHECKPOINT = Path(".checkpoints/job")
JOURNAL, LOG, COUNT = "journal.sqlite", "journal.sqlite-wal", "acknowledged"
Damage = Callable[[Path], object]


def with_trouble(endpoint: Endpoint) -> Callable[[Asked], Reply]:
    """One row that is answered at the second time, and one that is refused for good."""

    def reply(asked: Asked) -> Reply:
        if asked.prompt == "bad":
            return refusal(400, 5006)
        if asked.prompt == "twice" and endpoint.prompts.count("twice") == 1:
            return refusal(503)
        return usual(asked)

    return reply


@pytest.fixture
def at(ws: Workspace, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """The workspace as this process's own place: the commands' functions are called in it, for a process of each would
    take most of the time.
    """
    monkeypatch.chdir(ws.path)
    monkeypatch.setenv(KEY_VARIABLE, KEY)
    return ws


def run(**options: Any) -> dict[str, Any]:
    started = Run(load_job("job.yaml"), RunOptions(**options))
    return {**started.execute().as_json(), "code": started.summary.exit_code}


def made_sound() -> Recovery:
    return recover(load_job("job.yaml"))


def files(directory: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes()
        for path in directory.iterdir()
        if path.is_file() and path.name != "lock" and not path.name.endswith("-shm")
    }


def expect_refusal(endpoint: Endpoint) -> str:
    """Exit 6 at every run, with the remedy, nothing changed and nothing sent."""
    before, asked = files(CHECKPOINT) if CHECKPOINT.exists() else {}, len(endpoint.asked)
    for options in ({}, {"retry": True}):
        with pytest.raises(CheckpointFailed, match="`pipeline recover job") as refused:
            run(**options)
        assert refused.value.exit_code == 6
    assert (files(CHECKPOINT) if CHECKPOINT.exists() else {}) == before
    assert len(endpoint.asked) == asked
    return str(refused.value)


def damage(name: str, change: Callable[[bytes], bytes]) -> Damage:
    return lambda checkpoint: (checkpoint / name).write_bytes(change((checkpoint / name).read_bytes()))


def without(*names: str) -> Damage:
    def harm(checkpoint: Path) -> None:
        for name in names:
            (checkpoint / name).unlink()

    return harm


def flip(content: bytes, at: int) -> bytes:
    changed = bytearray(content)
    changed[at] ^= 4
    return bytes(changed)


def shortened(checkpoint: Path) -> None:
    with closing(sqlite3.connect(checkpoint / JOURNAL)) as connection:
        connection.execute("DELETE FROM events WHERE seq = (SELECT max(seq) FROM events)")
        connection.commit()


DAMAGES: dict[str, Damage] = {
    "the whole checkpoint deleted": shutil.rmtree,
    "the journal deleted": without(JOURNAL),
    "all but the plan and the progress deleted": without(JOURNAL, COUNT),
    "the journal empty": damage(JOURNAL, lambda _: b""),
    "the journal garbage": damage(JOURNAL, lambda content: b"no journal at all\n" * 2000),
    "cut within the header": damage(JOURNAL, lambda content: content[:50]),
    "cut within the events": damage(JOURNAL, lambda content: content[: 2 * 8192 + 5000]),
    "a bit of an answer flipped": damage(JOURNAL, lambda content: flip(content, content.index(b"answer to 2"))),
    "a bit of an event's number flipped": damage(JOURNAL, lambda content: flip(content, content.index(b"\n{") - 100)),
    "a bit of the header flipped": damage(JOURNAL, lambda content: flip(content, 18)),
    "a bit of the schema flipped": damage(JOURNAL, lambda content: flip(content, content.index(b"events"))),
    "a bit of the totals flipped": damage(JOURNAL, lambda content: flip(content, content.index(b"totals") + 8)),
    "a page's head zeros": damage(JOURNAL, lambda content: content[: 2 * 8192] + bytes(100) + content[16484:]),
    "the page of named values lost": damage(JOURNAL, lambda content: content[:8192] + bytes(8192) + content[16384:]),
    "the last event gone": shortened,
    "the count deleted": without(COUNT),
    "the count garbage": damage(COUNT, lambda content: b"7\n"),
    "the count ahead": damage(COUNT, lambda content: b"%020d %020d\n" % (99, 10**20 - 100)),
}
OF_THE_DATABASE = [
    name for name in DAMAGES if "deleted" not in name and "empty" not in name and name != "the journal garbage"
]


@pytest.fixture
def finished(at: Workspace, endpoint: Endpoint) -> Workspace:
    """A job that ran to its end: five answers, one failure, seven requests."""
    at.questions(*ROWS)
    at.job()
    endpoint.reply = with_trouble(endpoint)
    assert run()["code"] == 3
    assert len(endpoint.asked) == ASKED
    return at


@pytest.mark.parametrize("name", DAMAGES)
def test_with_its_output_a_checkpoint_comes_back_whole_whatever_happened_to_it(
    finished: Workspace, endpoint: Endpoint, name: str
) -> None:
    rows = finished.rows()
    DAMAGES[name](CHECKPOINT)
    damaged = files(CHECKPOINT) if CHECKPOINT.exists() else {}
    expect_refusal(endpoint)
    found = made_sound()
    assert (found.answers, found.was_sound) == (len(ANSWERED), False)
    # What is known only by the count of commits counts as one record.
    assert found.lost == (1 if name == "the count ahead" else 0)
    assert found.kept_at is None if not damaged else files(Path(found.kept_at or "")) == damaged
    summary = run()
    assert (summary["code"], summary["succeeded"], summary["failed"], summary["requests"]) == (3, 5, 1, 0)
    assert Decimal(summary["job_cost_usd"]) == 5 * Decimal(COST)
    assert len(endpoint.asked) == ASKED
    assert finished.rows() == rows
    again = made_sound()
    assert (again.was_sound, again.answers, again.lost, again.kept_at) == (True, len(ANSWERED), 0, None)


@pytest.mark.parametrize("name", OF_THE_DATABASE)
def test_without_any_output_what_is_whole_in_the_journal_comes_back_and_only_the_rest_is_asked_again(
    finished: Workspace, endpoint: Endpoint, name: str
) -> None:
    rows = finished.rows()
    Path("out.parquet").unlink()
    DAMAGES[name](CHECKPOINT)
    expect_refusal(endpoint)
    found = made_sound()
    endpoint.forget()
    summary = run()
    assert found.answers + found.lost >= len(ANSWERED)
    asked_again = [prompt for prompt in endpoint.prompts if prompt in ANSWERED]
    assert len(set(asked_again)) == len(ANSWERED) - found.answers
    assert (summary["succeeded"], summary["failed"]) == (5, 1)
    assert Decimal(summary["job_cost_usd"]) >= 5 * Decimal(COST)
    same = ("question", "row_id", "status", "response", "model", "request_hash", "cost_usd")
    assert [[row[name] for name in same] for row in finished.rows()] == [[row[name] for name in same] for row in rows]
    if name in ("a bit of an answer flipped", "the last event gone"):
        assert len(set(asked_again)) == 1
        assert found.lost == 1
        assert Decimal(summary["job_cost_usd"]) == 6 * Decimal(COST), "the lost answer was billed too"
    elif name.startswith("the count") or ("header" in name and "cut" not in name):
        assert not asked_again


def test_without_journal_and_output_the_progress_still_shows_that_there_was_one(
    finished: Workspace, endpoint: Endpoint
) -> None:
    Path("out.parquet").unlink()
    without(JOURNAL, COUNT)(CHECKPOINT)
    expect_refusal(endpoint)
    found = made_sound()
    assert (found.answers, found.others, found.lost) == (0, 0, ASKED)
    endpoint.forget()
    assert run()["succeeded"] == 5
    assert {asked.prompt for asked in endpoint.asked} == set(ROWS)


@pytest.mark.parametrize(
    "harm",
    [
        damage("plan", lambda _: b"garbage"),
        without("plan"),
        damage("progress.json", lambda _: b"garbage"),
        without("progress.json"),
        damage(JOURNAL, lambda content: content[:-1]),
    ],
    ids=["plan garbage", "plan deleted", "progress garbage", "progress deleted", "an unused byte cut off"],
)
def test_where_nothing_is_lost_a_run_goes_on(finished: Workspace, endpoint: Endpoint, harm: Damage) -> None:
    harm(CHECKPOINT)
    assert made_sound().was_sound
    assert run()["requests"] == 0
    assert len(endpoint.asked) == ASKED


def test_the_command_says_what_came_back_and_what_is_lost(ws: Workspace, endpoint: Endpoint) -> None:
    ws.questions(*range(6))
    ws.job()
    ws.run()
    assert ws.command("recover") == {"recovered": 6, "lost": 0, "kept_at": None}
    assert ws.pipeline("recover", "job.yaml").out.count("sound") == 1
    journal = ws.path / CHECKPOINT / JOURNAL
    content = journal.read_bytes()
    journal.write_bytes(flip(content, content.index(b"answer to 3")))
    (ws.path / "out.parquet").unlink()
    refused = ws.run(code=6)["error"]
    assert refused["kind"] == "checkpoint_failed"
    assert "`pipeline recover job.yaml`" in refused["message"]
    found = ws.command("recover", "--set", "limits.concurrency=1")
    assert found.keys() == {"recovered", "lost", "kept_at"}
    assert (found["recovered"], found["lost"]) == (5, 1)
    assert (ws.path / found["kept_at"] / JOURNAL).read_bytes()[:100] == content[:100]
    endpoint.forget()
    assert ws.run()["requests"] == 1
    assert endpoint.prompts == ["3"]
    journal.write_bytes(flip(journal.read_bytes(), 19))
    shown = ws.pipeline("recover", "job.yaml")
    assert (shown.code, shown.err) == (0, "")
    assert "recovered  6 answers" in shown.out
    assert "pipeline run job.yaml" in shown.out


def killed_half_way(ws: Workspace, endpoint: Endpoint) -> None:
    """Four answers are acknowledged, and four requests are under way at the kill."""
    ws.questions(*range(12))
    ws.job(limits={"concurrency": 4})

    def reply(asked: Asked) -> Reply:
        is_late = endpoint.asked.index(asked) >= 4
        return answer(f"answer to {asked.prompt}", wait=20.0 if is_late else 0.0)

    endpoint.reply = reply
    with ws.running() as process:
        endpoint.wait_for(8)
        process.send_signal(signal.SIGKILL)
        ended(process)
    endpoint.reply = usual
    assert (ws.path / CHECKPOINT / LOG).stat().st_size


def test_after_a_kill_the_answers_and_the_open_claims_come_out_of_a_broken_log(
    at: Workspace, endpoint: Endpoint
) -> None:
    killed_half_way(at, endpoint)
    damage(LOG, lambda content: flip(content, 40))(CHECKPOINT)
    expect_refusal(endpoint)
    found = made_sound()
    assert (found.answers, found.lost) == (4, 0)
    first = set(endpoint.prompts[:4])
    endpoint.forget()
    summary = run()
    assert summary["succeeded"] == 12
    assert not set(endpoint.prompts) & first
    assert len(endpoint.asked) == 8
    assert Decimal(summary["job_cost_usd"]) == 12 * Decimal(COST)
    # The worst case of the four that were under way: some prompt and 100 tokens of an answer.
    assert 4 * 100 * Decimal("0.34") / 10**6 < Decimal(summary["possibly_billed_usd"]) < Decimal("0.001")


def test_with_the_log_gone_what_it_held_is_asked_again_and_said_to_be_lost(at: Workspace, endpoint: Endpoint) -> None:
    killed_half_way(at, endpoint)
    without(LOG)(CHECKPOINT)
    expect_refusal(endpoint)
    found = made_sound()
    assert found.answers == 0
    assert found.lost >= 1
    assert run()["succeeded"] == 12


def test_an_older_copy_of_the_checkpoint_is_recognised_by_the_output_and_made_good_from_it(
    at: Workspace, endpoint: Endpoint
) -> None:
    at.questions(*range(6))
    at.job()
    run(limit=2)
    shutil.copytree(CHECKPOINT, "backup")
    run()
    shutil.rmtree(CHECKPOINT)
    shutil.copytree("backup", CHECKPOINT)
    endpoint.forget()
    for overwrite in (False, True):
        at.job(output={"overwrite": overwrite})
        assert "older copy" in expect_refusal(endpoint)
    found = made_sound()
    assert (found.answers, found.lost) == (6, 0)
    summary = run()
    assert summary["succeeded"] == 6
    assert Decimal(summary["job_cost_usd"]) == 6 * Decimal(COST)
    assert not endpoint.asked


@pytest.mark.parametrize("has_id", [True, False])
def test_an_output_with_a_prefix_and_some_columns_is_enough(at: Workspace, endpoint: Endpoint, has_id: bool) -> None:
    at.given([["k1", "a", "x"], ["k2", "b", "y"], ["k3", "a", "x"]], ["key", "question", "note"])
    if not has_id:
        at.given([["k", "a", "x"], ["k", "b", "y"], ["k", "a", "x"]], ["key", "question", "note"])
    at.job(input={"columns": ["note"], **({"id": "key"} if has_id else {})}, output={"prefix": "out_"})
    run()
    rows = at.rows()
    shutil.rmtree(CHECKPOINT)
    expect_refusal(endpoint)
    assert made_sound().answers == 3
    assert run()["requests"] == 0
    assert len(endpoint.asked) == 3
    assert at.rows() == rows
    # Changed settings are still seen as such, though those of the recovered answers are not known.
    at.job(
        input={"columns": ["note"], **({"id": "key"} if has_id else {})},
        output={"prefix": "out_"},
        parameters={"max_tokens": 50},
    )
    if has_id:
        with pytest.raises(PipelineError, match="3 finished rows would be sent again"):
            run()


def test_a_partial_output_is_enough_and_a_damaged_one_gives_no_wrong_answer(at: Workspace, endpoint: Endpoint) -> None:
    at.questions(*(f"{number} {'x' * 50}" for number in range(6)))
    at.job(output={"compression": "none"})
    run(limit=4)
    shutil.rmtree(CHECKPOINT)
    partial = Path("out.partial.parquet")
    content = partial.read_bytes()
    expect_refusal(endpoint)
    partial.write_bytes(flip(content, content.index(b"answer to 2")))
    assert made_sound().answers == 0
    shutil.rmtree(CHECKPOINT)
    partial.write_bytes(content)
    assert made_sound().answers == 4
    endpoint.forget()
    assert run()["succeeded"] == 6
    assert len(endpoint.asked) == 2


def test_an_answer_that_was_taken_over_is_not_doubled(at: Workspace, endpoint: Endpoint) -> None:
    at.given([["1", "a"], ["2", "b"]], ["key", "question"])
    at.job(input={"id": "key"})
    run()
    at.given([["8", "a"], ["9", "b"]], ["key", "question"])
    assert run()["requests"] == 0
    damage(JOURNAL, lambda content: flip(content, content.index(b"answer to b")))(CHECKPOINT)
    found = made_sound()
    assert (found.answers, found.lost) == (2, 1), "the event that took the damaged answer over names nothing any more"
    assert run()["requests"] == 0
    assert len(endpoint.asked) == 2
    assert [row["response"] for row in at.rows()] == ["answer to a", "answer to b"]


def test_a_failure_that_is_lost_comes_back_from_the_output_as_the_latest_of_its_row(
    at: Workspace, endpoint: Endpoint
) -> None:
    at.questions("a", "b", "out of order")
    at.job(retry={"max_attempts": 2, "max_runs": 0})
    endpoint.reply = lambda asked: refusal(500) if asked.prompt == "out of order" else usual(asked)
    assert run()["failed"] == 1
    damage(JOURNAL, lambda content: flip(content, content.rindex(b'"failed_runs":1')))(CHECKPOINT)
    assert (made_sound().lost, len(endpoint.asked)) == (0, 4)
    summary = run()
    assert (summary["failed"], summary["requests"]) == (1, 0)


def test_an_output_that_is_older_than_the_journal_overrides_nothing_in_it(at: Workspace, endpoint: Endpoint) -> None:
    at.questions("a")
    at.job()
    run()
    shutil.copy("out.parquet", "older.parquet")
    at.job(parameters={"max_tokens": 50})
    endpoint.reply = lambda asked: refusal(400, 5006)
    assert run(on_change="rerun")["failed"] == 1
    Path("older.parquet").replace("out.parquet")
    damage(JOURNAL, lambda content: flip(content, content.index(b"answer to a")))(CHECKPOINT)
    assert made_sound().answers == 1
    summary = run()
    assert (summary["failed"], summary["requests"]) == (1, 0)


def test_requests_that_may_have_been_billed_come_back_from_the_output(at: Workspace, endpoint: Endpoint) -> None:
    at.questions("a", "b")
    at.job()
    endpoint.reply = lambda asked: answer(
        f"answer to {asked.prompt}", usage=None if asked.prompt == "a" else USUAL_USAGE
    )
    before = run()
    assert before["possibly_billed_requests"] == 1
    shutil.rmtree(CHECKPOINT)
    assert made_sound().answers == 2
    after = run()
    figures = ("possibly_billed_requests", "possibly_billed_usd", "requests")
    assert [after[name] for name in figures] == [1, before["possibly_billed_usd"], 0]


def test_rows_none_of_whose_answers_was_valid_stay_failed(at: Workspace, endpoint: Endpoint) -> None:
    at.questions("a", "b")
    at.job(expect={"choices": ["answer to a"], "send": "none", "attempts": 2})
    assert run()["failures"] == {"invalid_answer": 1}
    shutil.rmtree(CHECKPOINT)
    made_sound()
    endpoint.forget()
    assert run()["failures"] == {"invalid_answer": 1}
    at.job(expect={"choices": ["answer to b"], "send": "none", "attempts": 2})
    assert forecast.row_counts(load_job("job.yaml")).to_retry == 0
    assert not endpoint.asked


def test_what_is_not_the_jobs_own_output_is_nothing_to_recover_from(at: Workspace, endpoint: Endpoint) -> None:
    at.questions("a")
    at.job()
    run()
    at.job(name="other")
    with pytest.raises(PipelineError, match="nothing to recover") as refused:
        made_sound()
    assert refused.value.exit_code == 2
    assert not Path(".checkpoints/other").exists()
    at.job(name="other", checkpoint={"path": str(CHECKPOINT)})
    damage(JOURNAL, lambda content: flip(content, 18))(CHECKPOINT)
    before = files(CHECKPOINT)
    with pytest.raises(PipelineError, match="belongs to the job 'job'") as refused:
        made_sound()
    assert refused.value.exit_code == 2
    assert files(CHECKPOINT) == before


@pytest.mark.parametrize("harm", [without(COUNT), damage(JOURNAL, lambda content: content[:10_000])])
def test_a_newer_journal_is_left_to_the_newer_program(finished: Workspace, endpoint: Endpoint, harm: Damage) -> None:
    with closing(sqlite3.connect(CHECKPOINT / JOURNAL)) as connection:
        connection.execute("PRAGMA user_version = 2")
    harm(CHECKPOINT)
    before = files(CHECKPOINT)
    with pytest.raises(CheckpointFailed, match="use the newer one"):
        made_sound()
    assert files(CHECKPOINT) == before


def test_while_a_run_is_under_way_nothing_is_touched(finished: Workspace) -> None:
    without(COUNT)(CHECKPOINT)
    before = files(CHECKPOINT)
    with JobLock(CHECKPOINT), pytest.raises(PipelineError) as refused:
        made_sound()
    assert refused.value.exit_code == 75
    assert files(CHECKPOINT) == before


def test_a_second_damage_is_recovered_from_too(finished: Workspace, endpoint: Endpoint) -> None:
    kept = set()
    for _ in range(3):
        damage(JOURNAL, lambda content: flip(content, content.rindex(b"answer to ")))(CHECKPOINT)
        found = made_sound()
        assert (found.answers, found.lost) == (5, 0)
        kept.add(found.kept_at)
    assert len(kept) == 3
    assert run()["requests"] == 0


def test_what_was_said_to_be_lost_once_is_not_lost_again(at: Workspace, endpoint: Endpoint) -> None:
    at.questions("a", "b", "orphaned")
    at.job()
    run()
    at.questions("a", "b")
    assert run()["rows"] == 2
    damage(JOURNAL, lambda content: flip(content, content.index(b"answer to orphaned")))(CHECKPOINT)
    found = made_sound()
    assert (found.answers, found.lost) == (2, 1)
    without(COUNT)(CHECKPOINT)
    found = made_sound()
    assert (found.answers, found.lost) == (2, 0)


# ---- killed at any step

STEPS = ("fsync", "link", "mkdir", "rename", "rmdir", "unlink")


def killed_at_step(number: int) -> bool:
    """Recover in a process that dies before its step `number`; whether it came to its end before that."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # forking beside threads; the child only exits
        child = os.fork()
    if child:
        return os.waitpid(child, 0)[1] == 0
    left = number

    def counted(step: Callable[..., Any]) -> Callable[..., Any]:
        def take(*arguments: Any, **options: Any) -> Any:
            nonlocal left
            left -= 1
            if left < 0:
                os.kill(os.getpid(), signal.SIGKILL)
            return step(*arguments, **options)

        return take

    for name in STEPS:
        setattr(os, name, counted(getattr(os, name)))
    try:
        made_sound()
        os._exit(0)
    finally:
        os._exit(1)


def test_killed_at_any_step_it_is_still_refused_or_recovered_and_the_next_try_gets_there(
    at: Workspace, endpoint: Endpoint
) -> None:
    at.questions(*range(6))
    at.job()
    run()
    damage(JOURNAL, lambda content: flip(content, content.index(b"answer to 3")))(CHECKPOINT)
    Path("out.parquet").unlink()
    damaged = files(CHECKPOINT)
    shutil.copytree(".checkpoints", "original")
    seen = set()
    for step in range(200):
        shutil.rmtree(".checkpoints")
        shutil.copytree("original", ".checkpoints")
        is_done = killed_at_step(step)
        kept = [path for path in Path(".checkpoints").iterdir() if ".damaged-" in path.name]
        assert damaged in [files(CHECKPOINT), *map(files, kept)]
        assert Journal.exists(CHECKPOINT)
        try:
            Run(load_job("job.yaml"), RunOptions(limit=0)).execute()
            state = "recovered"
        except CheckpointFailed as error:
            state = "cut off" if "cut off" in str(error) else "damaged"
            assert error.exit_code == 6
        seen.add(state)
        found = made_sound()
        assert (found.answers, found.was_sound) == (5, state == "recovered")
        assert found.was_sound or (found.lost, Path(found.kept_at or "").parent) == (1, Path(".checkpoints"))
        (kept_at,) = (path for path in Path(".checkpoints").iterdir() if path != CHECKPOINT)
        assert files(kept_at) == damaged
        assert {path.name for path in CHECKPOINT.iterdir()} <= {
            JOURNAL,
            COUNT,
            "lock",
            "plan",
            "progress.json",
            "recovery.done",
        }
        if is_done:
            assert seen == {"damaged", "cut off", "recovered"}
            break
    else:
        pytest.fail("the recovery does not come to an end")
    Path("out.partial.parquet").unlink(missing_ok=True)
    endpoint.forget()
    assert run()["succeeded"] == 6
    assert endpoint.prompts == ["3"]


def test_a_recovery_out_of_the_output_alone_that_was_cut_off_is_never_begun_anew_by_a_run(
    at: Workspace, endpoint: Endpoint
) -> None:
    at.questions("a", "b")
    at.job(output={"overwrite": True})
    run()
    cut_off = 0
    for step in range(200):
        shutil.rmtree(CHECKPOINT, ignore_errors=True)
        is_done = killed_at_step(step)
        if replacement.is_under_way(CHECKPOINT):
            cut_off += 1
            expect_refusal(endpoint)
        if is_done:
            break
    assert cut_off > 2
    assert run()["requests"] == 0


def test_on_a_full_disk_the_damaged_checkpoint_stays_as_it_is(finished: Workspace, endpoint: Endpoint) -> None:
    without(COUNT)(CHECKPOINT)
    before, limits = files(CHECKPOINT), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with pytest.raises(CheckpointFailed, match="the recovery failed") as refused:
            made_sound()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert refused.value.exit_code == 6
    assert files(CHECKPOINT) == before
    assert {path.name for path in CHECKPOINT.iterdir() if path.is_dir()} == set()
    expect_refusal(endpoint)
    assert made_sound().answers == len(ANSWERED)


def test_where_files_cannot_have_two_names_the_damaged_ones_are_copied(
    finished: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "no links here")

    monkeypatch.setattr(os, "link", refuse)
    damage(COUNT, lambda _: b"7\n")(CHECKPOINT)
    damaged = files(CHECKPOINT)
    kept_at = Path(made_sound().kept_at or "")
    assert files(kept_at) == damaged
    assert kept_at.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in kept_at.iterdir()} == {0o600}


def test_the_command_that_recovers_names_the_job_and_its_flags_in_every_command(
    ws: Workspace, endpoint: Endpoint
) -> None:
    ws.questions("a")
    ws.job()
    ws.run()
    shutil.rmtree(ws.path / ".checkpoints")
    for command in ("validate", "run"):
        refused = ws.pipeline(command, "job.yaml", "--set", "limits.concurrency=3")
        assert refused.code == 6 and "`pipeline recover job.yaml --set limits.concurrency=3`" in refused.err
