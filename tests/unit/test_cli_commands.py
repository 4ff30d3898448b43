"""Command lines that are wrong, and names of commands that there are not."""

from __future__ import annotations

import re

import click
import pytest
from click.testing import CliRunner

from pipeline.app.use_cases.export import FOLDER, REQUESTS, WRITERS
from pipeline.cli import _OTHER_NAMES, commands, run_command


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("resume", "run"),
        ("start", "run"),
        ("retry", "retry-failed"),
        ("metrics", "status"),
        ("config", "validate"),
        ("Resume", "run"),
        ("statsu", "status"),
        ("retry_failed", "retry-failed"),
    ],
)
def test_a_command_that_there_is_not_is_told_which_one_is_meant(written: str, meant: str) -> None:
    found = CliRunner().invoke(commands, [written, "job.yaml"])
    assert found.exit_code == 2
    assert f"there is no command '{written}'; did you mean `pipeline {meant}`?" in found.output


def test_a_command_that_is_like_none_is_told_where_they_stand() -> None:
    found = CliRunner().invoke(commands, ["zzz"])
    assert (found.exit_code, "see `pipeline --help`" in found.output) == (2, True)


def test_no_name_of_another_tool_is_one_of_our_commands() -> None:
    assert not _OTHER_NAMES.keys() & commands.commands.keys()


def test_every_shape_of_an_export_can_be_chosen() -> None:
    """The command lists them itself, because to ask the writers would take longer than `--help` may."""
    shape = next(option for option in commands.commands["export"].params if option.name == "to")
    assert isinstance(shape.type, click.Choice)
    assert sorted(shape.type.choices) == sorted([*WRITERS, FOLDER, REQUESTS])


@pytest.mark.parametrize("arguments", [["control", "job.yaml"], ["export", "job.yaml", "answers.csv"]])
def test_what_is_missing_is_told_in_one_line_with_its_choices(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_command(arguments) == 2
    said = capsys.readouterr().err
    assert re.fullmatch(r"pipeline: Missing (argument|option) .*Choose from: \S+, .*\n", said)
