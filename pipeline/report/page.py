"""The figures of a report -> one HTML page that needs nothing else: no network, no script, no markup but our own."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from importlib.resources import files
from typing import Any

from jinja2 import DictLoader, Environment, StrictUndefined
from markupsafe import Markup
from msgspec import Struct
from msgspec.structs import asdict

from pipeline.records import JsonObject
from pipeline.report.projection import MOST_ROWS, Figures
from pipeline.wording import money, rounded_money

_UNKNOWN = "\N{EN DASH}"
_PRIVATE = (
    ("prompt", "system"),
    ("prompt", "user"),
    ("prompt", "examples"),
    ("sweep", "prompt.system"),
    ("sweep", "prompt.user"),
    ("sweep", "prompt.examples"),
)
"""Keys of the configuration whose values are not shown: they are what is asked."""


_POLICY = "default-src 'none'; style-src 'sha256-{}'; img-src data:; base-uri 'none'; form-action 'none'"


class Plot(Struct, frozen=True):
    """A plot in the page: its heading with the unit, its markup, how to read it, and the names of its colors, given as
    variables of the style sheet.
    """

    title: str
    markup: Markup
    note: str
    is_wide: bool = False
    legend: Sequence[tuple[str, str]] = ()


class JobState(Struct, frozen=True):
    """The state of a job, in addition to its events. Counts and money are the job's, None if unknown.

    `status` is a stable word of `pipeline status`, and `status_of` the id of the run that it is of; `error` has a kind
    and a message; `in_flight` is None where no run is under way; `moment` is in Unix seconds; `plan` has the name of a
    state, its rows, and what it means; `next_steps` are commands, each with why it helps.
    """

    job: str
    model: str
    endpoint: str
    is_simulated: bool
    status: str
    error: Any
    moment: float
    rows: Mapping[str, int | Decimal | None]
    in_flight: int | None
    plan: Sequence[tuple[str, int, str]]
    runs: Sequence[str]
    status_of: str | None
    next_steps: Sequence[tuple[str, str]]
    configuration: JsonObject
    version: str


class _State(Struct, frozen=True):
    word: str
    tone: str


_STATES = {
    "succeeded": _State("every row answered", "good"),
    "failed_rows": _State("finished, some rows failed", "warn"),
    "partial": _State("partly sent", "warn"),
    "running": _State("running", "busy"),
    "stopped": _State("stopped", "bad"),
    "interrupted": _State("interrupted", "bad"),
    "kept": _State("old answers kept", "good"),
}


def page(figures: Figures, plots: Sequence[Plot], state: JobState) -> str:
    """Return the page."""
    style = _resource("page.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    kinds = sorted(figures.kinds.items(), key=lambda found: (-found[1].rows, -found[1].attempts, found[0]))
    text: str = (
        _environment()
        .get_template("page.html")
        .render(
            asdict(state),
            marks=marks(state.job),
            policy=Markup(_POLICY.format(digest)),
            style=Markup(style),
            state=_STATES.get(state.status, _State(state.status.replace("_", " "), "busy")),
            figures=figures,
            kinds=kinds,
            plots=plots,
            truncated=list(figures.truncated_rows.values()),
            configuration=list(_sections(state.configuration)),
            has_cuts=len(list(figures.timeline.stretches())) > 1,
            most_rows=MOST_ROWS,
        )
    )
    return text


def marks(job: str) -> Markup:
    """Return the text in the head of a job's reports that shows that a file is one."""
    generator = Markup('<meta name="generator" content="llm-batch-pipeline report">\n')
    return generator + Markup('<meta name="job" content="{}">').format(job)


def _environment() -> Environment:
    environment = Environment(
        loader=DictLoader({"page.html": _resource("page.html")}),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
    )
    environment.filters.update(
        number=_number, short_number=_short_number, seconds=_seconds, usd=_usd, stamp=_stamp, short=_short, share=_share
    )
    return environment


def _resource(name: str) -> str:
    return files("pipeline.report").joinpath(name).read_text(encoding="utf-8")


def _visible(value: Any) -> Any:
    """Return a text without control characters and without marks that change its direction."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return "".join(char if char.isprintable() else repr(char)[1:-1] for char in value)
    return value


def _short(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _number(value: int | None) -> str:
    return _UNKNOWN if value is None else f"{value:,}"


def _share(value: float | None) -> str:
    return _UNKNOWN if value is None else f"{value:.1%}"


def _short_number(value: int) -> str:
    return f"{value:,}" if value < 10_000_000 else f"{value / 1_000_000:,.1f} M"


def _seconds(value: float | None) -> str:
    if value is None:
        return _UNKNOWN
    return f"{value:,.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"


def _usd(amount: Decimal | None, decimals: int | None = None) -> str:
    """Return exact decimal text, or rounded text."""
    if amount is None:
        return _UNKNOWN
    return money(amount) if decimals is None else rounded_money(amount, decimals)


def _stamp(seconds: float) -> str:
    try:
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return _UNKNOWN


def _sections(configuration: JsonObject) -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Yield the configuration's sections, each with the keys that are set and their values as text."""
    yield "job", list(_pairs({key: value for key, value in configuration.items() if not isinstance(value, Mapping)}))
    for name, section in configuration.items():
        if isinstance(section, Mapping):
            yield name, list(_pairs(section, (name,)))


def _pairs(section: JsonObject, path: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    for key, value in section.items():
        below = (*path, key)
        if isinstance(value, Mapping):
            yield from _pairs(value, below)
        elif value not in (None, ""):
            yield ".".join(below[1:] or below), _size(value) if below[:2] in _PRIVATE else _text(value)


def _size(value: Any) -> str:
    """Return how much a value is that is not shown."""
    return f"a text of {len(value):,} characters" if isinstance(value, str) else f"{len(value):,} not shown"


def _text(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(_text, value))
    return str(value).lower() if isinstance(value, bool) else str(value).removesuffix(".0")
