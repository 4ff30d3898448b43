"""The answers of a job so far in another shape: in a file, a pipe, on stdout, or a folder."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
from msgspec import Struct, field

from pipeline.app.jobs import checkpoint
from pipeline.app.jobs.columns import samples_of
from pipeline.app.jobs.job import OpenJob, open_job
from pipeline.app.jobs.paths import refuse_to_write
from pipeline.app.jobs.places import kind_of_special
from pipeline.app.jobs.planning import plan_unsaved
from pipeline.app.jobs.shown import is_shown, plans_of
from pipeline.app.jobs.so_far import Part, parts_of, results_of
from pipeline.app.jobs.source_job import source_mistakes
from pipeline.app.use_cases.own_exports import is_own_export, is_own_folder, record_export, record_folder
from pipeline.catalogue import Price
from pipeline.config import Job
from pipeline.config.chain import input_of
from pipeline.config.wire import make_endpoint
from pipeline.errors import InvalidInput
from pipeline.exports import (
    Answers,
    Chosen,
    JobFacts,
    OtherOutput,
    Selection,
    Standing,
    WithOther,
    Writer,
    csv_writer,
    preference_writer,
    publish_folder,
    read_splits,
    write_batch_results,
    write_file,
    write_jsonl,
    write_messages,
    write_parquet,
    write_prompt_completion,
    write_stream,
)
from pipeline.exports.batch_requests import write_request_files
from pipeline.journal import Journal
from pipeline.plan import FAILED, SUCCEEDED, Rows
from pipeline.providers import kinds
from pipeline.sink import is_complete, metadata_at, output_schema
from pipeline.sources import Source, open_source

FOLDER = "hf"
BATCH = "openai-batch"
REQUESTS = "openai-batch-requests"


class ExportOptions(Struct, frozen=True):
    """How an export is written. `score` is the column by which answers are compared, `split` the shares of the splits
    as text; `raw_cells` leaves CSV cells as they are, `bom` begins the file with a byte-order mark. `beside` is a job
    that reads the output, whose columns are added.
    """

    selection: Selection = field(default_factory=Selection)
    score: str | None = None
    split: str | None = None
    raw_cells: bool = False
    bom: bool = False
    beside: Job | None = None


class Exported(Struct, frozen=True):
    """What was written: `rows`, and by reason how many rows were left out."""

    rows: int
    left_out: Mapping[str, int]


WRITERS: Mapping[str, Callable[[ExportOptions], Writer]] = {
    "jsonl": lambda options: write_jsonl,
    "csv": lambda options: csv_writer(raw_cells=options.raw_cells, bom=options.bom),
    "parquet": lambda options: write_parquet,
    "messages": lambda options: write_messages,
    "prompt-completion": lambda options: write_prompt_completion,
    "preference": lambda options: preference_writer(options.score),
    BATCH: lambda options: write_batch_results,
}
_OF_COLUMNS = ("jsonl", "csv", "parquet", FOLDER)
_ONLY_FOR = {"score": ("preference",), "split": (FOLDER,), "raw_cells": ("csv",), "bom": ("csv",)}


def export_answers(
    job: Job, to: str, path: Path | None, options: ExportOptions | None = None, *, overwrite: bool = False
) -> Exported:
    """Write the answers so far in another shape, to stdout where there is no path; those of all shards together, where
    the job was divided.

    Args:
        overwrite: replace a file that no export of this job wrote, too; write into a pipe or a device.

    Raises InvalidInput where there are no answers yet, where the input has changed since the last run, where an option
    does not fit the shape, and if there is something else at the path.
    """
    options = options or ExportOptions()
    _check_options(to, options)
    shares = read_splits(options.split)
    opened = open_job(job, for_sending=False)
    directory = job.whole.checkpoint_path
    is_directory = to in (FOLDER, REQUESTS)
    if path is None and is_directory:
        raise InvalidInput(f"--to {to} writes a directory; name one in place of -")
    if path is not None:
        refuse_to_write(job, path, is_directory=is_directory)
        _refuse_foreign(directory, path, to, overwrite=overwrite)
    with parts_of(opened) as parts:
        if path is not None and to == REQUESTS:
            return _write_requests(opened, parts, path)
        of_columns = to in _OF_COLUMNS and options.selection.dedup is None
        results, pending = _answers(opened, parts, of_columns=of_columns)
        if options.beside is not None:
            results = WithOther(results, _output_of(options.beside, job))
        chosen = Chosen(results, options.selection, with_failed=to == BATCH)
        chosen.left_out["pending"] = pending
        if path is not None and to == FOLDER:
            rows = publish_folder(
                chosen, path, shares, _facts(opened), lambda draft: record_folder(directory, draft, path)
            )
        elif path is None or (kind_of_special(path) is not None and not path.is_symlink()):
            rows = write_stream(chosen, WRITERS[to](options), path)
        else:
            rows = write_file(chosen, WRITERS[to](options), path, lambda draft: record_export(directory, draft, path))
    return Exported(rows, {reason: count for reason, count in chosen.left_out.items() if count})


def _output_of(other: Job, job: Job) -> OtherOutput:
    """Return the output of a job that reads this job's output, one row for each of its rows. Raises InvalidInput."""
    config = other.config
    if other.source_job is None or os.path.realpath(other.source_job.file) != os.path.realpath(job.file):
        raise InvalidInput(f"--with: {other.file} does not read the output of {job.file} (input.path: {{job: …}})")
    if config.sweep is not None or samples_of(config) is not None:
        raise InvalidInput(f"--with: {other.file} makes several rows of each; name a job without samples and sweep")
    if mistakes := list(source_mistakes(other)):
        raise InvalidInput(f"--with: {mistakes[0].message}; {mistakes[0].suggestion}")
    return OtherOutput(config.output.path, _output_source(other), config.output.prefix, config.input.id_columns)


def _output_source(job: Job) -> Source:
    """Return the rows of a job's output, which is complete."""
    section = input_of(job.config.input, job).model_copy(update={"id": None, "columns": None, "where": None})
    return open_source(section, (), job.checkpoint_path)


def _answers(opened: OpenJob, parts: Sequence[Part], *, of_columns: bool) -> tuple[Answers, int]:
    """Return the answers so far, and how many rows are pending. Where the columns are enough, they are those of the
    output that stands, if it shows what the journals hold.
    """
    journal = parts[0].journal
    if of_columns and len(parts) == 1 and journal is not None and _is_of_last_commit(opened, journal):
        return _standing(opened, journal.checkpoint_id), 0
    results = results_of(opened, parts)
    pending = sum(len(plan) - plan.rows(*SUCCEEDED, *FAILED) for plan in plans_of(results))
    pending += sum(_count(part.opened.rows) for part in parts if part.journal is None)
    if of_columns and not pending and is_shown(opened, results):
        return _standing(opened, results.checkpoint_id), 0
    return results, pending


def _count(rows: Rows) -> int:
    return sum(rows.count(batch) for _, batch in rows.batches())


def _is_of_last_commit(opened: OpenJob, journal: Journal) -> bool:
    """Return whether the output was written after the journal's last commit, under the plan that holds now. Then it
    shows what the journal holds, which need not be read. The names of variants are told by neither.
    """
    output = opened.job.output
    if opened.rows.has_variants or not opened.job.writes_output or not is_complete(output):
        return False
    found = metadata_at(output)
    return (
        found is not None
        and (found.checkpoint_id, found.journal.commits) == (journal.checkpoint_id, journal.totals.commits)
        and checkpoint.last_plan(opened, opened.job.checkpoint_path, journal) is not None
        and _output_source(opened.job).schema.names == _schema(opened).names
    )


def _standing(opened: OpenJob, checkpoint_id: str) -> Standing:
    prefix = opened.job.config.output.prefix
    return Standing(opened.rows, checkpoint_id, prefix, _schema(opened), _output_source(opened.job))


def _schema(opened: OpenJob) -> pa.Schema:
    return output_schema(opened.rows, opened.rows.carried, opened.job.config.output.prefix)


def _write_requests(opened: OpenJob, parts: Sequence[Part], path: Path) -> Exported:
    """Write the request files of the rows without an answer, and remove those of an earlier export."""
    config = opened.job.config
    if not config.endpoint.provider.takes_batches:
        raise InvalidInput(f"--to {REQUESTS} is for {kinds(lambda one: one.takes_batches)}")
    directory = opened.job.whole.checkpoint_path
    journals = [part.journal for part in parts if part.journal is not None]
    written: list[Path] = []

    def record(draft: Path, target: Path) -> None:
        written.append(target)
        if journals:
            record_export(directory, draft, target)

    endpoint = make_endpoint(config.endpoint, None, config.known_models)
    planned = [(part.opened.rows, plan_unsaved(part.opened, part.journal)) for part in parts]
    owner = journals[0].checkpoint_id if journals else config.name
    rows, unsent = write_request_files(planned, endpoint, path, owner, record)
    for old in set(path.glob("requests-*.jsonl")) - set(written):
        if is_own_export(directory, old):
            old.unlink()
    return Exported(rows, {"without a request": unsent} if unsent else {})


def _check_options(to: str, options: ExportOptions) -> None:
    for name, formats in _ONLY_FOR.items():
        if getattr(options, name) and to not in formats:
            flag = "--" + name.replace("_", "-")
            raise InvalidInput(f"{flag} is for --to {' and '.join(formats)}; leave it out")
    if options.selection.vote is not None and to in (BATCH, REQUESTS, "preference"):
        raise InvalidInput(f"--vote picks one of a row's samples; --to {to} needs them all, so leave it out")
    if options.beside is not None and to in (BATCH, REQUESTS):
        raise InvalidInput(f"--with adds columns; --to {to} has none for them, so leave it out")
    if options.selection.columns is not None and to not in _OF_COLUMNS:
        raise InvalidInput(f"--columns is for shapes with columns; --to {to} has its own")


def _refuse_foreign(directory: Path, path: Path, to: str, *, overwrite: bool) -> None:
    if overwrite and to != FOLDER:
        if to == REQUESTS and os.path.lexists(path) and not path.is_dir():
            raise InvalidInput(f"{path} is not a directory; name another")
        return
    if to in (FOLDER, REQUESTS):
        if path.is_dir() and not path.is_symlink():
            if not any(path.iterdir()) or is_own_folder(directory, path):
                return
            raise InvalidInput(f"{path} holds what no export of this job wrote as it is; name another directory")
        if os.path.lexists(path):
            raise InvalidInput(f"{path} is not a directory; name another")
        return
    if os.path.lexists(path) and not is_own_export(directory, path):
        special = "is a symbolic link" if path.is_symlink() else None
        found = kind_of_special(path)
        special = special or (found and f"is {found}") or "exists, and no export of this job wrote it as it is"
        raise InvalidInput(f"{path} {special}; name another file, or say --overwrite")


def _facts(opened: OpenJob) -> JobFacts:
    config = opened.job.config
    parameters = config.parameters.model_dump(exclude_none=True, exclude=_swept_parameters(opened))
    facts = {
        "model": ", ".join(f"`{model}`" for model in opened.terms)
        + (", simulated: the answers are made up, and nothing was paid" if config.endpoint.is_simulator else ""),
        "prices": "; ".join(dict.fromkeys(_price_words(terms.price) for terms in opened.terms.values())),
        "parameters": ", ".join(f"`{name}: {value}`" for name, value in parameters.items()) or "the server's own",
    }
    if opened.rows.has_variants:
        facts["variants"] = ", ".join(f"`{variant.name}`" for variant in opened.rows.variants)
    return JobFacts(config.name, facts)


def _swept_parameters(opened: OpenJob) -> set[str]:
    return {str(path[1]) for path in opened.variants[0].swept if path[0] == "parameters"}


def _price_words(price: Price | None) -> str:
    if price is None:
        return "unknown"
    words = f"${price.input_usd_per_million} in, ${price.output_usd_per_million} out, per million tokens"
    return words + (f" (of {price.as_of})" if price.as_of else "")
