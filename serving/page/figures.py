"""Figures of the running service, from its own metrics, and of the last runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from prometheus_client import CollectorRegistry


def live(registry: CollectorRegistry) -> dict[str, float | None]:
    """decisions, trigger_rate, p50_ms and p95_ms since the service started; None where nothing was decided yet."""
    decisions: dict[str, float] = {}
    buckets: dict[float, float] = {}
    for family in registry.collect():
        for sample in family.samples:
            if sample.name == "reprise_decisions_total":
                reason = sample.labels["reason"]
                decisions[reason] = decisions.get(reason, 0.0) + sample.value
            elif sample.name == "reprise_decision_seconds_bucket":
                edge = float(sample.labels["le"])
                buckets[edge] = buckets.get(edge, 0.0) + sample.value
    total = sum(decisions.values())
    return {
        "decisions": total,
        "trigger_rate": decisions.get("rewritten", 0.0) / total if total else None,
        "p50_ms": quantile(buckets, 0.5),
        "p95_ms": quantile(buckets, 0.95),
    }


def quantile(buckets: Mapping[float, float], share: float) -> float | None:
    """A quantile of a cumulative histogram of seconds, in ms, linear within its bucket; None where it is empty."""
    edges = sorted(buckets)
    total = buckets[edges[-1]] if edges else 0.0
    if not total:
        return None
    below, start = 0.0, 0.0
    for edge in edges:
        if buckets[edge] >= share * total:
            inside = buckets[edge] - below
            part = (share * total - below) / inside if inside else 1.0
            return 1e3 * (start if edge == float("inf") else start + part * (edge - start))
        below, start = buckets[edge], edge
    return None


def course(runs: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """CPDR of treated and held-out users by run, the oldest first, for the chart."""
    measured = [run for run in reversed(runs) if run.get("experiment")]
    arms = [run["experiment"]["arms"]["champion"] for run in measured]
    return {
        "runs": [run["window"]["last"][:10] for run in measured],
        "treated": [_percent(arm["treated"]["value"]) for arm in arms],
        "holdout": [_percent(arm["control"]["value"]) for arm in arms],
    }


def _percent(value: float | None) -> float | None:
    return None if value is None else round(100 * value, 2)
