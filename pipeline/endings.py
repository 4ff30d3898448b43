"""How a command can end: its exit codes, and the stable words of `error.kind`. Docs and help are made of them."""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Self


class Exit(IntEnum):
    """The exit codes. `meaning` says what happened, `remedy` what to do about it."""

    meaning: str
    remedy: str

    def __new__(cls, code: int, meaning: str, remedy: str) -> Self:
        """Make a code with its two texts."""
        member = int.__new__(cls, code)
        member._value_ = code
        member.meaning, member.remedy = meaning, remedy
        return member

    DONE = (0, "every row has an answer", "nothing")
    FAULT = (1, "a fault of the program", "run it again; if it happens again, report it with its traceback")
    INVALID = (
        2,
        "the job, its input or a flag is wrong; nothing was sent",
        "fix what the message names, and check it with `pipeline validate`",
    )
    ROWS_FAILED = (
        3,
        "finished; some rows failed",
        "the output says which and why; run it again, fix the rows, or accept the failures",
    )
    LIMIT = (4, "stopped at a cost cap or the deadline", "run it again; after `max_cost_usd`, raise it first")
    REFUSED = (
        5,
        "the endpoint refuses the job (credentials, payment, model, quota, outage)",
        "fix the cause, then run it again",
    )
    CHECKPOINT = (6, "the disk or the checkpoint failed; what was acknowledged is safe", "do what the message says")
    WAITING = (
        7,
        "`--no-wait`: rows are waiting in a provider's batch",
        "run it again to collect them",
    )
    LOCKED = (75, "another run of this job is under way; nothing was touched", "nothing")
    SIGNAL = (
        128,
        "stopped by a signal (hangup, Ctrl-C, TERM); what was acknowledged is saved",
        "run it again to continue",
    )
    """The base: the command ends with 128 plus the number of the signal."""

    @property
    def codes(self) -> str:
        """The codes that a command ends with, as text: one, but for signals."""
        return "129, 130, 143" if self is Exit.SIGNAL else str(int(self))


class StopKind(StrEnum):
    """The words of `error.kind`: why a command ended before its work did.

    `exit` is its exit code, `meaning` what happened, and `remedy` when to run it again, or what to do
    before; empty where it may be run again at once.
    """

    exit: Exit
    meaning: str
    remedy: str

    def __new__(cls, word: str, exit: Exit, meaning: str, remedy: str) -> Self:
        """Make a word with its exit code and its two texts."""
        member = str.__new__(cls, word)
        member._value_ = word
        member.exit, member.meaning, member.remedy = exit, meaning, remedy
        return member

    # The endpoint refuses the job. The first seven are also an ErrorKind, of the request that was refused.
    BAD_CREDENTIALS = ("bad_credentials", Exit.REFUSED, "401, or code 10000", "first set a valid key")
    NOT_ALLOWED = (
        "not_allowed",
        Exit.REFUSED,
        "403 before any answer in this run, or five in a row: blocked, or terms not accepted",
        "first see what the account lacks",
    )
    PAYMENT_REQUIRED = ("payment_required", Exit.REFUSED, "402", "first pay, or raise the account's limit")
    MODEL_NOT_FOUND = (
        "model_not_found",
        Exit.REFUSED,
        "404 before any answer in this run, or five in a row: no such model or address",
        "first correct endpoint.model or endpoint.url",
    )
    DAILY_QUOTA = (
        "daily_quota",
        Exit.REFUSED,
        "the daily allocation is used up; it is filled up at 00:00 UTC",
        "once the quota is filled up again",
    )
    REDIRECTED = ("redirected", Exit.REFUSED, "a redirect, which is never followed", "first correct endpoint.url")
    TLS_ERROR = (
        "tls_error",
        Exit.REFUSED,
        "the certificate cannot be verified",
        "first see to the certificate, or correct endpoint.url",
    )
    ALL_REFUSED = (
        "all_refused",
        Exit.REFUSED,
        "the first twenty requests of a job were refused for good in the same way (status and error code), and none was"
        " answered: the key, the model or a parameter is wrong. The rows are still pending",
        "first change what the endpoint refuses",
    )
    OUTAGE = (
        "outage",
        Exit.REFUSED,
        "no usable reply for `retry.max_elapsed_seconds`; the message ends with the last cause",
        "once the endpoint works again",
    )
    RETRY_AFTER = (
        "retry_after",
        Exit.REFUSED,
        "the endpoint asks for a longer pause than `retry.max_elapsed_seconds`",
        "once that pause is over",
    )
    NO_PROGRESS = (
        "no_progress",
        Exit.REFUSED,
        "no request in flight has ended for a minute longer than `limits.timeout_seconds`: something hangs on this"
        " machine, such as name resolution. These requests count as possibly billed",
        "",
    )
    NO_SENDERS = (
        "no_senders",
        Exit.REFUSED,
        "`--engine ray`: the cluster has ended, cannot be reached any more, or has no room for a sender; what was"
        " acknowledged is saved",
        "once the cluster works again, or with the local engine",
    )
    BATCH_FAILED = (
        "batch_failed",
        Exit.REFUSED,
        "the provider failed a whole batch, or refused to create it; its rows are still pending",
        "first fix what the message names",
    )
    NO_BATCHES = (
        "no_batches",
        Exit.REFUSED,
        "the server has no Batches API, or cannot list its batches or keep their metadata: one could be created twice",
        "first take `endpoint.batch` out",
    )
    # A limit of the job.
    DEADLINE = ("deadline", Exit.LIMIT, "`limits.deadline_seconds` is over", "")
    COST_CAP = (
        "cost_cap",
        Exit.LIMIT,
        "the next request might exceed `limits.max_cost_usd` or `limits.max_run_cost_usd`",
        "with a higher limit",
    )
    # The rest.
    BATCH_WAITING = ("batch_waiting", Exit.WAITING, "rows are waiting in a provider's batch", "to collect them")
    INTERRUPTED = ("interrupted", Exit.SIGNAL, "stopped by a signal", "")
    STILL_TRUNCATED = (
        "still_truncated",
        Exit.ROWS_FAILED,
        "rows that `retry-failed --kind truncated` sent again have failed; they keep the answers they have",
        "",
    )
    SHARDS_UNFINISHED = (
        "shards_unfinished",
        Exit.ROWS_FAILED,
        "`gather` found shards that are missing or not finished; the message names them, and nothing was written",
        "first run these shards",
    )
    RUN_STOPPED = (
        "run_stopped",
        Exit.ROWS_FAILED,
        "a run from Python that was to return answers ended early; the exit code is the run's",
        "",
    )
    INVALID_JOB = (
        "invalid_job",
        Exit.INVALID,
        "the job file is wrong; each mistake is named with its place",
        "first correct what is wrong",
    )
    INVALID_INPUT = ("invalid_input", Exit.INVALID, "the input or a flag is wrong", "first correct what is wrong")
    NO_CHECKPOINT = ("no_checkpoint", Exit.INVALID, "there are no answers yet: the job was never run", "")
    CHECKPOINT_FAILED = (
        "checkpoint_failed",
        Exit.CHECKPOINT,
        "the disk or the checkpoint failed; the message names the remedy, see [recovery.md](recovery.md)",
        "first do what the message says",
    )
    STORE_FAILED = (
        "store_failed",
        Exit.CHECKPOINT,
        "an object store cannot be reached, fails, or refuses what it allowed before; see [stores.md](stores.md)",
        "once the store works again",
    )
    JOB_LOCKED = ("job_locked", Exit.LOCKED, "another run of this job is under way", "")
    INTERNAL_ERROR = ("internal_error", Exit.FAULT, "a fault of the program; its traceback is on stderr", "")


class LimitedBy(StrEnum):
    """What the limit on requests in flight was, over a run that found their number itself."""

    SERVER = "server"
    RATE_LIMIT = "rate_limit"
    CAP = "cap"
    MACHINE = "machine"
    ROWS = "rows"
