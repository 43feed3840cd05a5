"""Which gates a new bundle must pass, from what was measured. Pure: takes plain values, returns gates."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from jobs.offpolicy import JUDGED_BY, LEAST_USERS
from jobs.pipeline.gate import Gate
from jobs.pipeline.profile import drift, unseen


@dataclass(frozen=True)
class Limits:
    """Thresholds of the gates; shares in [0, 1] unless said otherwise."""

    rows: int = 1_000
    null_share_rise: float = 0.1
    length_drift: float = 0.25
    intent_drift: float = 0.25
    vocabulary_unseen: float = 0.2
    new_pair_share: float = 0.5
    greatest_user_share: float = 0.05
    right_of_known: float = 0.5
    harm: float = 0.005
    sure_texts_broken: float = 0.005
    intent_flips: float = 0.002
    supported: float = 0.5
    latency_p95_ms: float = 250.0
    size_mb: float = 1_000.0

    @staticmethod
    def read(path: Path | None) -> "Limits":
        """From a TOML file of `name = number`; what it leaves out keeps its default.

        Raises:
            ValueError: not TOML, an unknown name, or no number.
        """
        if path is None:
            return Limits()
        known = {f.name for f in fields(Limits)}
        try:
            given = tomllib.loads(path.read_text(encoding="utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise ValueError(f"cannot read gates; got {path}: {error}; expected TOML") from error
        wrong = [n for n, v in given.items() if n not in known or isinstance(v, bool) or not isinstance(v, int | float)]
        if wrong:
            raise ValueError(
                f"unknown or unreadable gate in {path}; got {wrong[0]} = {given[wrong[0]]!r}; expected a number for "
                f"one of {', '.join(sorted(known))}"
            )
        return Limits(**given)

    def as_dict(self) -> dict[str, float]:
        """Plain values, for keys and reports."""
        return asdict(self)


def data_gates(
    now: Mapping[str, Any], before: Mapping[str, Any] | None, new_pairs: float | None, most: Limits
) -> list[Gate]:
    """Is this a log like the one that the champion was learned from? Without one, `before` and `new_pairs` are None."""
    share = now["greatest_user_share"]
    gates = [
        Gate("data", "rows", float(now["rows"]), most.rows, "at least", limit="rows"),
        Gate("data", "greatest share of one user", share, most.greatest_user_share, limit="greatest_user_share"),
    ]
    if before is None:
        note = "no champion to compare with"
        return gates + [
            Gate("data", name, None, getattr(most, limit), note=note, optional=True, limit=limit)
            for limit, name in _COMPARED.items()
        ]
    rise, column = _null_rise(now["null_share"], before["null_share"])
    found = {
        "null_share_rise": (rise, column),
        "length_drift": (drift(now["lengths"], before["lengths"]), "PSI"),
        "intent_drift": (drift(now["intents"], before["intents"]), "PSI"),
        "vocabulary_unseen": (unseen(now["words"], before["words"]), ""),
        "new_pair_share": (new_pairs, "share of all mined pairs"),
    }
    return gates + [
        Gate("data", name, value, getattr(most, limit), note=note, optional=limit == "new_pair_share", limit=limit)
        for limit, name in _COMPARED.items()
        for value, note in [found[limit]]
    ]


_COMPARED = {
    "null_share_rise": "rise of null shares",
    "length_drift": "drift of lengths",
    "intent_drift": "drift of intents",
    "vocabulary_unseen": "words not known before",
    "new_pair_share": "new pairs",
}
"""Gates against the champion's log, by their limit."""


def _null_rise(now: Mapping[str, float], before: Mapping[str, float]) -> tuple[float, str]:
    """The greatest rise of a column's share of nulls, and the column; a column that vanished is all null."""
    rises = {name: now.get(name, 1.0) - before[name] for name in before}
    worst = max(rises, key=lambda name: (rises[name], name), default="")
    return rises.get(worst, 0.0), worst


def quality_gates(learned: Mapping[str, float], replayed: Mapping[str, Any], most: Limits) -> list[Gate]:
    """Does it do what users want, break nothing, and get no group of them into trouble?

    Args:
        learned: the bundle's own out-of-fold figures.
        replayed: what `evaluate` wrote.
    """
    slices: Sequence[Mapping[str, Any]] = replayed["slices"] or ()
    worse = [s["slice"] for s in slices if s["worse"]]
    incidents = replayed["incidents"]
    return [
        Gate("quality", "right of those whose wish is known", learned.get("right_of_known"), most.right_of_known,
             "at least", note="out of fold", limit="right_of_known"),
        Gate("quality", "harm", learned.get("harm"), most.harm, note="out of fold", limit="harm"),
        Gate("quality", "harm on replay, upper end", replayed["figures"]["harm"]["high"], most.harm * 2,
             note="95 % interval over users; the threshold is twice that of harm", limit="harm"),
        Gate("quality", "fine turns of texts that nearly always work, rewritten wrong", replayed["sure"]["share"],
             most.sure_texts_broken, note=_examples(replayed["sure"]["broken"]), optional=True,
             limit="sure_texts_broken"),
        Gate("quality", "slices worse than under the champion", None if replayed["slices"] is None else len(worse), 0,
             note=", ".join(worse), optional=True),
        Gate("quality", "past incidents that came back", None if incidents is None else len(incidents), 0,
             note=_examples(incidents or []), optional=True),
    ]  # fmt: skip


def offpolicy_gates(found: Mapping[str, Any] | None, prove: bool, least: float) -> list[Gate]:
    """What the exposure log says, where it tells of enough users: proven better than no rewrites, and not proven worse
    than the champion.

    Args:
        found: as `jobs.offpolicy.judge_bundle` gives it; None without exposures.
        prove: it must be proven better than the champion.
        least: share of what there was to decide on which the log has to know the bundle's decision.
    """
    alone, few = "gain over no rewrites off policy, lower end", f"fewer than {LEAST_USERS:.0f} users"
    over = f"gain over the champion off policy, {'lower' if prove else 'upper'} end"
    supported, note = "decisions that the log supports", "doubly robust, 95 % interval over users"
    # a gain of exactly nothing is not proven: the smallest number above zero is the threshold
    proven, gained = 1e-6, 1e-6 if prove else 0
    if found is None:
        note = "no exposures on the held-back days"
        return [
            Gate("quality", alone, None, proven, "at least", note, optional=True),
            Gate("quality", over, None, gained, "at least", note, optional=True),
            Gate("quality", supported, None, least, "at least", note, optional=True, limit="supported"),
        ]
    late, enough = found["champion"], found["enough_held_out"]
    compared = late is not None and late["enough_users"]
    over_nothing = found["over_nothing"][JUDGED_BY]["low"] if enough else None
    gain = late["gains"][JUDGED_BY]["low" if prove else "high"] if compared else None
    share = found["support"]["supported"] if found["enough_users"] else None
    more = "too many new ones to judge by the log: an experiment, or more days, will tell"
    return [
        Gate("quality", alone, over_nothing, proven, "at least", note if enough else f"{few} held out", not enough),
        Gate("quality", over, gain, gained, "at least", note if compared else f"{few} since", not compared),
        Gate(
            "quality", supported, share, least, "at least", few if share is None else more, share is None, "supported"
        ),
    ]


def safety_gates(replayed: Mapping[str, Any], most: Limits) -> list[Gate]:
    """Nothing that was blocked comes out, and no fine turn ends up doing something else."""
    return [
        Gate("safety", "blocked texts in force", float(len(replayed["blocked"])), 0),
        Gate(
            "safety",
            "fine turns given another intent",
            replayed["intent_flips"],
            most.intent_flips,
            limit="intent_flips",
        ),
    ]


def cost_gates(p95_ms: float, size_bytes: int, most: Limits) -> list[Gate]:
    """Is it affordable to run?"""
    return [
        Gate("cost", "latency of a decision, 95th percentile, ms", p95_ms, most.latency_p95_ms, note="one thread",
             limit="latency_p95_ms"),
        Gate("cost", "size, MB", size_bytes / 1e6, most.size_mb, limit="size_mb"),
    ]  # fmt: skip


def _examples(broken: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(f"{b['utterance']!r} → {b['answer']!r}" for b in broken[:3])
