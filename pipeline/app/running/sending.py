"""The sending of a run: one by one, by batches, or both."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pipeline.app.jobs.held_checkpoint import HeldCheckpoint
from pipeline.app.running.context import RunContext
from pipeline.app.running.send import send_one_by_one
from pipeline.errors import InvalidInput
from pipeline.journal import Journal
from pipeline.plan import Plan
from pipeline.runner import Progress, Stop

if TYPE_CHECKING:
    from pipeline.app.running.batches import BatchRun


def refuse_unfit_options(context: RunContext, journal: Journal) -> None:
    """Raise InvalidInput where what is asked of a run and how the job buys do not go together."""
    buys_batches = context.opened.job.config.endpoint.batch is not None
    if context.options.no_wait and not buys_batches and not journal.totals.batches:
        raise InvalidInput("--no-wait is for `endpoint.batch`: no row waits in a batch; leave it out")
    if context.options.asks_longer and buys_batches:
        raise InvalidInput("--kind truncated asks one by one; add --set endpoint.batch=null")


def send_rows(context: RunContext, plan: Plan, held: HeldCheckpoint) -> tuple[Stop | None, int]:
    """Send what is to be sent, one by one or by batches, and collect what is out in batches.

    Returns what stopped it, and how many batches it has canceled.
    """
    assert held.journal is not None
    figures = context.figures
    if context.options.cancel:
        cancelled, ended_by = _batch_run(context).cancel(plan, held)
        return ended_by, cancelled
    buys_batches, is_out = context.opened.job.config.endpoint.batch is not None, bool(held.journal.totals.batches)
    stop: Stop | None = None
    progress = Progress()
    if not figures.summary.is_idle and not buys_batches:
        stop, progress = send_one_by_one(context, plan, held)
    if stop is None and (is_out or (buys_batches and not figures.summary.is_idle)):
        figures.update(is_idle=False)
        batches = _batch_run(context)
        stop = batches.send(plan, held, progress, only_collect=not buys_batches)
        if stop is None and not buys_batches and batches.has_left(plan):
            stop, _ = send_one_by_one(context, plan, held, progress)
    return stop, 0


def _batch_run(context: RunContext) -> BatchRun:
    """Return what buys by batches, which few runs need and which takes a while to import."""
    from pipeline.app.running.batches import BatchRun

    return BatchRun(context)
