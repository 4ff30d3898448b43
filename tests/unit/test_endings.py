"""One table of endings: whatever else names an exit code or a word agrees with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.cli import commands
from pipeline.endings import Exit, StopKind
from pipeline.errors import ErrorKind, Interrupted, PipelineError, RunStopped
from pipeline.records import Failure
from pipeline.retry import Decision, decide
from pipeline.runner import Stop

REPOSITORY = Path(__file__).resolve().parents[2]


def errors(root: type[PipelineError] = PipelineError) -> Iterator[type[PipelineError]]:
    yield root
    for error in root.__subclasses__():
        yield from errors(error)


@pytest.mark.parametrize("error", [one for one in errors() if one not in (Interrupted, RunStopped)])
def test_an_error_ends_the_command_with_the_code_of_its_word(error: type[PipelineError]) -> None:
    assert error.exit_code == error.kind.exit


def test_a_signal_ends_a_command_and_a_run_with_the_code_of_its_number() -> None:
    assert Interrupted(15).exit_code == Stop(StopKind.INTERRUPTED, "", 15).exit_code == 143


def stops_a_job(kind: ErrorKind) -> bool:
    try:
        return decide(Failure(kind, "")) in (Decision.STOP, Decision.REFUSE)
    except KeyError:
        return False  # it is of a row or an answer, and never of a request


@pytest.mark.parametrize("kind", ErrorKind)
def test_whatever_refuses_the_job_has_a_word_that_ends_it(kind: ErrorKind) -> None:
    assert stops_a_job(kind) == (kind.name in StopKind.__members__)
    if stops_a_job(kind):
        assert str(StopKind[kind.name]) == str(kind)
        assert StopKind[kind.name].exit is Exit.REFUSED


@pytest.mark.parametrize("code", Exit)
def test_help_runbook_and_makefile_say_what_a_code_means(code: Exit) -> None:
    words = rf"\b{re.escape(code.codes)} +(\| )?{re.escape(code.meaning)}"
    assert re.search(words, commands.help or "")
    assert re.search(words, (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8"))
    if code is not Exit.DONE:  # nothing went wrong
        assert re.search(words, (REPOSITORY / "Makefile").read_text(encoding="utf-8").replace("\\`", "`"))
