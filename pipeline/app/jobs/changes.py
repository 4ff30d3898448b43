"""What prevents a run until the user decides: finished rows that would be paid for again."""

from __future__ import annotations

import json
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import numpy as np

from pipeline.app.jobs.checkpoint import settings_numbers
from pipeline.app.jobs.image_files import newer_images
from pipeline.app.jobs.job import OpenJob
from pipeline.catalogue import cost, known_prices, unpriced_models
from pipeline.errors import InvalidInput
from pipeline.journal import Journal, State
from pipeline.journal.files import PLAN_NAME
from pipeline.plan import SUCCEEDED, PlanDraft, load_plan
from pipeline.records import JsonObject, Usage, canonical_json
from pipeline.wording import counted, money

_ANOTHER_JOB = "if this is another job, give it another `name:`"
_MOST_ANSWERS = 1000
"""The number of answers that a cost is estimated from."""
_BY_KEY = ("prompt", "expect")
"""Settings whose values are not shown: they may be long or private."""
_KEYS = {"endpoint_kind": "endpoint.kind", "model": "endpoint.model", "extra_body": "endpoint.extra_body"}
"""What the job file calls a setting that has another name in the journal."""


def refuse_changes(opened: OpenJob, directory: Path, journal: Journal | None, made: PlanDraft) -> None:
    """Refuse to pay again for finished rows until the user says what to do.

    Raises InvalidInput with the number of rows, what changed, and about what it would cost at today's price.
    """
    if journal is None:
        return
    answers, plan = made.answers(), made.plan
    known = settings_numbers(opened.settings, journal)
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
            f" {_price_of(by_settings, opened, journal, made)}, because the settings changed ({difference})"
            f"{_image_note(opened, directory)}; {choice}"
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


def refuse_lines_out(opened: OpenJob, journal: Journal | None, made: PlanDraft) -> None:
    """Refuse to ask again for rows that wait in a batch, because the settings changed since it was made.

    Raises InvalidInput with their number, and about what they would cost.
    """
    if journal is None or not journal.totals.batches:
        return
    if rows := made.asked_anew():
        raise InvalidInput(
            f"{counted(rows, 'row')} that {'waits' if rows == 1 else 'wait'} in a batch would be asked again,"
            f" {_price_of(rows, opened, journal, made)}, because the settings changed since it was made;"
            f" `{opened.job.command('cancel')}` keeps what it has answered, a run with the earlier settings all of it;"
            " --on-change rerun asks again"
        )


def refuse_lost_shares(opened: OpenJob, directory: Path, journal: Journal | None, made: PlanDraft) -> None:
    """Refuse to buy answers for rows that have one by the last plan, which they share, once `deduplicate` is off.

    No answer of their own could be kept. Raises InvalidInput with their number, and about what they would cost.
    """
    if journal is None or opened.rows.deduplicate or made.has_carried or not made.new_rows():
        return
    before = load_plan(directory)
    if before is None or before.number != journal.totals.plan or not before.count(State.SHARED):
        return
    before.apply(journal.places())
    shared = min(before.rows(*SUCCEEDED) - before.count(*SUCCEEDED), made.new_rows())
    if shared:
        share = "shares" if shared == 1 else "share"
        raise InvalidInput(
            f"{counted(shared, 'finished row')} that {share} another row's answer would be sent,"
            f" {_price_of(shared, opened, journal, made)}, because `deduplicate` is off; --on-change rerun sends them,"
            f" `deduplicate: true` keeps the answers that they share; {_ANOTHER_JOB}"
        )


def _image_note(opened: OpenJob, directory: Path) -> str:
    """Say how many image files are newer than the last plan: they change what their rows ask, as the settings do."""
    columns = opened.job.config.prompt.images
    if not columns or not (directory / PLAN_NAME).exists():
        return ""
    newer = newer_images(opened.rows.source, columns, (directory / PLAN_NAME).stat().st_mtime_ns)
    return f", and {counted(newer, 'image file')} changed since the last run" if newer else ""


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
        counts += [amount for price in known_prices(opened.terms) if (amount := cost(price, usage)) is not None]
    if not counts or unpriced_models(opened.terms):
        return "at a cost that is not known"
    simulated = " simulated" if opened.job.config.endpoint.is_simulator else ""
    return f"for about ${money(round(sum(counts, Decimal(0)) / len(counts) * rows, 6))}{simulated}"


def _difference(opened: OpenJob, journal: Journal, made: PlanDraft, known: Sequence[int | None]) -> str:
    """Name the settings that changed."""
    unlike = (one for one in made.changes() if one.settings_id != known[opened.rows.variant_of(one.position)])
    changed = next(unlike)
    before = journal.settings()[changed.settings_id]
    after = json.loads(canonical_json(opened.settings[opened.rows.variant_of(changed.position)]))
    differences = []
    for key in dict.fromkeys([*after, *before]):
        now, was = after.get(key, {}), before.get(key, {})
        name = _KEYS.get(key, key)
        if not isinstance(now, dict):
            differences += [f"{name}: {was} -> {now}"] if now != was else []
            continue
        for part in sorted(now.keys() | was.keys()):
            if part not in now or part not in was or now[part] != was[part]:
                detail = "" if key in _BY_KEY else f": {_value(was, part)} -> {_value(now, part)}"
                differences.append(f"{name}.{part}{detail}")
    return ", ".join(differences) or "an earlier change"


def _value(settings: JsonObject, name: str) -> str:
    """Return a setting as it is shown."""
    value = settings.get(name)
    if name not in settings:
        return "not set"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
