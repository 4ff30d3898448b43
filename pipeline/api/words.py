"""Messages that name Python's arguments where the command's name its flags."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from msgspec.structs import replace

from pipeline.catalogue import built_in
from pipeline.errors import GIVEN, InvalidJob, PipelineError

_Words = str | Callable[[re.Match[str]], str]

_FLAGS: tuple[tuple[re.Pattern[str], _Words], ...] = (
    (re.compile(r"; retry-failed --kind truncated sends [^;]*"), ""),
    (re.compile(r" \(run --shard I/\d+\)"), ""),
    (re.compile(r"--pilot N\b"), "pilot=N"),
    (re.compile(r"--on-change (refuse|rerun|keep)"), r'on_change="\1"'),
    (re.compile(r"--on-change"), "on_change"),
    (re.compile(r"--engine ray"), 'engine="ray"'),
    (re.compile(r"--address"), "address"),
    (re.compile(r"--no-wait"), "no_wait"),
    (re.compile(r"--set '?([a-z_.]+)=(?:…|VALUE)?'?"), r'overrides["\1"]'),
    (re.compile(r"--(limit|pilot|seed)\b"), r"\1"),
    (re.compile(r"`?pipeline run the job`?"), "call run()"),
    (re.compile(r"`pipeline models` lists what it has"), lambda _: f"it has {', '.join(built_in().names)}"),
)
_OF_ASK = (
    (re.compile(r"^input: "), "frame: "),
    (re.compile(r'on_change="rerun".*', re.DOTALL), "name another `checkpoint` to ask them anew"),
    (re.compile(r"set output\.prefix, .* in input\.columns"), "rename it in the frame"),
    (re.compile(r"; or set `prompt\.constant: true`.*"), ""),
    (re.compile(r"; for one that .* under `pricing:`"), ""),
    (re.compile(r"^add `pricing: .*"), "leave it out; only `Job` takes a price of your own"),
    (re.compile(r"; `backup` puts copies into a store"), ""),
    (re.compile(r"leave the key out"), "leave it out"),
    (re.compile(r'overrides\["([\w.]+)"\]'), r"\1"),
    (re.compile(r"\bprompt\.(user|system|samples)\b|\binput\.(id)\b|\bendpoint\.(model)\b"), r"\1\2\3"),
    (re.compile(r"\bcheckpoint\.path\b"), "checkpoint"),
    (re.compile(r"^output\.prefix$"), "frame"),
    (re.compile(f"^{GIVEN}$"), ""),
)


def in_python(message: str) -> str:
    """Return a message with the command's flags as arguments of the Python interface."""
    for flag, argument in _FLAGS:
        message = flag.sub(argument, message)
    return message


def in_ask(message: str) -> str:
    """Return a message of the Python interface with what `ask` takes in place of what `Job` takes."""
    for words, instead in _OF_ASK:
        message = words.sub(instead, message)
    return message


@contextmanager
def python_words(translate: Callable[[str], str] = in_python) -> Iterator[None]:
    """Raise errors of the package with messages that name Python's arguments.

    Anything else that is raised is a fault of the program; it becomes a PipelineError with that as its cause.
    """
    try:
        yield
    except InvalidJob as error:
        raise InvalidJob(
            [
                replace(
                    one,
                    message=translate(one.message),
                    file=None if one.file is None else translate(one.file) or None,
                    key=None if one.key is None else translate(one.key),
                    suggestion=None if one.suggestion is None else translate(one.suggestion),
                )
                for one in error.mistakes
            ]
        ) from error
    except PipelineError as error:
        error.args = tuple(translate(one) if isinstance(one, str) else one for one in error.args)
        raise
    except Exception as error:
        raise PipelineError(f"a fault of the program: {type(error).__name__}: {error}") from error
