"""The defect model: two latent classes of turns, good and defective, under which signals are independent.

Source: latent class analysis (Dawid & Skene 1979, signals in the place of annotators), fitted by EM. It differs in
that each table of P(level | class) has a Dirichlet prior from `PRIOR`, which also names the classes: without it EM
could swap them, and a log of twenty turns would be fitted to its noise. What the log does not say tells no class.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mining.signals import LEVELS

Array = NDArray[np.float64]

PRIOR_DEFECT = 0.15
"""Share of defects assumed before anything is seen."""

PRIOR_TURNS = 40.0
"""Turns of each class that the prior tables weigh as much as."""

PRIOR: dict[str, tuple[tuple[float, ...], tuple[float, ...]]] = {
    # weights of the levels among good turns, and among defective ones; each is scaled to sum to one
    "signal_status": ((0.1, 99.8, 0.1), (0.1, 69.9, 30)),
    "signal_interrupted": ((5, 90, 5), (5, 55, 40)),
    "signal_dwell": ((60, 1, 1, 2, 4, 10, 40), (60, 8, 7, 8, 6, 5, 6)),
    "signal_followup": ((64, 8, 4, 1, 0.5, 0.5, 10, 6, 3, 1.5, 1.5), (25, 6, 8, 10, 15, 20, 5, 4, 3, 2, 2)),
    "signal_asr": ((20, 1, 2, 4, 8, 14, 15, 27, 27), (20, 8, 9, 11, 13, 13, 10, 10, 6)),
    "signal_nlu": ((20, 1, 2, 4, 8, 14, 15, 27, 27), (20, 8, 9, 11, 13, 13, 10, 10, 6)),
    "signal_again": ((96, 3, 1), (84, 10, 6)),
    "signal_words": ((99, 1), (92, 8)),
    "signal_abandoned": ((60, 20, 20), (60, 17, 23)),
}

SILENT = tuple(name for name, (good, bad) in PRIOR.items() if good[0] == bad[0])
"""Signals whose level 0 says nothing: the log does not tell, or, of abandonment, the session went on, which the
follow-up has told already. How often that is, is the same in both classes: else EM may find turns that end a session,
or logs without confidences, to be the two classes, all the more the fewer defects are left to find.
"""


@dataclass(frozen=True)
class DefectModel:
    """P(defect) and, per signal, P(level | good) and P(level | defect): arrays (2, levels), rows summing to 1."""

    defect_rate: float
    tables: Mapping[str, Array]
    turns: int = 0
    iterations: int = 0
    last_change: float = 0.0
    """Largest change of a pattern's probability in the last iteration."""
    fitted: bool = False

    def weights(self) -> dict[str, list[float]]:
        """Log-likelihood ratio of every level, nats: positive speaks for a defect."""
        return {name: np.round(np.log(t[1] / t[0]), 6).tolist() for name, t in self.tables.items()}

    def offset(self) -> float:
        """Log-odds of a defect before any signal."""
        return round(float(np.log(self.defect_rate / (1 - self.defect_rate))), 6)

    def report(self) -> dict[str, object]:
        """What was fitted, in plain values for the run's report."""
        signals = {
            name: [
                {"level": level, "weight": weight, "good": round(float(good), 6), "defect": round(float(bad), 6)}
                for level, weight, good, bad in zip(LEVELS[name], weights, *self.tables[name], strict=True)
            ]
            for name, weights in self.weights().items()
        }
        keys = ("fitted", "turns", "iterations")
        return {
            **{key: getattr(self, key) for key in keys},
            "defect_rate": round(self.defect_rate, 6),
            "last_change": round(self.last_change, 9),
            "signals": signals,
        }

    def to_json(self) -> str:
        """The model as text, enough to build it again."""
        return json.dumps({"defect_rate": self.defect_rate, "tables": {n: t.tolist() for n, t in self.tables.items()}})

    @staticmethod
    def from_json(text: str) -> "DefectModel":
        """The model that `to_json` wrote."""
        got = json.loads(text)
        return DefectModel(got["defect_rate"], {n: np.array(t) for n, t in got["tables"].items()})


def prior_model() -> DefectModel:
    """The model before any log: what an unfittable log gets."""
    return DefectModel(PRIOR_DEFECT, {name: _rows(np.array(PRIOR[name])) for name in LEVELS})


def _rows(table: Array) -> Array:
    return table / table.sum(axis=1, keepdims=True)


def _silent(counts: Array) -> Array:
    """P(level | class) where level 0 is as frequent in both classes."""
    table = _rows(counts)
    unknown = counts[:, 0].sum() / counts.sum()
    return np.concatenate([np.full((2, 1), unknown), (1 - unknown) * _rows(table[:, 1:])], axis=1)


def posterior(model: DefectModel, levels: Array) -> Array:
    """P(defect) of every row of `levels` (N, signals; integers in the order of LEVELS)."""
    log_odds = np.full(len(levels), np.log(model.defect_rate / (1 - model.defect_rate)))
    for column, name in enumerate(LEVELS):
        table = np.log(model.tables[name])
        log_odds += (table[1] - table[0])[levels[:, column].astype(int)]
    return 1 / (1 + np.exp(-log_odds))


def maximise(levels: Array, defect_turns: Array, good_turns: Array) -> DefectModel:
    """The model that fits turns whose class is known in the given shares (N,): labelled rows have 0 or all of them."""
    tables = {}
    for column, name in enumerate(LEVELS):
        level = levels[:, column].astype(int)
        seen = [np.bincount(level, w, len(LEVELS[name])) for w in (good_turns, defect_turns)]
        counts = np.array(seen) + PRIOR_TURNS * _rows(np.array(PRIOR[name]))
        tables[name] = _silent(counts) if name in SILENT else _rows(counts)
    bad, good = defect_turns.sum() + PRIOR_TURNS * PRIOR_DEFECT, good_turns.sum() + PRIOR_TURNS * (1 - PRIOR_DEFECT)
    return DefectModel(float(bad / (bad + good)), tables)


def fit(
    levels: Array,
    turns: Array,
    max_iterations: int = 300,
    tolerance: float = 1e-7,
) -> DefectModel:
    """EM over distinct signal patterns: `levels` (N, signals), `turns` (N,) how often each occurred. No labels.

    A fit that calls most turns defective, or being understood a sign of a defect, has found some other division of the
    log; the prior model is returned instead, with `fitted` false.
    """
    order = np.lexsort(levels.T[::-1])  # sums in one order, whatever order the patterns came in
    levels, turns = levels[order].astype(float), turns[order].astype(float)
    model, change, iteration = prior_model(), 1.0, 0
    share = posterior(model, levels)
    while change > tolerance and iteration < max_iterations:
        model = maximise(levels, share * turns, (1 - share) * turns)
        after = posterior(model, levels)
        change, share, iteration = float(np.abs(after - share).max(initial=0)), after, iteration + 1
    status = model.weights()["signal_status"]
    if model.defect_rate > 0.6 or status[1] > status[2]:
        return prior_model()
    return DefectModel(model.defect_rate, model.tables, int(turns.sum()), iteration, change, True)


def fit_labelled(levels: Array, defects: Array) -> DefectModel:
    """The same model fitted on rows with a known class: `levels` (N, signals), `defects` (N,) 0 or 1."""
    model = maximise(levels, defects.astype(float), 1.0 - defects)
    return DefectModel(model.defect_rate, model.tables, len(levels), 1, 0.0, True)


def micros(model: DefectModel, levels: Mapping[str, NDArray[np.int64]]) -> NDArray[np.int64]:
    """P(defect) of turns in whole millionths (N,), from each signal's levels (N,): so that sums have no order."""
    log_odds = np.full(len(next(iter(levels.values()))), model.offset())
    for name, weights in model.weights().items():
        log_odds += np.array(weights)[levels[name]]
    return np.floor(1e6 / (1 + np.exp(-log_odds)) + 0.5).astype(np.int64)
