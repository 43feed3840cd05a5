"""Defects per day of a simulated life, drawn."""

import io
import re
from collections.abc import Mapping, Sequence
from typing import Any

from matplotlib.figure import Figure

LINES = (
    ("treated", "with Reprise", "#0072b2", "o", "-"),
    ("holdout", "its holdout", "#d55e00", "s", "--"),
    ("without", "a world without", "#777777", "^", ":"),
)


def picture(result: Mapping[str, Any]) -> str:
    """SVG: CPDR per day of treated, held out, and a world without, with what happened on the way."""
    figure = Figure(figsize=(9.0, 4.2), layout="constrained")
    axes = figure.subplots()
    for name, label, colour, marker, dash in LINES:
        _line(axes, result["daily"][name], label, colour, marker, dash)
    top = axes.get_ylim()[1]
    for day, label in _marks(result["events"], result["config"]["events"]):
        axes.axvline(day, color="#999999", linewidth=0.8)
        axes.annotate(label, (day, top), (3, -2), textcoords="offset points", va="top", fontsize=8, rotation=90)
    axes.set_ylim(0, top)
    axes.set_xlabel("day")
    axes.set_ylabel("defective turns, %")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=3, loc="lower left", fontsize=9)
    buffer = io.StringIO()
    # neither date nor random ids, so that the same numbers give the same bytes
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    return _steady(buffer.getvalue())


def _line(
    axes: Any, points: Sequence[Mapping[str, float | None]], label: str, colour: str, marker: str, dash: Any
) -> None:
    days = [day for day, p in enumerate(points) if p["value"] is not None]
    value, low, high = ([100 * (points[day][k] or 0.0) for day in days] for k in ("value", "low", "high"))
    axes.plot(days, value, dash, color=colour, marker=marker, markersize=4, label=label)
    axes.fill_between(days, low, high, color=colour, alpha=0.12, linewidth=0)


def _marks(events: Sequence[Mapping[str, Any]], planned: Mapping[str, Any]) -> list[tuple[float, str]]:
    found = [(planned["loop_from"] + 1, "loop begins")]
    if planned["shift"] is not None:
        found.append((planned["shift"], "shift"))
    names = {"attack begins": "attack", "bad push": "bad push", "rollback": "rolled back"}
    return found + [(e["day"], names[e["what"]]) for e in events if e["what"] in names]


def _steady(svg: str) -> str:
    """Ids in the order of their appearance instead of random ones."""
    seen: dict[str, str] = {}
    return re.sub(r"\b[mp][0-9a-f]{10}\b", lambda m: seen.setdefault(m.group(), f"id{len(seen)}"), svg)
