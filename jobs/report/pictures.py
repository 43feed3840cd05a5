"""Pictures of a report as inline SVG that follows the page's light or dark colours.

Every series differs by colour (Okabe and Ito's palette), by marker and by line, and is named where it ends.
"""

import io
import re
from collections.abc import Sequence
from html import escape

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from jobs import metrics
from jobs.evaluation import Evaluation, Judged

INK, FAINT, PAPER = "#010203", "#040506", "#070809"
"""Stand-ins that become the page's own colours; no series uses them."""

SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
MARKERS = ("o", "s", "^", "D", "v", "P")
DASHES = ("-", "--", "-.", ":", (0, (5, 1)), (0, (3, 1, 1, 1)))

FEWEST_REWRITES = 10
"""A precision of fewer rewrites than this says nothing and is not drawn."""


def defect_rates(evaluation: Evaluation) -> str:
    """Defect rate left by each system, with its interval, against the rate without any."""
    systems = [s for s in evaluation.systems if s.outcomes.rewritten.any()] or [evaluation.ours]
    figure, axes = _figure(height=0.9 + 0.42 * len(systems))
    before = 100 * evaluation.ours.estimates["cpdr_before"].value
    axes.axvline(before, color=INK, linewidth=1, linestyle=":")
    above = axes.get_xaxis_transform()
    axes.text(before, 1.03, f"before: {before:.1f} %", transform=above, ha="right", va="bottom", color=INK)
    for row, system in enumerate(systems):
        _interval(axes, row, system)
    axes.set_yticks(range(len(systems)), [s.name for s in systems])
    axes.set_ylim(len(systems) - 0.4, -0.6)
    axes.set_xlabel("defective turns after rewriting, % (95 % interval)")
    return _svg(figure, "rates", "Defect rate before and after", _rates_in_words(systems, before))


def _interval(axes: Axes, row: int, system: Judged) -> None:
    after = system.estimates["cpdr_after"]
    colour = SERIES[0] if row == 0 else FAINT
    axes.plot([100 * after.low, 100 * after.high], [row, row], color=colour, linewidth=2)
    axes.plot(100 * after.value, row, marker="o" if row == 0 else "s", color=colour, markersize=7)
    # on the page's own colour, so that the dotted line does not run through the number
    box = {"facecolor": PAPER, "edgecolor": "none", "pad": 0.5}
    place = (100 * after.value, row)
    axes.annotate(f"{place[0]:.1f}", place, (0, 7), textcoords="offset points", ha="center", color=INK, bbox=box)


def _rates_in_words(systems: Sequence[Judged], before: float) -> str:
    after = "; ".join(f"{s.name}: {100 * s.estimates['cpdr_after'].value:.1f} %" for s in systems)
    return f"Before: {before:.1f} % of turns are defective. After: {after}."


def precision_curves(evaluation: Evaluation) -> str:
    """Precision against trigger rate while each system's rewrites are made in order of its confidence."""
    figure, axes = _figure(height=3.6)
    drawn = [s for s in evaluation.systems if _drawn(axes, s, len(axes.lines))]
    axes.set_xlabel("trigger rate: turns rewritten, %")
    axes.set_ylabel("precision: rewrites that are right, %")
    axes.set_xlim(left=0)
    axes.set_ylim(top=102)
    if drawn:
        axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1.01, 1), labelcolor=INK)
    ends = "; ".join(
        f"{s.name}: {100 * s.estimates['precision'].value:.1f} % at {100 * s.estimates['trigger_rate'].value:.1f} %"
        for s in drawn
    )
    return _svg(figure, "curves", "Precision against trigger rate", f"Precision at the full trigger rate. {ends}.")


def reliability_curve(evaluation: Evaluation) -> str:
    """Share of our rewrites that cured a defect against the confidence they were made with."""
    ours = evaluation.ours
    found = metrics.reliability(ours.outcomes, ours.answers.confidence)
    figure, axes = _figure(height=3.6)
    axes.plot([0, 100], [0, 100], color=FAINT, linewidth=1, linestyle=":")
    axes.plot(100 * found.confidence, 100 * found.fixed_rate, color=SERIES[0], marker=MARKERS[0], linewidth=2)
    axes.set_xlabel("confidence of the rewrites, %")
    axes.set_ylabel("rewrites that cured a defect, %")
    axes.set_xlim(0, 102)
    axes.set_ylim(0, 102)
    error = f"Expected calibration error {100 * found.calibration_error:.1f} %." if len(found.count) else "No rewrites."
    return _svg(figure, "reliability", "Reliability of the confidence", error)


def _drawn(axes: Axes, system: Judged, row: int) -> bool:
    trigger, precision = metrics.curve(system.outcomes, system.answers.confidence)
    enough = trigger * len(system.outcomes.defect) >= FEWEST_REWRITES
    if not enough.any():
        return False
    style = row % len(SERIES)
    axes.plot(
        100 * trigger[enough],
        100 * precision[enough],
        color=SERIES[style],
        linestyle=DASHES[style],
        marker=MARKERS[style],
        markevery=[int(np.count_nonzero(enough)) - 1],
        markersize=7,
        linewidth=2.2 if row == 0 else 1.4,
        zorder=4 if row == 0 else 3,
        label=system.name,
    )
    return True


def _figure(height: float) -> tuple[Figure, Axes]:
    """A figure without pyplot, whose global state would outlive the report."""
    figure = Figure(figsize=(8, height), layout="constrained")
    axes = figure.subplots()
    axes.patch.set_visible(False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(FAINT)
    axes.tick_params(colors=FAINT, labelcolor=INK)
    axes.xaxis.label.set_color(INK)
    axes.yaxis.label.set_color(INK)
    return figure, axes


def _svg(figure: Figure, name: str, title: str, description: str) -> str:
    """The figure as an SVG element with ids of its own, readable aloud, in the page's colours."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif"}):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(buffer, format="svg", transparent=True, metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\bid="', f'id="{name}-', text)
    text = re.sub(r'(href="|url\()#', rf"\1#{name}-", text)
    for stand_in, name_there in ((INK, "ink"), (FAINT, "faint"), (PAPER, "paper")):
        text = text.replace(stand_in, f"var(--{name_there})")
    # the page sets the width: the picture keeps its shape by its viewBox
    view_box = re.search(r'viewBox="[^"]*"', text)
    body = text[text.index(">") + 1 :]
    named = f'aria-labelledby="{name}-title {name}-description" {view_box[0] if view_box else ""}'
    words = (
        f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-description">{escape(description)}</desc>'
    )
    return f'<svg role="img" {named}>{words}{body}'
