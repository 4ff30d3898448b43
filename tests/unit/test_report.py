"""The parts of a report: figures taken in one by one, laid out on axes, drawn, and put into a page."""

from __future__ import annotations

import random
import re
import statistics
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pipeline.app.observe.summary import RunError
from pipeline.errors import InvalidInput
from pipeline.journal import Changes, Claim, Event, Journal, State
from pipeline.journal.outcome import Outcome, decode
from pipeline.plan import Plan
from pipeline.report.clock import TimeAxis
from pipeline.report.file import publish
from pipeline.report.histogram import Histogram, LogHistogram
from pipeline.report.markup import page_markup
from pipeline.report.page import JobState, Plot, page
from pipeline.report.projection import Figures, project
from pipeline.report.timeline import Timeline

NOON = 1_764_072_000.0
"""2025-11-25 12:00:00 UTC."""


# ---- histograms


def test_a_histogram_counts_every_value_in_few_bins_whatever_its_size() -> None:
    histogram, values = Histogram(), [0, 1, 7, 7, 300, 5_000, 2**62]
    for value in values:
        histogram.add(value)
    edges, counts = histogram.bars(40)
    assert sum(counts) == histogram.count == len(values)
    assert len(counts) <= 40
    assert len(edges) == len(counts) + 1
    assert edges[-2] <= 2**62 <= edges[-1]


def test_small_numbers_keep_a_bin_each() -> None:
    histogram = Histogram()
    for value in (3, 3, 3, 9):
        histogram.add(value)
    assert histogram.bars(40) == ([float(edge) for edge in range(11)], [0, 0, 0, 3, 0, 0, 0, 0, 0, 1])
    assert histogram.quantile(0.5) == 3
    assert histogram.quantile(1) == 9


def test_quantiles_of_latencies_are_within_two_percent() -> None:
    histogram, chance = LogHistogram(0.001), random.Random(5)
    values = sorted(chance.lognormvariate(0.3, 0.8) for _ in range(5_000))
    for value in values:
        histogram.add(value)
    edges, counts = histogram.bars(48)
    assert sum(counts) == 5_000
    assert len(counts) <= 49
    assert edges[0] <= values[0] < values[-1] <= edges[-1]
    for share in (0.5, 0.95, 0.99):
        assert histogram.quantile(share) == pytest.approx(values[int(share * 5_000)], rel=0.02)


@pytest.mark.parametrize("histogram", [Histogram(), LogHistogram(0.001)])
def test_without_values_there_are_no_bars_and_no_quantiles(histogram: Histogram | LogHistogram) -> None:
    assert histogram.bars(48)[1] == []
    assert histogram.quantile(0.5) is None


# ---- time


def test_a_long_job_takes_few_bins_and_loses_nothing() -> None:
    timeline, chance, at = Timeline(), random.Random(3), NOON
    for number in range(5_000):
        at += chance.expovariate(0.5)
        timeline.add(at, at + chance.uniform(1, 30), failed=number % 10 == 0, cost_usd=0.25)
    stretches = list(timeline.stretches())
    bins = [one for stretch in stretches for one in stretch.bins]
    assert len(bins) < 200
    assert (sum(one.answered for one in bins), sum(one.failed for one in bins)) == (4_500, 500)
    assert sum(one.cost_usd for one in bins) == 1_250
    assert all(len(stretch.edges) == len(stretch.bins) + 1 for stretch in stretches)


def test_requests_in_flight_are_the_mean_of_each_bin() -> None:
    timeline = Timeline()
    for lane in range(3):
        for second in range(0, 40, 4):
            timeline.add(NOON + second + lane, NOON + second + lane + 4, failed=False, cost_usd=0)
    (stretch,) = timeline.stretches()
    middle = [
        one.in_flight_seconds / (end - start)
        for one, start, end in zip(stretch.bins, stretch.edges, stretch.edges[1:], strict=False)
        if start > NOON + 3 and end < NOON + 39
    ]
    assert middle == pytest.approx([3.0] * len(middle))
    assert stretch.edges[0] == NOON
    assert stretch.edges[-1] == pytest.approx(NOON + 42, abs=timeline.width)


def test_runs_days_apart_leave_each_other_room_on_the_axis() -> None:
    timeline = Timeline()
    for day in range(3):
        for second in range(60):
            start = NOON + day * 86_400 + second
            timeline.add(start, start + 1, failed=False, cost_usd=1)
    axis = TimeAxis.of(timeline)
    assert axis is not None
    assert [len(bins) * axis.width for _, bins in axis.stretches] == pytest.approx([61] * 3, abs=2 * axis.width)
    assert len(axis.cuts) == 2
    assert 183 <= axis.end < 200
    assert [label.partition("\n")[2] for _, label in axis.ticks if "\n" in label] == ["25 Nov", "26 Nov", "27 Nov"]


def test_a_pause_within_a_run_stands_on_the_axis_as_it_was() -> None:
    timeline = Timeline()
    for second in [*range(300), *range(350, 600)]:
        timeline.add(NOON + second, NOON + second + 1, failed=False, cost_usd=0)
    axis = TimeAxis.of(timeline)
    assert axis is not None
    assert (len(axis.stretches), axis.cuts) == (1, [])
    assert axis.end == pytest.approx(600, abs=axis.width)
    assert [label for _, label in axis.ticks] == ["12:00\n25 Nov", "12:02", "12:04", "12:06", "12:08", "12:10"]


def test_a_request_that_seems_to_last_a_year_does_no_harm() -> None:
    timeline = Timeline()
    timeline.add(NOON, NOON + 1, failed=False, cost_usd=0)
    timeline.add(NOON, NOON + 31_000_000, failed=False, cost_usd=0)
    assert sum(len(stretch.bins) for stretch in timeline.stretches()) <= 121
    assert TimeAxis.of(timeline) is not None


def test_where_nothing_was_sent_there_is_no_axis() -> None:
    assert TimeAxis.of(Timeline()) is None


# ---- the journal


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    Journal.create(tmp_path, job="job", simulated=False)
    with closing(Journal.write(tmp_path)) as found:
        yield found


def event(
    position: int,
    state: State,
    *,
    row_id: str | None = None,
    latency: float = 1.0,
    cost: str | None = "0.001",
    **record: Any,
) -> Event:
    """Something that happened to a row: an attempt of its own."""
    facts = {
        "attempts": 1,
        "cost_usd": cost,
        "failed_runs": 0,
        "http_status": 200,
        "latency_seconds": latency,
        "started_at": NOON + position,
        "finished_at": NOON + position + latency,
        "billed_usd": cost,
        "possibly_billed": None,
        "tokens": 30,
        "prompt_tokens": 10,
        "completion_tokens": 20,
    }
    found = decode({**facts, **record})
    return Event(1, position, state, row_id or f"row-{position}", f"{position:032x}", 1, "", found)


def failure(position: int, state: State, kind: str, **record: Any) -> Event:
    nothing = {"prompt_tokens": None, "completion_tokens": None, "tokens": 0}
    return event(position, state, cost=None, **{**nothing, "error_kind": kind, "error_message": f"no {kind}", **record})


def plan_of(journal: Journal, rows: int) -> Plan:
    plan = Plan(
        number=1,
        fingerprint="",
        digest="",
        latest=np.zeros(rows, np.uint64),
        repeated=np.zeros(0, np.uint32),
        occurrences=np.zeros(0, np.uint32),
        orphaned=0,
    )
    plan.apply(journal.places())
    return plan


def test_each_attempt_counts_once_and_each_row_by_what_stands(journal: Journal) -> None:
    journal.commit(
        Changes(
            [
                failure(0, State.ATTEMPTED, "timeout"),
                event(0, State.ANSWERED, latency=5.0, attempts=2),
                failure(1, State.ATTEMPTED, "timeout"),
                failure(1, State.FAILED_PASSING, "timeout", tokens=None),
                failure(2, State.FAILED, "bad_request"),
                failure(3, State.FAILED, "empty_prompt", tokens=None, latency_seconds=None, finished_at=None),
                event(4, State.ANSWERED, cost="0.009", truncated=True),
                event(4, State.ANSWERED, cost="0.002"),
                event(5, State.UNPRICED, cost=None, prompt_tokens=None, completion_tokens=None),
            ]
        )
    )
    figures = project(journal, plan_of(journal, 6))
    assert (figures.requests, figures.failed_requests) == (7, 3)
    assert (figures.prompt_tokens, figures.completion_tokens) == (30, 60)
    assert {name: (kind.rows, kind.attempts, kind.examples) for name, kind in figures.kinds.items()} == {
        "timeout": (1, 2, ["row-1", "row-0"]),
        "bad_request": (1, 1, ["row-2"]),
        "empty_prompt": (1, 0, ["row-3"]),
    }
    assert figures.kinds["timeout"].message == "no timeout"
    assert [row.row_id for row in figures.slowest.rows] == ["row-0", "row-1", "row-2", "row-4", "row-5"]
    assert [(row.row_id, row.cost_usd) for row in figures.costliest.rows] == [
        ("row-4", Decimal("0.002")),
        ("row-0", Decimal("0.001")),
    ]
    assert figures.truncated == 0  # the answer that was is replaced
    assert figures.latency_seconds.count == 3
    bins = [one for stretch in figures.timeline.stretches() for one in stretch.bins]
    assert sum(one.cost_usd for one in bins) == pytest.approx(0.012)  # what was replaced was paid for all the same
    assert (sum(one.answered for one in bins), sum(one.failed for one in bins)) == (4, 3)


def test_tables_are_bounded_and_hold_the_largest(journal: Journal) -> None:
    latencies = [random.Random(1).uniform(0, 9) for _ in range(500)]
    journal.commit(
        Changes(
            [
                event(number, State.ANSWERED, latency=latency, cost=str(latency), truncated=True)
                for number, latency in enumerate(latencies)
            ]
        )
    )
    figures = project(journal, plan_of(journal, 500))
    largest = sorted(latencies, reverse=True)[:10]
    assert [row.latency_seconds for row in figures.slowest.rows] == largest
    assert [float(row.cost_usd or 0) for row in figures.costliest.rows] == largest
    assert (figures.truncated, list(figures.truncated_rows)) == (500, list(range(1, 11)))
    assert figures.latency_seconds.quantile(0.5) == pytest.approx(statistics.median(latencies), rel=0.02)


def test_an_answer_that_was_taken_over_stands_under_the_row_that_has_it_now(journal: Journal) -> None:
    journal.commit(Changes([event(0, State.ANSWERED, row_id="old", truncated=True)]))
    journal.commit(Changes([Event(2, 0, State.ADOPTED, "new", "0" * 32, 1, "", Outcome(source=1))], plan=2))
    plan = plan_of(journal, 1)
    plan.number = 2
    plan.apply(journal.places())
    figures = project(journal, plan)
    assert figures.requests == 1
    assert [row.row_id for row in figures.slowest.rows] == ["new"]
    assert [row.row_id for row in figures.truncated_rows.values()] == ["new"]


def test_an_attempt_in_vain_for_a_longer_answer_counts_as_one_and_the_row_keeps_what_it_has(journal: Journal) -> None:
    journal.commit(Changes([event(0, State.ANSWERED, truncated=True), failure(0, State.ADOPTED, "timeout", source=1)]))
    figures = project(journal, plan_of(journal, 1))
    assert (figures.requests, figures.failed_requests, figures.truncated) == (2, 1, 1)
    assert (figures.kinds["timeout"].attempts, figures.kinds["timeout"].rows) == (1, 0)


def test_requests_in_flight_count_while_a_run_is_under_way(journal: Journal) -> None:
    journal.commit(Changes(claims=[Claim(1, 1, 0, "row-0", "0" * 32, 1, "", NOON, "0.1", 5, Outcome())]))
    assert TimeAxis.of(project(journal, None).timeline) is None
    (stretch,) = project(journal, None, NOON + 8).timeline.stretches()
    assert sum(one.in_flight_seconds for one in stretch.bins) == 8


def test_a_request_counts_for_the_run_that_sent_it(journal: Journal) -> None:
    for run in ("20251125T115900Z-a", "no time", "20251125T120005Z-b"):
        journal.register_run(run)
    journal.commit(Changes([event(0, State.ANSWERED, latency=9.0), failure(1, State.ATTEMPTED, "timeout")]))
    journal.commit(Changes([event(5, State.ANSWERED), event(6, State.ANSWERED, cost=None)]))
    first, unknown, second = project(journal, None).runs.rows
    assert (first.requests, first.answers, first.cost_usd) == (2, 1, Decimal("0.001"))
    assert (first.started, first.last_reply) == (NOON - 60, NOON + 9)
    assert (unknown.started, unknown.requests) == (None, 0)
    assert (second.requests, second.answers, second.cost_usd) == (2, 2, Decimal("0.001"))


def test_the_last_runs_are_shown_and_how_the_last_one_ended(journal: Journal) -> None:
    ids = [f"20251125T11{minute:02}00Z-x" for minute in range(12)]
    for run in ids:
        journal.register_run(run)
    journal.commit(Changes([event(0, State.ANSWERED)]))
    error = RunError("payment_required", "402")
    text = whole_page(project(journal, None), runs=ids, status="stopped", status_of=ids[-1], error=error)
    text = " ".join(re.sub(r"<[^>]+>", " ", text).replace(" : ", ": ").split())
    assert "Runs the last 10 of 12" in text
    assert ids[1] not in text and ids[2] in text
    assert f"{ids[-1]} 2025-11-25 11:11:00 UTC 2025-11-25 12:00:01 UTC 1 1 0.001000 stopped: payment_required" in text


def test_what_to_do_next_is_shown_with_its_reason() -> None:
    text = whole_page(Figures(), next_steps=[("pipeline run 'a <b>.yaml'", "once the endpoint works again")])
    assert "<code>pipeline run &#39;a &lt;b&gt;.yaml&#39;</code>" in text
    assert "once the endpoint works again" in text
    assert "What to do next" not in whole_page(Figures())


def test_the_share_of_truncated_answers_stands_out(journal: Journal) -> None:
    journal.commit(Changes([event(0, State.ANSWERED, truncated=True), event(1, State.ANSWERED)]))
    rows = {
        "rows": 2,
        "succeeded": 2,
        "failed": 0,
        "pending": 0,
        "unpriced_rows": 0,
        "job_cost_usd": Decimal(0),
        "possibly_billed_usd": Decimal(0),
    }
    text = whole_page(project(journal, None), rows=rows)
    assert '<span class="warn">1 truncated (50.0%)</span>' in text
    assert '<rect x="1" width="1" height="1" fill="var(--warn)"/>' in text


def test_a_label_at_the_end_of_the_time_axis_ends_there(journal: Journal) -> None:
    journal.commit(Changes([event(position, State.ANSWERED, latency=5.0) for position in range(0, 60, 5)]))
    (cost, *_) = drawn(project(journal, None), max_cost_usd=None)
    labels = re.findall(r'text-anchor="(\w+)"[^>]*>(\d\d:\d\d:\d\d)<', cost.markup)
    assert labels[-1] == ("end", "12:01:00")
    assert {anchor for anchor, _ in labels[:-1]} == {"middle"}


def test_without_a_plan_every_outcome_counts(journal: Journal) -> None:
    journal.commit(Changes([event(0, State.ANSWERED), failure(1, State.FAILED, "bad_request")]))
    figures = project(journal, None)
    assert figures.latency_seconds.count == 1
    assert figures.kinds["bad_request"].rows == 1


# ---- plots and page


SVG = """<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"
 width="9pt" viewBox="0 0 9 9">
<metadata><b/></metadata><defs><style type="text/css">*{}</style><path id="mark" style="stroke: #000001"/></defs>
<g id="axes"><use xlink:href="#mark" x="1.23456" style="stroke: #000001; font-family: Arial"/>
<rect clip-path="url(#mark)" style="fill: none"/><text style="font-size: 9px">1.5</text></g></svg>"""


def test_a_plot_has_no_style_of_its_own_and_ids_of_its_own() -> None:
    markup = page_markup(SVG, "cost", 'a "title"', {"#000001": "--main"})
    assert markup == (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9" class="plot" role="img"'
        ' aria-label="a &quot;title&quot;">'
        '<defs><path id="cost-mark" stroke="var(--main)" /></defs>'
        '<g><use href="#cost-mark" x="1.23" stroke="var(--main)" />'
        '<rect clip-path="url(#cost-mark)" fill="none" /><text font-size="9px">1.5</text></g></svg>'
    )


def test_a_colour_without_a_name_is_a_fault() -> None:
    with pytest.raises(KeyError):
        page_markup(SVG, "cost", "title", {})


HOSTILE = "<script>alert(1)</script>\"'\x1b[31m\u202e&amp;\ud800"


def job_state(**changed: Any) -> JobState:
    found: dict[str, Any] = {
        "job": "job",
        "model": "a model",
        "endpoint": "an address",
        "is_simulated": False,
        "status": "failed_rows",
        "error": None,
        "moment": NOON + 3_600,
        "in_flight": None,
        "status_of": None,
        "next_steps": [],
        "plan": [("done", 3, "have an answer")],
        "runs": ["20251125T120000Z-abcdef"],
        "version": "1",
        "configuration": {"name": "job"},
        "rows": {
            "rows": 3,
            "succeeded": 1,
            "failed": 1,
            "pending": 1,
            "unpriced_rows": 1,
            "job_cost_usd": Decimal("0.001"),
            "possibly_billed_usd": Decimal(0),
        },
    }
    return JobState(**{**found, **changed})


def drawn(figures: Figures, max_cost_usd: float | None) -> list[Plot]:
    from pipeline.report.plots import draw  # brings matplotlib, which not every process that collects tests needs

    return draw(figures, concurrency=4, max_cost_usd=max_cost_usd)


def whole_page(figures: Figures, **changed: Any) -> str:
    return page(figures, drawn(figures, 1.0), job_state(**changed))


def test_nothing_that_others_wrote_is_markup_or_hidden(journal: Journal) -> None:
    hostile = HOSTILE.replace("\ud800", "")  # the journal itself takes no lone surrogate
    journal.commit(
        Changes(
            [
                event(0, State.ANSWERED, row_id=hostile, truncated=True),
                failure(1, State.FAILED, "bad_request", row_id=hostile + "2", error_message=hostile),
            ]
        )
    )
    text = whole_page(
        project(journal, None),
        model=HOSTILE,
        endpoint=HOSTILE,
        configuration={"input": {"path": [HOSTILE]}},
        plan=[(HOSTILE, 1, HOSTILE)],
        runs=[HOSTILE],
        version=HOSTILE,
    )
    assert "<script" not in text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&#34;&#39;\\x1b[31m\\u202e&amp;amp;\\ud800" in text
    assert all(char.isprintable() or char == "\n" for char in text)
    assert text.count("&lt;script&gt;") >= 10
    text.encode()


def test_a_page_needs_nothing_else_and_allows_nothing_else(journal: Journal) -> None:
    journal.commit(Changes([event(number, State.ANSWERED) for number in range(50)]))
    text = whole_page(project(journal, None))
    assert "default-src 'none'; style-src 'sha256-" in text
    assert not re.search(r"<script|<iframe|<object|<embed|\son\w+=|\sstyle=|javascript:|@import", text)
    addresses = set(re.findall(r"""(?:src|href)="([^"]*)"|url\(([^)]*)\)""", text))
    assert all(address[0] == "data:," or (address[0] or address[1]).startswith("#") for address in addresses), addresses
    assert text.count("<svg") >= 6
    ids = re.findall(r' id="([^"]+)"', text)
    assert len(ids) == len(set(ids))
    assert all(reference in ids for reference in re.findall(r"url\(#([^)]+)\)", text))


def test_letters_stand_out_from_what_is_behind_them_in_every_scheme() -> None:
    """By WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    light, dark = re.findall(r":root \{(.*?)\}", files("pipeline.report").joinpath("page.css").read_text(), re.DOTALL)
    for scheme in (light, dark):
        colors = dict(re.findall(r"--(\w+): (#\w+);", scheme))
        for letters in ("text", "muted", "main", "bad", "good", "warn"):
            for behind in ("page", "surface"):
                assert contrast(colors[letters], colors[behind]) >= 4.5, (letters, behind, scheme)


def contrast(one: str, other: str) -> float:
    """https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio"""
    lighter, darker = sorted((luminance(one), luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def luminance(color: str) -> float:
    digits = color[1:] if len(color) == 7 else "".join(2 * digit for digit in color[1:])
    parts = [int(digits[at : at + 2], 16) / 255 for at in (0, 2, 4)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_figures_read_as_people_write_them(journal: Journal) -> None:
    journal.commit(Changes([event(number, State.ANSWERED, latency=1.5, prompt_tokens=1_000) for number in range(3)]))
    text = re.sub(r"<[^>]+>|\s+", " ", whole_page(project(journal, None)).partition("</style>")[2])
    assert "finished, some rows failed" in text
    assert "first request 2025-11-25 12:00:00 UTC" in text
    assert "1 of 3 " in text.replace("  ", " ")
    assert "$0.0010" in text
    assert "$0.001 without 1 answer of unknown cost " in text and "exactly" not in text
    assert "3,000 of prompts" in text


def test_prompts_are_shown_by_their_length_alone() -> None:
    configuration = {
        "name": "job",
        "prompt": {"system": "be brief", "user": "{{ question }}", "column": None},
        "input": {"path": "${DATA}", "csv": {"delimiter": ","}},
        "limits": {"timeout_seconds": 300.0},
        "parameters": {"max_tokens": {"column": "most"}},
    }
    text = whole_page(Figures(), configuration=configuration)
    assert "be brief" not in text
    assert "question" not in text
    pairs = dict(re.findall(r"<tr><th>([^<]+)</th><td><bdi>([^<]*)</bdi></td></tr>", text))
    assert pairs == {
        "name": "job",
        "system": "a text of 8 characters",
        "user": "a text of 14 characters",
        "path": "${DATA}",
        "csv.delimiter": ",",
        "timeout_seconds": "300",
        "max_tokens.column": "most",
    }


def test_a_job_of_no_rows_has_a_page_without_plots() -> None:
    nothing = dict.fromkeys(("rows", "succeeded", "failed", "pending", "unpriced_rows"), 0)
    text = whole_page(Figures(), rows={**nothing, "job_cost_usd": Decimal(0), "possibly_billed_usd": Decimal(0)})
    assert "No request has been sent so far." in text
    assert "<figure" not in text


def test_a_file_that_has_come_to_stand_there_meanwhile_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "report.html"
    publish(whole_page(Figures()), path, "job", "c" * 16, overwrite=False)
    publish(whole_page(Figures(), status="succeeded"), path, "job", "c" * 16, overwrite=False)
    assert "every row answered" in path.read_text(encoding="utf-8")
    with pytest.raises(InvalidInput, match="no report of the job 'other'"):
        publish(whole_page(Figures(), job="other"), path, "other", "c" * 16, overwrite=False)
    assert [found.name for found in path.parent.iterdir()] == ["report.html"]
    assert "every row answered" in path.read_text(encoding="utf-8")
    publish(whole_page(Figures(), job="other"), path, "other", "c" * 16, overwrite=True)
    assert "every row answered" not in path.read_text(encoding="utf-8")


def test_what_is_not_known_is_not_shown_as_nought() -> None:
    unknown = dict.fromkeys(("rows", "succeeded", "failed", "pending", "unpriced_rows"))
    text = whole_page(
        Figures(), plan=[], rows={**unknown, "job_cost_usd": Decimal(0), "possibly_billed_usd": Decimal(0)}
    )
    assert "\N{EN DASH} failed" in text
    assert "Not known: the last run was cut off while it planned." in text
