"""What two simulated lives come to: defects per day with and without, and what each event cost."""

from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.clusters import Interval, difference, ratio

if TYPE_CHECKING:
    from jobs.loop.life import LifeConfig, Told

Rows = list[dict[str, Any]]


def account(served: "Told", alone: "Told", config: "LifeConfig") -> dict[str, Any]:
    """Per day and summed up, as plain values."""
    days = range(config.days)
    daily = {
        "treated": [_plain(rate([r for r in served.rows if r["day"] == d and not r["held"]])) for d in days],
        "holdout": [_plain(rate([r for r in served.rows if r["day"] == d and r["held"]])) for d in days],
        "without": [_plain(rate([r for r in alone.rows if r["day"] == d and not r["held"]])) for d in days],
        "rewritten": [_share(served.rows, d) for d in days],
    }
    parts = {name: _compare(served.rows, alone.rows, span) for name, span in spans(config).items()}
    worse = _worse_days(served.rows, days)
    return {
        "daily": daily,
        "spans": parts,
        "days_worse_than_holdout": worse,
        "rewritten_to_the_attackers_target": sum(r["to_target"] and _attacked(r, config) for r in served.rows),
        "events": served.events,
        "summary": _summary(parts, worse, served, config),
    }


def rate(rows: Rows) -> Interval:
    """Share of defective turns, with its user-clustered interval."""
    users: dict[str, int] = {}
    row = np.array([users.setdefault(r["user"], len(users)) for r in rows], dtype=np.int64)
    return ratio(np.array([float(r["defect"]) for r in rows]), np.ones(len(rows)), row)


def spans(config: "LifeConfig") -> dict[str, range]:
    """Named stretches of days, those that the events leave."""
    e, end = config.events, config.days
    first = e.loop_from + 1
    cuts = {"attack": e.attack, "shift": e.shift, "bad push": None if e.bad_push is None else int(e.bad_push)}
    named = sorted((day, name) for name, day in cuts.items() if day is not None and first <= day < end)
    edges = [first, *(day for day, _ in named), end]
    names = ["quiet", *(f"from {name}" for _, name in named)]
    found = {"before the loop": range(first), "all with the loop": range(first, end)}
    return found | {name: range(a, b) for name, (a, b) in zip(names, pairwise(edges), strict=True) if b > a}


def _compare(served: Rows, alone: Rows, days: range) -> dict[str, Any]:
    treated = rate([r for r in served if r["day"] in days and not r["held"]])
    held = rate([r for r in served if r["day"] in days and r["held"]])
    without = rate([r for r in alone if r["day"] in days and not r["held"]])
    change = difference(treated, held)
    return {
        "days": [days.start, days.stop - 1],
        "treated": _plain(treated),
        "holdout": _plain(held),
        "without": _plain(without),
        "change": _plain(change),
        # the same users in both lives, so their own means are paired
        "against_without": round(treated.value / without.value - 1, 4) if without.value else None,
    }


def _worse_days(rows: Rows, days: range) -> list[int]:
    """Days on which treated users fared worse than held-out ones beyond the interval of the difference."""
    found = []
    for day in days:
        treated, held = (rate([r for r in rows if r["day"] == day and r["held"] is flag]) for flag in (False, True))
        if difference(treated, held).low > 0:
            found.append(day)
    return found


def _attacked(row: dict[str, Any], config: "LifeConfig") -> bool:
    return config.events.attack is not None and row["day"] >= config.events.attack


def _share(rows: Rows, day: int) -> float:
    found = [r["rewritten"] for r in rows if r["day"] == day and not r["held"]]
    return round(float(np.mean(found)), 5) if found else 0.0


def _summary(parts: dict[str, Any], worse: list[int], served: "Told", config: "LifeConfig") -> list[str]:
    lines = []
    for name, p in parts.items():
        t, h, w = (100 * (p[arm]["value"] or 0.0) for arm in ("treated", "holdout", "without"))
        change = [100 * (p["change"][bound] or 0.0) for bound in ("value", "low", "high")]
        lines.append(
            f"{name} (days {p['days'][0]}-{p['days'][1]}): CPDR treated {t:.1f} %, holdout {h:.1f} %, world without "
            f"{w:.1f} %; treated minus holdout {change[0]:+.1f} points [{change[1]:+.1f}, {change[2]:+.1f}]"
        )
    lines.append(f"days worse than the holdout beyond the interval: {worse or 'none'}")
    pushed = next((e["day"] for e in served.events if e["what"] == "bad push"), None)
    back = next((e["day"] for e in served.events if e["what"] == "rollback" and pushed and e["day"] > pushed), None)
    if pushed is not None:
        hours = "never" if back is None else f"after {24 * (back - pushed):.0f} hours"
        lines.append(f"bad push on day {pushed}: rolled back {hours}")
    runs = [e for e in served.events if e["what"] == "run"]
    published = sum(e["verdict"] == "published" for e in runs)
    lines.append(f"{len(runs)} runs, {published} published, {len(runs) - published} stopped by a gate")
    return lines


def _plain(interval: Interval) -> dict[str, float | None]:
    values = {"value": interval.value, "low": interval.low, "high": interval.high}
    return {name: round(float(v), 5) if np.isfinite(v) else None for name, v in values.items()}
