"""What a job's checkpoint holds: the plan that fits the present input, and what prevents a run."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path

import numpy as np

from pipeline.app.jobs.job import OpenJob
from pipeline.app.jobs.sharding import shards_of
from pipeline.catalogue import cost
from pipeline.config import Destination, Job
from pipeline.errors import CheckpointDamaged, CheckpointFailed, InvalidInput, InvalidJob, Mistake
from pipeline.journal import Event, Journal, Outcome, State
from pipeline.journal.files import PLAN_NAME
from pipeline.plan import SUCCEEDED, Change, KnownRows, Plan, PlanDraft, Rows, draft_plan, load_plan, save_plan
from pipeline.records import Usage, digest
from pipeline.sink import OutputMetadata, is_there, metadata_at
from pipeline.wording import counted, money

_EVENTS_A_COMMIT = 1000
_MOST_ANSWERS = 1000
"""The number of answers that a cost is estimated from."""


def refuse_foreign_output(job: Job, directory: Path, journal: Journal | None) -> None:
    """Refuse to replace a file that was not written from this checkpoint, unless the job says so; and in any case to
    buy again what this job's output holds, while the checkpoint that it was written from is elsewhere.

    Raises:
        InvalidJob: it is another job's, or no output at all.
        CheckpointDamaged: it is this job's, and the checkpoint that it was written from is gone, or older than it.
    """
    has_answers = journal is not None and journal.totals.events > 0
    may_be_gathered = job.shard is None and bool(shards_of(job))
    for place in job.output.places if job.writes_output else ():
        if not is_there(place):
            continue
        metadata = metadata_at(place)
        if journal is not None and metadata is not None and metadata.checkpoint_id == journal.checkpoint_id:
            refuse_older_journal(directory, journal, metadata, str(place))
        elif not (has_answers or may_be_gathered) and metadata is not None and metadata.job == job.config.name:
            raise CheckpointDamaged(
                f"{directory}: the checkpoint is missing here ({os.getcwd()}), though {place} was written from it: run"
                f" the job in the directory where it is, or put it back; to start over and pay again, move {place} away"
                " or give the job another `name:`"
            )
        elif not job.config.output.overwrite:
            raise InvalidJob([job.placed(foreign_output(place, "written from this job's checkpoint"))])


def foreign_output(place: Destination, what: str) -> Mistake:
    """Return what there is to say of something at an output's place that was not `what`."""
    message, hint = f"{place} exists and was not {what}", "move it away, or set output.overwrite: true"
    if place.is_directory:
        message, hint = f"{place} or its manifest holds what was not {what}", f"{hint}, which removes every file in it"
    return Mistake(message, key="output.path", suggestion=hint)


def refuse_older_journal(directory: Path, journal: Journal, metadata: OutputMetadata, output: str) -> None:
    """Refuse to go on with a journal that lacks what its own output was written from. Raises CheckpointDamaged."""
    commits = metadata.journal.commits
    if commits > journal.totals.commits:
        raise CheckpointDamaged(
            f"{directory}: the journal ends at commit {journal.totals.commits}, but {output} was written from it at"
            f" commit {commits}; part of it is lost, or an older copy was put back"
        )


def saved_plan(opened: OpenJob, directory: Path, journal: Journal | None) -> Plan | None:
    """Return `last_plan`, updated from the journal, every event of which is checked on the way."""
    saved = last_plan(opened, directory, journal)
    if journal is not None and saved is not None:
        saved.apply(journal.places())
    return saved


def last_plan(opened: OpenJob, directory: Path, journal: Journal | None) -> Plan | None:
    """Return the plan of the last run as it was saved; None if the input or the settings have changed."""
    saved = load_plan(directory)
    if saved is None or journal is None or saved.number != journal.totals.plan:
        return None
    return saved if saved.fingerprint == opened.fingerprint else None


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
    number = (journal.totals.plan if journal else 0) + 1
    index = journal.index() if journal else iter(())
    try:
        with draft_plan(
            opened.rows,
            index,
            directory,
            number=number,
            fingerprint=opened.fingerprint,
            rules=opened.rules,
            known=None if joins_all or former else _known_rows(opened, journal, forget_kept=forget_kept),
            forget_kept=forget_kept,
            former=former,
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
    if saved.inventory is None or not saved.inventory.is_settled or saved.inventory.rules != opened.rules:
        return None
    saved.apply(journal.places())
    if saved.count(State.CHANGED) or (forget_kept and (saved.keeps_answers() or opened.rows.expected is not None)):
        return None
    return KnownRows(saved, journal.heads)


def settings_numbers(opened: OpenJob, journal: Journal | None) -> list[int | None]:
    """Return the number under which the journal has each variant's settings; None if it has not seen them."""
    if journal is None:
        return [None] * len(opened.variants)
    known = {digest(found): number for number, found in journal.settings().items()}
    return [known.get(digest(settings)) for settings in opened.settings]


def register_settings(opened: OpenJob, journal: Journal) -> list[int]:
    """Record the settings of each variant, where the journal does not have them. Returns their numbers."""
    return [journal.register_settings(digest(settings), settings) for settings in opened.settings]


def refuse_changes(opened: OpenJob, directory: Path, journal: Journal | None, made: PlanDraft) -> None:
    """Refuse to pay again for finished rows until the user says what to do.

    Raises InvalidInput with the number of rows, what changed, and about what it would cost at today's price.
    """
    if journal is None:
        return
    answers, plan = made.answers(), made.plan
    known = settings_numbers(opened, journal)
    by_settings, by_content = made.changed_rows(known)
    if not len(plan) and answers:
        raise InvalidInput(
            f"the input is empty, but the job has {counted(answers, 'answer')}; --on-change rerun publishes the empty"
            f" output, --on-change keep leaves the old answers; {_ANOTHER_JOB}"
        )
    choice = f"--on-change rerun sends them again, --on-change keep leaves their answers as they are; {_ANOTHER_JOB}"
    if by_settings:
        difference = _difference(opened, journal, made, known)
        if difference.startswith("parameters.max_tokens") and "," not in difference:
            choice += "; retry-failed --kind truncated sends only the rows with a truncated answer"
        raise InvalidInput(
            f"{counted(by_settings, 'finished row')} would be sent again,"
            f" {_price_of(by_settings, opened, journal, made)}, because the settings changed ({difference}); {choice}"
        )
    if by_content * 2 > made.answered_rows():
        raise InvalidInput(
            f"{by_content:,} of {counted(made.answered_rows(), 'finished row')} would be sent again,"
            f" {_price_of(by_content, opened, journal, made)}, because their content changed; {choice}"
        )
    if plan.orphaned and (not opened.rows.id_columns or opened.rows.has_variants):
        orphaned, current = _newly_orphaned(directory, journal, made)
        if orphaned * 2 > current and (new := made.new_rows()) >= orphaned:
            why = "without `input.id` a row is known by its whole content"
            if opened.rows.has_variants:
                why = f"in a sweep a row is known by the settings that its variant names, and {why}"
            raise InvalidInput(
                f"{orphaned:,} of {counted(current, 'finished row')} left the job, and {counted(new, 'new row')}"
                f" would be sent, {_price_of(new, opened, journal, made)}; {why}."
                " --on-change rerun sends the new rows and keeps the old answers in the checkpoint;"
                f" {_ANOTHER_JOB}"
            )


_ANOTHER_JOB = "if this is another job, give it another `name:`"


def _newly_orphaned(directory: Path, journal: Journal, made: PlanDraft) -> tuple[int, int]:
    """Return how many answers that stood for a row by the last plan stand for none now, and how many stood; where that
    plan is lost, by all answers.
    """
    before = load_plan(directory)
    if before is None or before.number != journal.totals.plan:
        return made.orphans(), made.answers()
    before.apply(journal.places())
    stood = np.zeros(journal.totals.events + 1, np.bool_)
    for positions in before.positions(SUCCEEDED):
        stood[[before.event(position) for position in positions]] = True
    return made.orphans(stood), before.count(*SUCCEEDED)


def _price_of(rows: int, opened: OpenJob, journal: Journal, made: PlanDraft) -> str:
    """Say what a number of answers would cost at today's price, by the tokens of the job's answers so far."""
    counts = []
    for _, record in journal.records(made.some_answers(_MOST_ANSWERS)):
        usage = Usage(
            record.prompt_tokens, record.completion_tokens, record.total_tokens, cached_tokens=record.cached_tokens
        )
        counts += [amount for price in opened.prices if (amount := cost(price, usage)) is not None]
    if not counts or opened.unpriced_models:
        return "at a cost that is not known"
    simulated = " simulated" if opened.job.config.endpoint.is_simulator else ""
    return f"for about ${money(round(sum(counts, Decimal(0)) / len(counts) * rows, 6))}{simulated}"


_BY_KEY = ("prompt", "expect")
"""Settings whose values are not shown: they may be long or private."""


def _difference(opened: OpenJob, journal: Journal, made: PlanDraft, known: Sequence[int | None]) -> str:
    """Name the settings that changed."""
    unlike = (one for one in made.changes() if one.settings_id != known[opened.rows.variant_of(one.position)])
    changed = next(unlike)
    before, after = journal.settings()[changed.settings_id], opened.settings[opened.rows.variant_of(changed.position)]
    differences = []
    for key in dict.fromkeys([*after, *before]):
        now, was = after.get(key), before.get(key)
        if key == "expect":
            now, was = now or {}, was or {}
        if isinstance(now, dict) and isinstance(was, dict):
            for name in sorted(now.keys() | was.keys()):
                if now.get(name) != was.get(name):
                    detail = "" if key in _BY_KEY else f": {was.get(name)} -> {now.get(name)}"
                    differences.append(f"{key}.{name}{detail}")
        elif now != was:
            differences.append(f"{key}: {was} -> {now}")
    return ", ".join(differences) or "an earlier change"


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
            journal.commit(events, plan=plan.number)
            events = []
    journal.commit(events, plan=plan.number)


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
