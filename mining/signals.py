"""Signals of a defect: each one an array of small integers, level 0 meaning that the log does not say."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mining.groups import Bools, Floats, Groups, Ints
from mining.sessions import Sessions
from mining.turns import Turns, flags, floats, integers

SOON_S = 45.0
"""A follow-up within this many seconds is a reaction; later ones are mostly new requests."""

AWAY_S = 8 * 3600.0
"""Silence after which a user counts as having left, seconds."""

SIMILAR = (0.3, 0.5, 0.7, 0.9999)
"""Edges between the levels of similarity to the follow-up; the last level is the same text."""

DWELL_SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Edges between the levels of dwell over the intent's median."""

CONFIDENCE_QUANTILES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Quantiles of the log's own confidences that become edges: recognisers disagree about scale, not about order."""

CORRECTING = (
    r"^(no|nope|wrong|stop|cancel|i said|i meant|i mean|not that|that's not|that is not|that's wrong|actually)\b"
)
"""English openings that take back what was just done."""

LEVELS = {
    "signal_status": ("unknown", "ok", "not understood or error"),
    "signal_interrupted": ("unknown", "no", "yes"),
    "signal_dwell": ("unknown", "<5%", "<10%", "<20%", "<40%", "<80%", ">=80%"),
    "signal_followup": (
        "none soon",
        *(f"{when}, {how}" for when in ("soon", "later") for how in ("unlike", "related", "similar", "close", "same")),
    ),
    "signal_asr": ("unknown", *(f"below q{q:g}" for q in CONFIDENCE_QUANTILES), "above"),
    "signal_nlu": ("unknown", *(f"below q{q:g}" for q in CONFIDENCE_QUANTILES), "above"),
    "signal_again": ("no", "reworded", "same"),
    "signal_words": ("no", "yes"),
    "signal_abandoned": ("went on", "left, back within hours", "left for long"),
}
"""Every signal with the names of its levels, in the order of their numbers."""


@dataclass(frozen=True)
class Scales:
    """What a log's raw values are compared with: read off the fitting sample once, then constants."""

    asr_edges: tuple[float, ...] = ()
    nlu_edges: tuple[float, ...] = ()
    dwell_median_s: float | None = None
    """Usual dwell where the intent has none of its own, seconds."""
    intent_dwell_s: Mapping[str, float] = field(default_factory=dict)
    """Usual dwell of every intent that was used often enough, seconds."""


def scales_of(sample: pa.Table, min_turns: int = 20) -> Scales:
    """Scales of a sample of turns; an intent has its own median from `min_turns` known dwells."""
    dwell = floats(sample["dwell_s"])
    known = ~np.isnan(dwell)
    intents = sample["intent"].combine_chunks().dictionary_encode()
    codes = integers(intents.indices.fill_null(-1))
    names = intents.dictionary.to_pylist()
    own = {name: dwell[known & (codes == code)] for code, name in enumerate(names)}
    return Scales(
        _quantiles(floats(sample["asr_confidence"])),
        _quantiles(floats(sample["nlu_confidence"])),
        float(np.median(dwell[known])) if known.any() else None,
        {name: float(np.median(values)) for name, values in own.items() if len(values) >= min_turns},
    )


def _quantiles(values: Floats) -> tuple[float, ...]:
    known = values[~np.isnan(values)]
    return tuple(float(q) for q in np.quantile(known, CONFIDENCE_QUANTILES)) if len(known) else ()


def signals(turns: Turns, order: Sessions, scales: Scales) -> dict[str, Ints]:
    """One array (N,) per signal, in the order of LEVELS."""
    followup = _followup(order)
    found = {
        "signal_status": _status(turns.log["status"]),
        "signal_interrupted": _interrupted(turns.log["interrupted"]),
        "signal_dwell": _dwell(turns.log, scales),
        "signal_followup": followup,
        "signal_asr": _confidence(turns.log["asr_confidence"], scales.asr_edges),
        "signal_nlu": _confidence(turns.log["nlu_confidence"], scales.nlu_edges),
        "signal_again": _again(turns, followup),
        "signal_words": _words(turns, order),
        "signal_abandoned": _abandoned(order),
    }
    return {name: found[name] for name in LEVELS}


def _step(values: Floats, edges: tuple[float, ...]) -> Ints:
    """Number of `edges` (rising) that are at or below each value."""
    return np.searchsorted(np.array(edges), values, side="right").astype(np.int64)


def _status(status: pa.ChunkedArray) -> Ints:
    ok = pc.equal(status, "ok").combine_chunks()
    return np.where(_is_null(status), 0, np.where(ok.fill_null(False).to_numpy(zero_copy_only=False), 1, 2))


def _interrupted(interrupted: pa.ChunkedArray) -> Ints:
    return np.where(_is_null(interrupted), 0, np.where(flags(interrupted), 2, 1))


def _is_null(column: pa.ChunkedArray) -> Bools:
    return np.asarray(column.combine_chunks().is_null().to_numpy(zero_copy_only=False))


def _dwell(log: pa.Table, scales: Scales) -> Ints:
    """Dwell over the intent's usual one; unknown where that is zero."""
    intents = log["intent"].combine_chunks().dictionary_encode()
    everywhere = np.nan if scales.dwell_median_s is None else scales.dwell_median_s
    usual = np.array([*(scales.intent_dwell_s.get(n, everywhere) for n in intents.dictionary.to_pylist()), everywhere])
    usual = usual[integers(intents.indices.fill_null(len(usual) - 1))]
    share = np.divide(floats(log["dwell_s"]), usual, out=np.full(len(usual), np.nan), where=usual != 0)
    return np.where(np.isnan(share), 0, 1 + _step(share, DWELL_SHARES))


def _followup(order: Sessions) -> Ints:
    step = _step(order.similarity, SIMILAR)
    return np.where(order.followed, np.where(order.next_gap_s <= SOON_S, 1, 6) + step, 0)


def _confidence(column: pa.ChunkedArray, edges: tuple[float, ...]) -> Ints:
    values = floats(column)
    return np.where(np.isnan(values), 0, 1 + _step(values, edges))


def _again(turns: Turns, followup: Ints) -> Ints:
    """Whether this turn itself said again, soon, what the one before it said."""
    before = np.zeros(len(turns), dtype=np.int64)
    before[1:] = np.where(turns.user[1:] == turns.user[:-1], followup[:-1], 0)
    return np.where(before == 5, 2, np.where((before == 3) | (before == 4), 1, 0))


def _words(turns: Turns, order: Sessions) -> Ints:
    corrects = pc.match_substring_regex(turns.texts, CORRECTING).to_numpy(zero_copy_only=False)
    found = np.zeros(len(turns), dtype=np.int64)
    at = np.flatnonzero(order.followed)
    found[at] = corrects[turns.text[at + 1]]
    return found


def _abandoned(order: Sessions) -> Ints:
    """How the session ended, if this turn ended it. (Not "after a retry": that would count signal_again twice.)"""
    back = order.next_gap_s <= AWAY_S
    return np.where(~order.last, 0, np.where(back, 1, 2))


def patterns(levels: Ints) -> tuple[Ints, Ints]:
    """Distinct combinations of levels (P, signals) and how often each occurs (P,): all that a fit needs."""
    groups = Groups(*levels.T)
    return np.stack([groups.first(column) for column in levels.T], axis=1), groups.count()
