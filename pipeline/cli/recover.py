"""`pipeline recover`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console
from pipeline.cli.options import ended, job_options, load

if TYPE_CHECKING:
    from pipeline.app.recover import Recovery


@click.command()
@job_options
def recover(job_file: str, overrides: Sequence[str], is_json: bool) -> None:
    """Make a damaged checkpoint sound again, of all that is whole in it and in the output.

    The damaged files are kept beside it. Sends nothing; `pipeline run` then goes on with what is left to ask.
    """
    console = Console(is_json)

    def action() -> None:
        from pipeline.app.recover import recover as make_sound

        found = make_sound(load(job_file, overrides))
        console.result(_text(found, job_file), found.as_json())

    ended(console, action)


COMMANDS = (recover,)


def _text(found: Recovery, job_file: str) -> str:
    if found.was_sound:
        return f"{job_file}: the checkpoint is sound, with {found.answers:,} answers; nothing was changed"
    others = f" and {found.others:,} other records" if found.others else ""
    lines = [f"{job_file}: the checkpoint is sound again", f"  recovered  {found.answers:,} answers{others}"]
    if found.lost:
        lines.append(
            f"  lost       at least {found.lost:,} records of answers, failures or attempts; rows that are left without"
            " an answer will be asked again"
        )
    else:
        lines.append("  lost       nothing that is known of")
    if found.kept_at is not None:
        lines.append(f"  damaged    kept at {found.kept_at}")
    lines.append(f"  next       pipeline run {job_file}")
    return "\n".join(lines)
