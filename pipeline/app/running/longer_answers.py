"""Longer answers for rows whose answers were truncated, with a higher max_tokens.

The answer that a row has stands until the longer one is on disk. What is recorded before is an adoption: the row, with
its new request, keeps the answer of that event. What comes of an attempt in vain is recorded as an adoption too. The
longer answer is committed together with adoptions for every request that the one before stood for, so that it also
stands where max_tokens is what it was. Rows whose answers are whole keep them under the new settings in the same way.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator, Sequence
from itertools import islice, zip_longest

from msgspec import structs

from pipeline.app.jobs.builders import builder_of
from pipeline.app.jobs.job import OpenJob
from pipeline.app.observe.summary import RunError
from pipeline.config import JobVariant, ParametersConfig
from pipeline.endings import StopKind
from pipeline.errors import InvalidInput
from pipeline.journal import NOTHING, Changes, Event, Journal, State
from pipeline.plan import Answered, FailureKinds, Plan, PlanDraft, Rows, Variant
from pipeline.records import JsonObject, digest
from pipeline.runner.feed import History, KeptAnswer
from pipeline.wording import counted

_ROWS_A_COMMIT = 1000


def former_rows(opened: OpenJob, journal: Journal | None) -> list[Rows]:
    """Return the job's rows under each of the earlier settings that differ in max_tokens alone."""
    settings = list(journal.settings().values()) if journal is not None else []
    former = [
        _former_variants(opened, variant, asked, now, settings)
        for variant, asked, now in zip(opened.variants, opened.rows.variants, opened.settings, strict=True)
    ]
    # A variant that has fewer former settings than another asks as it does now, which adds nothing.
    columns = zip_longest(*former)
    now = opened.rows.variants
    return [
        structs.replace(opened.rows, variants=tuple(one or its for one, its in zip(some, now, strict=True)))
        for some in columns
    ]


def _former_variants(
    opened: OpenJob, variant: JobVariant, asked: Variant, now: JsonObject, settings: Sequence[JsonObject]
) -> list[Variant]:
    """Return one of the job's variants as it asked under each of the settings that differ in max_tokens alone."""
    found = []
    for before in settings:
        if digest(before) == digest(now) or _but_max_tokens(before) != _but_max_tokens(now):
            continue
        config = variant.config.model_copy(update={"parameters": ParametersConfig(**before["parameters"])})
        builder, _ = builder_of(config, opened.rows.source)
        if builder is not None:  # else its column is gone, and the rows count as changed
            found.append(structs.replace(asked, builder=builder))
    return found


def choose(made: PlanDraft, journal: Journal, opened: OpenJob) -> Sequence[int]:
    """Return the positions of the rows whose answer was truncated and that now ask for a longer one, in order.

    Raises InvalidInput if there are truncated answers and none of them would be longer.
    """
    most = [variant.config.parameters.max_tokens for variant in opened.variants]
    chosen, truncated, stopped_at = array("Q"), 0, 0
    for row, request_hash, was_truncated, length in _with_records(made.answered(), journal):
        if not was_truncated:
            continue
        truncated += 1
        stopped_at = max(stopped_at, length or 0)
        max_tokens = most[opened.rows.variant_of(row.position)]
        is_longer = not (isinstance(max_tokens, int) and length is not None and max_tokens <= length)
        if request_hash != row.request_hash and is_longer:
            chosen.append(row.position)
    if truncated and not chosen:
        where = f" after up to {counted(stopped_at, 'token')}" if stopped_at else ""
        raise InvalidInput(
            f"{counted(truncated, 'truncated answer')}, cut off{where}: asking again would buy the same, so nothing was"
            " sent. Allow more with --set parameters.max_tokens=N"
        )
    return chosen


def mark(made: PlanDraft, rows: Rows, chosen: Sequence[int], journal: Journal, settings: Sequence[int]) -> None:
    """Record that the chosen rows keep what they have until it is replaced, and mark them as to be sent."""
    wanted = iter(chosen)
    position = next(wanted, None)
    marked = []
    for row in made.answered():
        if row.position == position:
            marked.append(row)
            position = next(wanted, None)
        if len(marked) == _ROWS_A_COMMIT:
            _mark(made.plan, rows, marked, journal, settings)
            marked = []
    _mark(made.plan, rows, marked, journal, settings)


def in_vain(failed: FailureKinds, *, has_marks: bool) -> RunError:
    """Return the error about rows that failed when they were sent again."""
    facts = failed.facts(has_marks=has_marks)
    kinds = ", ".join(f"{one['kind']} {one['rows']:,} (such as {one['example']})" for one in facts)
    rows = failed.rows.total()
    return RunError(
        StopKind.STILL_TRUNCATED,
        f"{counted(rows, 'row')} failed when asked again; the truncated answers are kept: {kinds}",
    )


def put_back(plan: Plan, journal: Journal) -> None:
    """Turn rows that were marked and not sent back into rows with an answer."""
    for positions in plan.positions([State.TRUNCATED]):
        by_event = {plan.event(position): position for position in positions}
        for entry, record in journal.records(sorted(by_event)):
            plan.put(by_event[entry.seq], record.source, entry.state)


def _mark(plan: Plan, rows: Rows, marked: list[Answered], journal: Journal, settings: Sequence[int]) -> None:
    earlier = {
        entry.seq: record for entry, record in journal.records(sorted(row.adoption for row in marked if row.adoption))
    }
    events = []
    for row in marked:
        state = State.ADOPTED if row.is_priced else State.ADOPTED_UNPRICED
        # Earlier attempts at the same request still count; the answer may be another one by now.
        history = History.of(earlier.get(row.adoption, NOTHING))
        history = history._replace(kept=KeptAnswer(row.source, state, row.stood_for))
        events.append(
            Event(
                plan.number,
                row.position,
                state,
                row.row_id,
                row.request_hash,
                settings[rows.variant_of(row.position)],
                row.content_key,
                history.outcome(),
            )
        )
    if events:
        for seq, event in enumerate(events, journal.commit(Changes(events))):
            plan.put(event.position, seq, State.TRUNCATED)


def _with_records(rows: Iterator[Answered], journal: Journal) -> Iterator[tuple[Answered, str, bool, int | None]]:
    """Yield each row with the hash of the request that its answer was given to, whether that was truncated, and its
    completion tokens.
    """
    while part := list(islice(rows, _ROWS_A_COMMIT)):
        found = {
            entry.seq: (entry.request_hash, record.truncated is True, record.completion_tokens)
            for entry, record in journal.records(sorted(row.source for row in part))
        }
        for row in part:
            yield row, *found[row.source]


def _but_max_tokens(settings: JsonObject) -> str:
    parameters = {name: value for name, value in settings["parameters"].items() if name != "max_tokens"}
    return digest({**settings, "parameters": parameters})
