"""How a command that is suggested to the user names the job."""

from __future__ import annotations

import shlex
from collections.abc import Collection, Sequence

from msgspec import Struct

from pipeline.config.reading.source import has_secret
from pipeline.config.shard import Shard


class JobCall(Struct, frozen=True):
    """The job file, the `--set`s and the `--shard` of a command: every suggested command has to repeat them."""

    file: str
    overrides: Sequence[str] = ()
    shard: Shard | None = None

    def command(self, name: str, *flags: str, without: Collection[str] = ()) -> str:
        """Return `pipeline NAME JOB …` as it can be typed into a shell. A value that may be a secret appears as `…`.

        Args:
            name: the command.
            flags: further words of the command, not quoted yet.
            without: keys whose `--set` is left out, because one of the flags sets them.
        """
        words = ["pipeline", name, self.file]
        for override in self.overrides:
            key, separator, _ = override.partition("=")
            if key.strip() not in without:
                words += ["--set", f"{key}{separator}…" if has_secret(override) else override]
        if self.shard is not None:
            words += ["--shard", str(self.shard)]
        # A job file whose name begins with a dash would be read as a flag.
        words[2] = f"./{self.file}" if self.file.startswith("-") else self.file
        return shlex.join([*words, *flags])
