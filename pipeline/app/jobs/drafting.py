"""The making of a new plan, and how it becomes the journal's."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from pipeline.app.jobs.fingerprints import fingerprint_of, rules_of
from pipeline.app.jobs.job import OpenJob
from pipeline.errors import CheckpointFailed, InvalidJob
from pipeline.journal import Changes, Event, Journal, Outcome, State
from pipeline.journal.files import PLAN_NAME
from pipeline.plan import Change, KnownRows, Plan, PlanDraft, Rows, draft_plan, load_plan, save_plan

_EVENTS_A_COMMIT = 1000


@contextmanager
def planner(
    opened: OpenJob,
    directory: Path,
    journal: Journal | None,
    *,
    forget_kept: bool = False,
    former: Sequence[Rows] = (),
    joins_all: bool = False,
) -> Iterator[PlanDraft]:
    """Make a new plan; see `draft_plan`. Its number becomes the journal's with `record_plan`. With `joins_all` nothing
    is taken over from the last plan, so that every answer can be asked for.
    """
    known = None if joins_all or former else _known_rows(opened, journal, forget_kept=forget_kept)
    number = (journal.totals.plan if journal else 0) + 1
    index = journal.index() if journal else iter(())
    try:
        with draft_plan(
            opened.rows,
            index,
            directory,
            number=number,
            fingerprint=fingerprint_of(opened),
            rules=rules_of(opened),
            known=known,
            forget_kept=forget_kept,
            former=former,
            lines_out=journal.lines_out() if journal else (),
        ) as made:
            yield made
    except InvalidJob as error:
        raise InvalidJob([opened.job.placed(mistake) for mistake in error.mistakes]) from error
    except OSError as error:
        raise CheckpointFailed(f"{directory}: cannot plan: {error}") from error


def _known_rows(opened: OpenJob, journal: Journal | None, *, forget_kept: bool) -> KnownRows | None:
    """Return the rows of the last plan as they are now; None if a row could make another request by now, as by an image
    in a file, or if answers are to be decided on anew.
    """
    if any(variant.config.prompt.images for variant in opened.variants):
        return None
    saved = load_plan(opened.job.checkpoint_path)
    if journal is None or saved is None or saved.number != journal.totals.plan:
        return None
    if saved.inventory is None or not saved.inventory.is_settled or saved.inventory.rules != rules_of(opened):
        return None
    saved.apply(journal.places())
    if saved.count(State.CHANGED) or (forget_kept and (saved.keeps_answers() or opened.rows.expected is not None)):
        return None
    return KnownRows(saved, journal.heads)


def keep_changes(made: PlanDraft) -> Iterator[Change]:
    """Let changed rows keep the answers they have; the caller records it."""
    for change in made.changes():
        state = State.ADOPTED if change.is_priced else State.ADOPTED_UNPRICED
        made.plan.put(change.position, change.source, state)
        yield change


def record_plan(
    plan: Plan, rows: Rows, directory: Path, journal: Journal, settings: Sequence[int], adopted: Iterable[Change]
) -> None:
    """Make a new plan the journal's, with the answers that rows take over. Its file comes after, with `keep_plan`:
    until then the next run makes a new plan, because the plan's number is taken, but its file is missing.
    """
    events: list[Event] = []
    for change in adopted:
        state = State.ADOPTED if change.is_priced else State.ADOPTED_UNPRICED
        events.append(
            Event(
                plan.number,
                change.position,
                state,
                change.row_id,
                change.request_hash,
                settings[rows.variant_of(change.position)],
                change.content_key,
                Outcome(source=change.source),
            )
        )
        if len(events) >= _EVENTS_A_COMMIT:
            journal.commit(Changes(events, plan=plan.number))
            events = []
    journal.commit(Changes(events, plan=plan.number))


def keep_plan(plan: Plan, directory: Path) -> None:
    """Save the plan for the next run, once nothing is left of its making. Raises CheckpointFailed."""
    try:
        save_plan(plan, directory)
    except OSError as error:
        raise CheckpointFailed(f"{directory}: cannot save the plan: {error}") from error
    plan.inventory = None  # it is the next plan's


def forget_plan(directory: Path) -> None:
    """Have the next run make a new plan: answers were recorded whose rows' positions were not known."""
    with suppress(OSError):
        (directory / PLAN_NAME).unlink()
