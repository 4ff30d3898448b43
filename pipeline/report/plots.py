"""The plots of a report, drawn by matplotlib from binned figures. Needs the extra `report`."""

from __future__ import annotations

import io
import logging
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from pipeline.report.clock import TimeAxis
from pipeline.report.histogram import Histogram, LogHistogram
from pipeline.report.markup import page_markup
from pipeline.report.page import Plot
from pipeline.report.projection import Figures

# It warns of its font cache where it cannot keep one.
logging.getLogger("matplotlib").setLevel(logging.ERROR)

_COLORS = {
    "#000001": "--text",
    "#000002": "--muted",
    "#000003": "--grid",
    "#000004": "--main",
    "#000005": "--bad",
}
"""The colors that plots are drawn with, and their variables in the style sheet."""

TEXT, MUTED, GRID, MAIN, BAD = _COLORS
_WIDE, _NARROW = (11.5, 2.1), (3.67, 2.0)
"""Width and height in inches, so that letters come out in one size where the page is as wide as it gets."""
_MARGINS = {"left": 0.06, "right": 0.995, "bottom": 0.2, "top": 0.95}
_BARS = 48
_ROOM_FOR_MARKS = 0.16
_ROOM_FOR_HALF_A_LABEL = 0.03
_LATENCY_TICKS = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)
_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.size": 9,
    "text.color": TEXT,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": MUTED,
    "axes.facecolor": "none",
    "axes.grid.axis": "y",
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": GRID,
    "grid.linewidth": 0.8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "ytick.major.size": 0,
    "figure.facecolor": "none",
}


def draw(figures: Figures, *, concurrency: int, max_cost_usd: float | None) -> list[Plot]:
    """Return every plot for which there is something to show. `concurrency` and `max_cost_usd` are the job's limits."""
    found: list[Plot] = []
    axis = TimeAxis.of(figures.timeline)
    with rc_context(_STYLE):
        if axis is not None:
            found += [_throughput(axis), _concurrency(axis, concurrency)]
            if any(one.cost_usd for _, bins in axis.stretches for one in bins):
                found.insert(0, _cost(axis, max_cost_usd))
        if figures.latency_seconds.count:
            found.append(_latency(figures.latency_seconds))
        if figures.tokens_of_prompts.count:
            found.append(_tokens(figures.tokens_of_prompts, "prompt", "Prompt length, tokens"))
        if figures.tokens_of_answers.count:
            found.append(_tokens(figures.tokens_of_answers, "answer", "Answer length, tokens"))
    return found


# ---- over time


def _cost(axis: TimeAxis, most: float | None) -> Plot:
    figure, axes = _axes(_WIDE)
    spent = 0.0
    for edges, bins in axis.stretches:
        line = [spent, *(spent := spent + one.cost_usd for one in bins)]
        axes.fill_between(edges, line, color=MAIN, alpha=0.14, linewidth=0)
        axes.plot(edges, line, color=MAIN, linewidth=1.8)
    if most is not None and most <= 2 * spent:
        _level(axes, axis, most, "limits.max_cost_usd")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"${value:,.10g}"))
    _over_time(axes, axis)
    return _plot(figure, "cost", "Cost so far, USD", "What is known to have been billed, added up.", is_wide=True)


def _throughput(axis: TimeAxis) -> Plot:
    figure, axes = _axes(_WIDE)
    for edges, bins in axis.stretches:
        minutes = [(end - start) / 60 for start, end in pairwise(edges)]
        answered = [one.answered / width for one, width in zip(bins, minutes, strict=True)]
        both = [(one.answered + one.failed) / width for one, width in zip(bins, minutes, strict=True)]
        axes.stairs(answered, edges, fill=True, color=MAIN, alpha=0.7, linewidth=0)
        axes.stairs(both, edges, baseline=answered, fill=True, color=BAD, alpha=0.85, linewidth=0)
    _over_time(axes, axis)
    has_failures = any(one.failed for _, bins in axis.stretches for one in bins)
    legend = (("answered", _COLORS[MAIN]), ("failed", _COLORS[BAD])) if has_failures else ()
    return _plot(
        figure,
        "throughput",
        "Throughput, requests per minute",
        f"By when they ended, in bins of {_duration(axis.width)}.",
        is_wide=True,
        legend=legend,
    )


def _concurrency(axis: TimeAxis, most: int) -> Plot:
    figure, axes = _axes(_WIDE)
    highest = 0.0
    for edges, bins in axis.stretches:
        widths = [end - start for start, end in pairwise(edges)]
        in_flight = [one.in_flight_seconds / width for one, width in zip(bins, widths, strict=True)]
        highest = max(highest, *in_flight)
        axes.stairs(in_flight, edges, fill=True, color=MAIN, alpha=0.14, linewidth=0)
        axes.stairs(in_flight, edges, color=MAIN, linewidth=1.4, baseline=None)
    if most <= 3 * highest:
        _level(axes, axis, most, "limits.concurrency")
    _over_time(axes, axis)
    return _plot(
        figure,
        "concurrency",
        "Concurrency, requests in flight",
        f"The mean of each bin of {_duration(axis.width)}.",
        is_wide=True,
    )


def _over_time(axes: Axes, axis: TimeAxis) -> None:
    axes.set_xlim(0, axis.end)
    axes.set_xticks([position for position, _ in axis.ticks], [label for _, label in axis.ticks])
    for label, (position, _) in zip(axes.get_xticklabels(), axis.ticks, strict=True):
        if position > axis.end * (1 - _ROOM_FOR_HALF_A_LABEL):
            label.set_horizontalalignment("right")
    for cut in axis.cuts:
        axes.axvline(cut, color=MUTED, linewidth=0.8, linestyle=(0, (1.5, 2.5)))


def _level(axes: Axes, axis: TimeAxis, value: float, name: str) -> None:
    axes.axhline(value, color=MUTED, linewidth=1, linestyle=(0, (4, 3)))
    axes.annotate(name, (axis.end, value), (0, 3), textcoords="offset points", ha="right", color=MUTED, fontsize=8)


# ---- distributions


def _latency(histogram: LogHistogram) -> Plot:
    figure, axes = _axes(_NARROW)
    edges, counts = histogram.bars(_BARS)
    axes.stairs(counts, edges, fill=True, color=MAIN, alpha=0.7, linewidth=0)
    axes.set_xscale("log")
    axes.set_xlim(edges[0], edges[-1])
    for share in (0.5, 0.95):
        _mark(axes, histogram.quantile(share), f"p{share * 100:.0f}")
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in _LATENCY_TICKS if edges[0] <= tick <= edges[-1]]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    return _plot(figure, "latency", "Latency of answers, seconds", "Answers in each bin; the scale is logarithmic.")


def _tokens(histogram: Histogram, name: str, title: str) -> Plot:
    figure, axes = _axes(_NARROW)
    edges, counts = histogram.bars(_BARS)
    axes.stairs(counts, edges, fill=True, color=MAIN, alpha=0.7, linewidth=0)
    axes.set_xlim(0, edges[-1])
    _mark(axes, histogram.quantile(0.5), "p50")
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    return _plot(figure, name, title, f"Answers in each bin of {edges[1]:,.0f} tokens.")


def _mark(axes: Axes, value: float | None, name: str) -> None:
    if value is not None:
        axes.margins(y=_ROOM_FOR_MARKS)
        axes.axvline(value, color=TEXT, linewidth=1, linestyle=(0, (4, 3)))
        axes.annotate(
            name,
            (value, 1),
            (3, -2),
            xycoords=("data", "axes fraction"),
            textcoords="offset points",
            va="top",
            fontsize=8,
        )


# ---- all of them


def _axes(size: tuple[float, float]) -> tuple[Figure, Axes]:
    figure = Figure(size, layout="constrained" if size is _NARROW else None)
    axes = figure.subplots(gridspec_kw=_MARGINS if size is _WIDE else None)
    axes.yaxis.set_major_locator(MaxNLocator(4))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
    return figure, axes


def _plot(
    figure: Figure, name: str, title: str, note: str, *, is_wide: bool = False, legend: Sequence[tuple[str, str]] = ()
) -> Plot:
    (axes,) = figure.axes
    axes.set_ylim(0, max(axes.get_ylim()[1], 1e-12))
    svg = io.StringIO()
    figure.savefig(svg, format="svg", metadata={"Date": None})
    markup = page_markup(svg.getvalue(), name, title, _COLORS)
    return Plot(title, Markup(markup), note, is_wide, legend)


def _duration(seconds: float) -> str:
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:,.3g} min"
