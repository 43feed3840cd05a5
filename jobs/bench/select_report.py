"""The table of `reprise bench select`: means over seeds, paired with nothing added and with ours."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from jobs.bench.select_runs import NOTHING, OURS
from selection.statistics import mean_interval, sign_flip_p

Cell = Mapping[str, Any]

P_VALUE = (
    "p_value: one-sided sign-flip test over seeds, of integrated gradients having the lower SemER than this row at "
    "this budget; in its own rows, of being lower than with nothing added"
)


def report(cells: Sequence[Cell], facts: Mapping[str, Any]) -> dict[str, Any]:
    """Rows in the order of strategies and budgets, with what they were measured on."""
    by_key = {(c["seed"], c["strategy"], c["budget"]): c for c in cells}
    seeds = sorted({c["seed"] for c in cells if c["strategy"] == NOTHING})
    kinds = list(dict.fromkeys((c["strategy"], c["budget"]) for c in cells))
    rows = [row for kind in kinds if (row := _row(kind, seeds, by_key))]
    return {
        "how": "warm-started retraining with the same rehearsal in all rows; " + P_VALUE,
        "semer": "errors / (1 intent + slots of the reference); a wrong domain or intent is one error",
        "tail": "recordings of the rarest intents that together hold a fifth of the judged ones",
        "seeds_done": len(seeds),
        "label_accuracy": _mean([c["label_accuracy"] for c in cells]),
        "candidates": _mean([c["candidates"] for c in cells]),
        "judged": _mean([c["judged"] for c in cells]),
        **facts,
        "rows": rows,
    }


def _row(
    kind: tuple[str, float], seeds: Sequence[int], by_key: Mapping[tuple[int, str, float], Cell]
) -> dict[str, Any]:
    """One strategy at one budget over the seeds that have it and nothing added."""
    strategy, budget = kind
    pairs = [(by_key[s, strategy, budget], by_key[s, NOTHING, 0.0]) for s in seeds if (s, strategy, budget) in by_key]
    if not pairs:
        return {}
    change = [100 * (a["semer_all"] / b["semer_all"] - 1) for a, b in pairs]
    tail = [100 * (a["semer_tail"] / b["semer_tail"] - 1) for a, b in pairs]
    value, low, high = mean_interval(change)
    ours = [(s, by_key[s, OURS, budget]) for s in seeds if (s, OURS, budget) in by_key]
    against = NOTHING if strategy == OURS else strategy
    differences = [
        mine["semer_all"] - other["semer_all"] for s, mine in ours if (other := _other(by_key, s, against, budget))
    ]
    return {
        "strategy": strategy,
        "budget": budget,
        "added": _mean([a["added"] for a, _ in pairs]),
        "seeds": len(pairs),
        "semer_all": _mean([a["semer_all"] for a, _ in pairs]),
        "semer_tail": _mean([a["semer_tail"] for a, _ in pairs]),
        "intent_accuracy": _mean([a["intent_accuracy"] for a, _ in pairs]),
        "change_all": value / 100,
        "low": low / 100,
        "high": high / 100,
        "change_tail": _mean(tail) / 100,
        "p_value": None if strategy == NOTHING else sign_flip_p(differences),
        "p_against_nothing": None
        if strategy == NOTHING
        else sign_flip_p([a["semer_all"] - b["semer_all"] for a, b in pairs]),
    }


def _other(by_key: Mapping[tuple[int, str, float], Cell], seed: int, strategy: str, budget: float) -> Cell | None:
    return by_key.get((seed, strategy, 0.0 if strategy == NOTHING else budget))


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values)) if len(values) else float("nan")


def table(found: Mapping[str, Any]) -> str:
    """The report as text."""
    lines = [
        f"{found['train']} -> {found['stream']}; {found['seeds_done']} seeds; {found['train_rows']} training rows, "
        f"{found['candidates']:.0f} candidates with {100 * found['label_accuracy']:.1f} % right labels, "
        f"{found['judged']:.0f} recordings judged",
        f"{'strategy':30s} {'budget':>7s} {'added':>5s} {'SemER all':>10s} {'change [95 %]':>26s} {'tail':>7s} "
        f"{'change':>8s} {'p':>7s} {'p nothing':>9s}",
    ]
    for row in found["rows"]:
        span = f"{100 * row['change_all']:+.2f} % [{100 * row['low']:+.2f}, {100 * row['high']:+.2f}]"
        p = ["" if row[k] is None else f"{row[k]:.4f}" for k in ("p_value", "p_against_nothing")]
        lines.append(
            f"{row['strategy']:30s} {100 * row['budget']:5.2f} % {row['added']:5.0f} {row['semer_all']:10.4f} "
            f"{span:>26s} {row['semer_tail']:7.4f} {100 * row['change_tail']:+7.2f} % {p[0]:>7s} {p[1]:>9s}"
        )
    if timed := found.get("attributions"):
        lines.append(
            f"attributions: {timed['per_s']:.0f} utterances a second, {timed['ratio']:.1f} times a plain captum loop "
            f"({timed['steps']} steps, {timed['utterances']} utterances)"
        )
    return "\n".join([*lines, found["how"]])
