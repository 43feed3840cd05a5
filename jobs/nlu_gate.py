"""The gate of a retrained NLU: better overall, and worse in no domain beyond the interval."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from jobs.nlu_evaluation import Judged, by_domain
from selection.metrics import Interval, semer, semer_difference

TAIL_SHARE = 0.2
"""The rarest intents that together hold at most this share of the traffic are its tail."""


@dataclass(frozen=True)
class Verdict:
    """Whether the new model may replace the old one, and why.

    Attributes:
        overall, tail: SemER after minus before, with a paired 95 % interval.
        domains: the same for every domain of the held-out rows.
    """

    passed: bool
    reason: str
    before: float
    after: float
    overall: Interval
    tail: Interval
    domains: dict[str, Interval]

    def to_json(self) -> dict[str, Any]:
        """As plain dicts."""
        return asdict(self)


def tail_rows(intents: Sequence[str], share: float = TAIL_SHARE) -> np.ndarray:
    """(N,) booleans: rows whose intent is among the rarest that together hold at most `share` of the rows.

    Ties by name.
    """
    counts = Counter(intents)
    rare: set[str] = set()
    held = 0
    for intent, count in sorted(counts.items(), key=lambda item: (item[1], item[0])):
        held += count
        if held > share * len(intents):
            break
        rare.add(intent)
    return np.array([intent in rare for intent in intents], dtype=bool)


def judge_gate(before: Judged, after: Judged, seed: int = 0) -> Verdict:
    """Compare two models on the same rows.

    Raises:
        ValueError: no rows to compare on.
    """
    if not len(before.units):
        raise ValueError("the gate has no held-out rows to compare on; expected some; is --held-out empty?")
    rng = np.random.default_rng(seed)

    def change(rows: np.ndarray) -> Interval:
        return semer_difference(after.errors[rows], before.errors[rows], before.units[rows], rng)

    everywhere = np.arange(len(before.units))
    overall = change(everywhere)
    tail = change(np.flatnonzero(tail_rows([u.intent for u in before.rows])))
    domains = {name: change(rows) for name, rows in by_domain(before).items()}
    worse = [name for name, interval in domains.items() if interval.low > 0]
    passed = overall.value < 0 and not worse
    return Verdict(
        passed,
        _reason(overall, domains, worse),
        semer(before.errors, before.units),
        semer(after.errors, after.units),
        overall,
        tail,
        domains,
    )


def _reason(overall: Interval, domains: dict[str, Interval], worse: Sequence[str]) -> str:
    if worse:
        shown = ", ".join(f"{name} by {domains[name].value:+.4f} (at least {domains[name].low:+.4f})" for name in worse)
        return f"SemER is worse beyond its interval in {shown}"
    if overall.value >= 0:
        return f"SemER did not fall: {overall.value:+.4f} [{overall.low:+.4f}, {overall.high:+.4f}]"
    return f"SemER fell by {-overall.value:.4f} and rose in no domain beyond its interval"
