"""Pictures of the NLU: confusion matrix, confusions before and after, learning curve over budgets.

Colours are safe for the colour-blind: matplotlib's cividis, Okabe and Ito's palette, and never colour alone.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from jobs.nlu_evaluation import Judged
from selection.metrics import confusion

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
MOST_CELLS_WITH_NUMBERS = 25


def confusion_matrix(judged: Judged, of: str, path: Path) -> None:
    """Draw right labels (rows, normalised) against what was said; counts in the cells where they fit."""
    right = [getattr(u, of) for u in judged.rows]
    said = [getattr(r, of) for r in judged.readings]
    labels = sorted(set(right) | set(said))
    table = confusion(right, said, labels)
    shares = table / np.maximum(table.sum(1, keepdims=True), 1)
    side = max(4.5, 0.32 * len(labels) + 1.5)
    figure = Figure(figsize=(side + 1, side), layout="constrained")
    axes = figure.subplots()
    image = axes.imshow(shares, cmap="cividis", vmin=0, vmax=1)
    axes.set_xticks(range(len(labels)), labels, rotation=90, fontsize=8)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.set_xlabel(f"{of} said")
    axes.set_ylabel(f"right {of}")
    if len(labels) <= MOST_CELLS_WITH_NUMBERS:
        for row, column in zip(*np.nonzero(table), strict=True):
            colour = "black" if shares[row, column] > 0.5 else "white"
            axes.text(column, row, str(table[row, column]), ha="center", va="center", fontsize=7, color=colour)
    figure.colorbar(image, label="share of the right label", shrink=0.6)
    save(figure, path)


def learning_curve(rows: Sequence[Mapping[str, Any]], path: Path) -> None:
    """SemER change against the budget, a line per strategy, with 95 % intervals over seeds."""
    figure = Figure(figsize=(9, 4.5), layout="constrained")
    axes = figure.subplots()
    names = list(dict.fromkeys(str(r["strategy"]) for r in rows if r["budget"]))
    for at, name in enumerate(names):
        mine = sorted((r for r in rows if r["strategy"] == name and r["budget"]), key=lambda r: r["budget"])
        # side by side, not on top of one another
        x = [100 * r["budget"] * (1 + 0.03 * (at - len(names) / 2)) for r in mine]
        y = [100 * r["change_all"] for r in mine]
        spread = [
            [100 * (r["change_all"] - r["low"]) for r in mine],
            [100 * (r["high"] - r["change_all"]) for r in mine],
        ]
        style: dict[str, Any] = {"color": SERIES[at % len(SERIES)], "marker": MARKERS[at % len(MARKERS)]}
        axes.errorbar(x, y, np.nan_to_num(spread, posinf=0.0, neginf=0.0), capsize=3, label=name, **style)
    axes.axhline(0, color="grey", linewidth=1, linestyle=":")
    axes.set_xscale("log")
    axes.set_xlabel("added, % of the training set")
    axes.set_ylabel("SemER relative to nothing added, %")
    if names:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1))
    save(figure, path)


def save(figure: Figure, path: Path) -> None:
    """Write .svg or .png without a date, so that the same picture has the same bytes.

    Raises:
        ValueError: another suffix.
    """
    if path.suffix not in (".svg", ".png"):
        raise ValueError(f"cannot draw {path.name}; expected a name that ends in .svg or .png")
    metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
    with matplotlib.rc_context({"svg.hashsalt": "reprise"}):
        figure.savefig(path, metadata=metadata)
