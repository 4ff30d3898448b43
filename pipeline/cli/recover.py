"""`pipeline recover`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import click

from pipeline.cli.console import Console
from pipeline.cli.options import job_options, load_one, reported, shard_option
from pipeline.wording import counted

if TYPE_CHECKING:
    from pipeline.app.use_cases.recover import Recovery
    from pipeline.config import Shard


@click.command()
@job_options
@shard_option
@reported()
def recover(console: Console, job_file: str, overrides: Sequence[str], shard: Shard | None) -> None:
    """Rebuild a damaged checkpoint from everything intact in it and in the output.

    The damaged files are kept beside it. Sends nothing; the next `pipeline run` sends the remaining rows.
    """
    from pipeline.app.use_cases.recover import recover as make_sound

    job = load_one(job_file, overrides, shard)
    found = make_sound(job)
    console.result(_text(found, job_file, job.command("run")), found.as_json())


COMMANDS = (recover,)


def _text(found: Recovery, job_file: str, again: str) -> str:
    if found.was_sound:
        return f"{job_file}: the checkpoint is sound, with {counted(found.answers, 'answer')}; nothing was changed"
    others = f" and {counted(found.others, 'other record')}" if found.others else ""
    lines = [f"{job_file}: the checkpoint is sound again", f"  recovered  {counted(found.answers, 'answer')}{others}"]
    if found.lost:
        lines.append(
            f"  lost       at least {counted(found.lost, 'record')} of answers, failures or attempts; rows that are"
            " left without an answer will be asked again"
        )
    else:
        lines.append("  lost       nothing that is known of")
    if found.kept_at is not None:
        lines.append(f"  damaged    kept at {found.kept_at}")
    lines.append(f"  next       {again}")
    return "\n".join(lines)
