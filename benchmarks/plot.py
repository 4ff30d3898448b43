"""The table as a picture: how much of each bar is used up."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from benchmarks.table import Row

_MOST_SHOWN = 3.0


def draw(rows: Sequence[Row], path: Path) -> None:
    """Write an SVG with a line for each row that has a bar; the same rows give the same bytes."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "benchmarks", "svg.fonttype": "none", "font.size": 8})
    from matplotlib import pyplot

    shown = [(row.what.replace("`", ""), row.measured, row.used) for row in reversed(rows) if row.used is not None]
    figure, axes = pyplot.subplots(figsize=(9, 0.6 + 0.32 * len(shown)), layout="constrained")
    axes.axvline(1, color="black", linewidth=1, zorder=0)
    bars = axes.barh(
        range(len(shown)),
        [min(used, _MOST_SHOWN) for _, _, used in shown],
        color=["#2a7f62" if used <= 1 else "#b3402a" for _, _, used in shown],
    )
    axes.bar_label(bars, labels=[measured for _, measured, _ in shown], padding=3, fontsize=6)
    axes.set_yticks(range(len(shown)), [what for what, _, _ in shown])
    axes.set_xlim(0, _MOST_SHOWN)
    axes.set_xlabel("share of the bar that is used up: at most 1 reaches it")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)
