"""Fit the decision on held-back turns: two tree models, their calibration, and the operating point.

Everything that is reported or thresholded here is out of fold, folds by user, so that no user judges themself.

A log shows only some of its failures: many users say nothing. So a turn's failing is a probability throughout, the
one its signals give: models are fitted to it as a soft label, and a rewrite of a turn that seemed fine counts as harm
as far as it did.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import lightgbm
import numpy as np

from rewrite.cascade import ALWAYS, NEVER
from rewrite.decision import SPACES, Calibration, Decider, Thresholds, Untold, choose
from rewrite.judged import LEAST_GAIN, CandidateTable, FittingConfig, Found, Judged
from rewrite.rewriter import Considered, Scorer, contenders
from rewrite.settling import (
    forget_forward,
    is_missed,
    reach_of,
    search_pays,
    shares_of_best,
    zone_of,
)
from rewrite.text import normalise
from rewrite.trees import by_fold, calibrate, folds_by, predicted, train
from rewrite.usual import Usual


@dataclass(frozen=True)
class Fit:
    """The fitted decision with its out-of-fold figures.

    Attributes:
        fold_of: the fold of each user that was learned from.
        unseen: for each fold the decision by trees that saw none of its users; calibrations and thresholds are shared.
    """

    decider: Decider
    figures: dict[str, float] = field(default_factory=dict)
    fold_of: dict[str, int] = field(default_factory=dict)
    unseen: dict[int, Decider] = field(default_factory=dict)


def fit(
    judged: Sequence[Judged],
    scorer: Scorer,
    config: FittingConfig,
    progress: Callable[[int, int], None] = lambda done, of: None,
) -> Fit:
    """Fit both models, calibrations and thresholds on `judged` turns.

    Args:
        scorer: evidence from before the held-back window, and the generator.
        progress: called with the number of turns rescored and how many there are.

    Raises:
        ValueError: too few failing turns to fit anything.
    """
    signals = np.array([j.p_signals for j in judged])
    fails = signals > 0.5
    if fails.sum() < 20 or (~fails).sum() < 20:
        raise ValueError(
            f"cannot calibrate on held-back history: got {int(fails.sum())} failing and {int((~fails).sum())} "
            f"good turns, "
            "expected at least 20 of each; the log is too short or its outcome columns (status, interrupted, "
            "dwell_s) are empty"
        )
    considered = [scorer.consider(j.turn, normalise(j.turn.utterance)) for j in judged]
    users = [j.turn.user_id or "" for j in judged]
    folds = folds_by(users, config.folds, config.seed)
    turn_rows = np.array([c.turn_features for c in considered])
    failing = by_fold(turn_rows, signals, folds, config.turn_trees)
    raw_fail = predicted(failing, turn_rows, folds)
    fail_calibration = calibrate(raw_fail, signals)
    p_fail = fail_calibration(raw_fail)
    rows = _worth_rescoring(p_fail, config)
    chosen, of, failed = [considered[r] for r in rows], [judged[r] for r in rows], signals[rows]
    for c, p in zip(chosen, p_fail[rows], strict=True):
        scorer.propose(c, float(p))
    search = search_pays(chosen, of, p_fail[rows], scorer, config)
    sieve = _sift(chosen, of, folds[rows], failed, p_fail[rows] if search else None, scorer, config, progress)
    judge = partial(_judge, chosen, of, folds[rows], failed, config)
    last = judge()
    forward = False
    if scorer.generator is not None:
        features = [c.features for c in chosen]
        forget_forward(chosen)
        alone = judge()
        forward = is_missed(last.found, alone.found, of, failed, config)
        if forward:
            for c, before in zip(chosen, features, strict=True):
                c.features = before
        else:
            last = alone
    reach = 0.0 if scorer.generator is None else reach_of(last.found, sieve.worth, config)
    if reach:
        for c, worth in zip(chosen, sieve.worth, strict=True):
            scorer.narrow(c, np.flatnonzero(shares_of_best(worth) >= reach))
        last = judge()
    # without a generator there is nothing to ask; what is decided is what was fitted
    ask = ALWAYS
    if scorer.generator is not None:
        missed = is_missed(last.found, sieve.unasked, of, failed, config)
        ask = zone_of(last.found, sieve.unasked, config) if missed else NEVER
    held = [ask.holds(c.gain for c, _ in found) for found in sieve.unasked]
    candidates = [a if holds else u for a, u, holds in zip(last.found, sieve.unasked, held, strict=True)]
    # the rescored turns stand for all that are worth it
    scale = float((p_fail >= config.least_p_fail).sum() / max(len(rows), 1))
    thresholds, figures = _operating_point(candidates, p_fail[rows], of, signals, scale, config)
    usual = Usual.of([j.turn for j in judged])
    untold = fit_untold(turn_rows, signals, folds, usual, config)
    decided = partial(
        Decider,
        fail_calibration=fail_calibration,
        sift_calibration=sieve.calibration,
        right_calibration=last.calibration,
        thresholds=Thresholds(config.least_p_fail, thresholds, ask, search, reach, forward),
        intent_defect_rates=scorer.intent_defect_rates,
        guards=config.guards,
        usual=usual,
        untold=untold,
    )
    table = last.table
    right = train(table.features, table.right, config.trees, table.weight)
    decider = decided(train(turn_rows, signals, config.turn_trees), sieve.model, right)
    unseen = {
        fold: decided(model, sieve.unseen.get(fold, sieve.model), last.unseen.get(fold, right))
        for fold, model in failing.items()
    }
    counts = {"turns": float(len(judged)), "failing": float(signals.sum()), "rescored": float(len(rows))}
    counts["wants_known"] = float(sum(j.fails and j.want is not None for j in judged))
    counts["asked"] = float(np.mean(held)) if scorer.generator is not None and held else 0.0
    fold_of = dict(zip(users, folds.tolist(), strict=True))
    return Fit(decider, {**counts, **figures}, fold_of, unseen)


def fit_untold(
    turn_rows: np.ndarray, signals: np.ndarray, folds: np.ndarray, usual: Usual, config: FittingConfig
) -> Untold | None:
    """Trees for turns that leave out what is usual, from turns each made silent in one way or another; None where
    nothing is usual.

    Args:
        turn_rows: TURN_FEATURES, shape (N, F). signals: probability that each turn failed, shape (N,).
        folds: of each turn's user, shape (N,).
    """
    silences = usual.silences()
    if not silences:
        return None
    blank, way = turn_rows.copy(), np.random.default_rng(config.seed).integers(len(silences), size=len(turn_rows))
    for number, columns in enumerate(silences):
        blank[np.ix_(way == number, columns)] = np.nan
    raw = predicted(by_fold(blank, signals, folds, config.turn_trees), blank, folds)
    return Untold(train(blank, signals, config.turn_trees), calibrate(raw, signals))


@dataclass(frozen=True)
class _Sieve:
    """The trees on the cheap features, their calibration by space, and what they say of each turn, out of fold.

    `unseen` are those that saw none of a fold. `worth` is that of each turn's rescored candidates; infinite where the
    search found them.
    """

    model: lightgbm.Booster
    unseen: dict[int, lightgbm.Booster]
    calibration: dict[str, Calibration]
    unasked: Found
    worth: list[np.ndarray]


def _sift(
    considered: Sequence[Considered],
    judged: Sequence[Judged],
    folds: np.ndarray,
    p_failed: np.ndarray,
    searched_p_fail: np.ndarray | None,
    scorer: Scorer,
    config: FittingConfig,
    progress: Callable[[int, int], None],
) -> _Sieve:
    """Fit the sieve on the cheap features, and rescore what it lets through, judged out of fold.

    Args:
        searched_p_fail: probability that each turn fails, shape (turns,); None where the generator is not let search.
    """
    table = CandidateTable.of(considered, judged, folds, p_failed)
    unseen = by_fold(table.features, table.right, table.fold, config.trees, table.weight)
    raw = predicted(unseen, table.features, table.fold)
    calibration = table.calibrations(raw)
    edges = np.searchsorted(table.turn, np.arange(len(considered) + 1))
    bare, kept, rescored = [], [np.zeros(0)], []
    for row, c in enumerate(considered):
        worth = raw[edges[row] : edges[row + 1]]
        plain, best = scorer.unasked(c, worth)
        bare.append(plain)
        kept.append(best)
        if searched_p_fail is not None:
            scorer.search(c, float(searched_p_fail[row]))
        scorer.rescore(c, worth)
        if scorer.generator is not None:
            found = worth[contenders(worth)]
            rescored.append(np.append(found, np.full(len(c.proposals) - len(found), np.inf)))
        progress(row + 1, len(considered))
    few = CandidateTable.of(bare, judged, folds, p_failed, config.guards)
    unasked = few.candidates(few.probabilities(calibration, np.concatenate(kept)))
    model = train(table.features, table.right, config.trees, table.weight)
    return _Sieve(model, unseen, calibration, unasked, rescored)


@dataclass(frozen=True)
class _Verdict:
    """The rescored candidates, the trees on them that saw none of a fold, their calibration by space, and what these
    say of each turn.
    """

    table: CandidateTable
    unseen: dict[int, lightgbm.Booster]
    calibration: dict[str, Calibration]
    found: Found


def _judge(
    considered: Sequence[Considered],
    judged: Sequence[Judged],
    folds: np.ndarray,
    p_failed: np.ndarray,
    config: FittingConfig,
) -> _Verdict:
    """Out of fold, by all features."""
    table = CandidateTable.of(considered, judged, folds, p_failed, config.guards)
    unseen = by_fold(table.features, table.right, table.fold, config.trees, table.weight)
    raw = predicted(unseen, table.features, table.fold)
    calibration = table.calibrations(raw)
    return _Verdict(table, unseen, calibration, table.candidates(table.probabilities(calibration, raw)))


def _operating_point(
    candidates: Found,
    p_fail: np.ndarray,
    judged: Sequence[Judged],
    signals: np.ndarray,
    scale: float,
    config: FittingConfig,
) -> tuple[dict[str, float], dict[str, float]]:
    """The lowest gain threshold whose expected harm, out of fold, is within what is allowed.

    A turn that showed no sign of failing is broken by a wrong rewrite with the probability that it was good after all.
    """
    good = float((1 - signals).sum())
    figures: dict[str, float] = {}
    for threshold in np.arange(LEAST_GAIN, 1.0, 0.02):
        gains: dict[str, float] = {space: float(threshold) for space in SPACES}
        rewritten, known, fixed, broken = 0, 0, 0, 0.0
        for found, j, p in zip(candidates, judged, p_fail, strict=True):
            chosen = choose([c for c, _ in found], gains)
            if chosen is None:
                continue
            does = next(met for c, met in found if c is chosen)
            rewritten += 1
            known += j.fails and j.want is not None
            fixed += j.fails and does
            broken += 0.0 if j.fails or does else 1.0 - p
        figures = {
            "trigger_rate": scale * rewritten / len(signals),
            "right_of_known": fixed / max(known, 1),
            "harm": float(scale * broken / max(good, 1.0)),
            "gain_threshold": float(threshold),
        }
        if figures["harm"] <= config.harm_allowed:
            return gains, figures
    return dict.fromkeys(SPACES, 1.0), {**figures, "gain_threshold": 1.0}


def _worth_rescoring(p_fail: np.ndarray, config: FittingConfig) -> np.ndarray:
    """Rows of the turns likely enough to fail, at most `most_rescored`, drawn at random, in their order."""
    rows = np.flatnonzero(p_fail >= config.least_p_fail)
    if len(rows) > config.most_rescored:
        rows = np.sort(np.random.default_rng(config.seed).choice(rows, config.most_rescored, replace=False))
    return rows
