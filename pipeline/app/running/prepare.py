"""From a job and its checkpoint to the plan that a run goes by. Nothing is sent here."""

from __future__ import annotations

from msgspec import Struct

from pipeline.app.jobs import checkpoint
from pipeline.app.jobs.held_checkpoint import HeldCheckpoint
from pipeline.app.jobs.job import OpenJob
from pipeline.app.jobs.trial import try_templates
from pipeline.app.observe.answer_counts import AnswerCounts
from pipeline.app.running.new_plan import plan_anew
from pipeline.app.running.options import RunOptions
from pipeline.journal import Changes, Journal, State, lost_claims
from pipeline.journal.backup import read_restored
from pipeline.plan import Plan
from pipeline.records import JsonObject


class Prepared(Struct, frozen=True):
    """A run that can begin: the state of each row, notes for the user, and the answers so far."""

    plan: Plan
    journal: Journal
    notes: list[str]
    answers: AnswerCounts


def prepare(opened: OpenJob, held: HeldCheckpoint, options: RunOptions, last: JsonObject) -> Prepared:
    """Plan a run, and record what a killed one left open. `last` is what the run before left in its progress file.

    The plan of the last run is taken where it still holds.

    Raises:
        InvalidInput: the input, the templates or a change of finished rows is in the way.
        CheckpointFailed: the checkpoint cannot be trusted, or the disk failed.
    """
    checkpoint.refuse_foreign_output(opened.job, held.directory, held.journal)
    notes: list[str] = []
    restored = read_restored(held.directory)
    if restored is not None and held.journal is not None and held.journal.totals.commits == restored.commits:
        notes.append(restored.note)
    plan = checkpoint.saved_plan(opened, held.directory, held.journal)
    if plan is not None and (options.asks_longer or _decides_anew(plan, options)):
        plan = None
    answers = _answers_so_far(plan, held.journal, last)
    _settle_claims(plan, held)
    if plan is None:
        try_templates(opened)
        plan = plan_anew(opened, held, options, notes)
    journal = held.journal
    assert journal is not None
    return Prepared(plan, journal, notes, answers)


def _decides_anew(plan: Plan, options: RunOptions) -> bool:
    """Return whether the user says otherwise now about rows that an earlier run kept, or was to ask again."""
    if options.on_change == "keep":
        return plan.count(State.CHANGED) > 0
    return options.on_change == "rerun" and plan.keeps_answers()


def _answers_so_far(plan: Plan | None, journal: Journal | None, last: JsonObject) -> AnswerCounts:
    """Count the answers before anything is sent, by the progress file, if nothing has changed since."""
    if journal is None:
        return AnswerCounts(0, 0)
    if plan is None or plan.count(State.CHANGED) or last.get("events") != journal.totals.events:
        return AnswerCounts()
    return AnswerCounts(last.get("truncated"), last.get("empty"))


def _settle_claims(plan: Plan | None, held: HeldCheckpoint) -> None:
    """Record what a kill interrupted, before anything is sent; the journal is read completely before it is changed."""
    journal = held.journal
    if journal is None:
        return
    out = {batch.key for batch in journal.totals.batches}  # their lines are out as before
    cut_off = [claim for claim in journal.claims() if claim.batch not in out]
    if not cut_off:
        return
    if plan is None:
        for _ in journal.index():
            pass
    journal = held.writer()
    events, claims, worst = lost_claims(cut_off)
    lost = Changes(events, release=claims, possibly_billed_usd=worst, possibly_billed_requests=len(events))
    first = journal.commit(lost)
    if plan is not None:
        plan.take(first, events)
