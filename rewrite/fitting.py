"""Fit the decision on held-back turns: two tree models, their calibration, and the operating point.

Everything that is reported or thresholded here is out of fold, folds by user, so that no user judges themself.

A log shows only some of its failures: many users say nothing. So a turn's failing is a probability throughout, the
one its
signals give: models are fitted to it as a soft label, and a rewrite of a turn that seemed fine counts as harm as far
as it did.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

import lightgbm
import numpy as np

from rewrite.cascade import ALWAYS, Zone, narrowest
from rewrite.decision import SPACES, Calibration, Candidate, Decider, Space, Thresholds, choose, expected_gain
from rewrite.features import CANDIDATE_FEATURES, FORWARD_COLUMNS
from rewrite.guards import Barrier, Guards
from rewrite.rewriter import Considered, Scorer, contenders
from rewrite.text import normalise
from rewrite.trees import TreesConfig, calibrate, folds_by, out_of_fold, train
from rewrite.turn import Reading, Turn

LEAST_GAIN = 0.01
"""Below this a rewrite is a guess, also where the turn surely fails."""

REACHES = (0.1, 0.05, 0.02, 0.01, 0.0)
"""Shares of the best candidate's worth that others may need to be rescored."""


@dataclass(frozen=True)
class Want:
    """What the user wanted: a text known to do it, and how the NLU reads that text."""

    text: str
    reading: Reading

    def met_by(self, text: str, reading: Reading) -> bool:
        """Whether acting on `text` does what was wanted: same text, or same intent and every wanted slot.

        A wanted reading without slots says little ("question answering"): then half of the wanted words must stand
        in the
        text too.
        """
        if text == self.text:
            return True
        if self.reading.intent is None or self.reading.intent != reading.intent:
            return False
        if self.reading.slots:
            return self.reading.slots <= reading.slots
        words = self.text.split()
        return 2 * len(set(words) & set(text.split())) >= len(words)


@dataclass(frozen=True)
class Judged:
    """A held-back turn and what became of it.

    `p_signals` is the probability that it failed, from its signals alone; `want` what its user wanted, as far as the
    log
    tells: for a failing turn what a later one got them, None where none did; for any other what it got them.
    """

    turn: Turn
    p_signals: float
    want: Want | None

    @property
    def fails(self) -> bool:
        """Whether the signals say that it failed."""
        return self.p_signals > 0.5


@dataclass(frozen=True)
class FittingConfig:
    """How the decision is fitted; `harm_allowed` is the share of good turns that may be rewritten wrong, `lost_allowed`
    that of the cured defects which may be lost by not asking the generator, by not letting it search, by not
    asking it about candidates far below the best, or in the channel direction only: by each.
    """

    harm_allowed: float = 0.002
    lost_allowed: float = 0.01
    folds: int = 5
    least_p_fail: float = 0.08
    most_rescored: int = 6000
    seed: int = 0
    guards: Guards = field(default_factory=Guards)

    @property
    def trees(self) -> TreesConfig:
        """How the tree models are grown."""
        return TreesConfig(seed=self.seed)


@dataclass(frozen=True)
class Fit:
    """The fitted decision with its out-of-fold figures."""

    decider: Decider
    figures: dict[str, float] = field(default_factory=dict)


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
    folds = folds_by([j.turn.user_id or "" for j in judged], config.folds, config.seed)
    turn_rows = np.array([c.turn_features for c in considered])
    raw_fail = out_of_fold(turn_rows, signals, folds, config.trees)
    fail_calibration = calibrate(raw_fail, signals)
    p_fail = fail_calibration(raw_fail)
    rows = _worth_rescoring(p_fail, config)
    chosen, of, failed = [considered[r] for r in rows], [judged[r] for r in rows], signals[rows]
    for c, p in zip(chosen, p_fail[rows], strict=True):
        scorer.propose(c, float(p))
    search = _search_pays(chosen, of, p_fail[rows], scorer, config)
    sieve = _sift(chosen, of, folds[rows], failed, p_fail[rows] if search else None, scorer, config, progress)
    judge = partial(_judge, chosen, of, folds[rows], failed, config)
    table, right_calibration, asked = judge()
    forward = scorer.generator is not None and _forward_pays(chosen, asked, judge, of, failed, config)
    if scorer.generator is not None and not forward:
        _forget_forward(chosen)
        table, right_calibration, asked = judge()
    reach = 0.0 if scorer.generator is None else _reach(asked, sieve.worth, config)
    if reach:
        for c, worth in zip(chosen, sieve.worth, strict=True):
            scorer.narrow(c, np.flatnonzero(_shares(worth) >= reach))
        table, right_calibration, asked = judge()
    # without a generator there is nothing to ask; what is decided is what was fitted
    ask = ALWAYS if scorer.generator is None else _zone(asked, sieve.unasked, config)
    held = [ask.holds(c.gain for c, _ in found) for found in sieve.unasked]
    candidates = [a if holds else u for a, u, holds in zip(asked, sieve.unasked, held, strict=True)]
    # the rescored turns stand for all that are worth it
    scale = float((p_fail >= config.least_p_fail).sum() / max(len(rows), 1))
    thresholds, figures = _operating_point(candidates, p_fail[rows], of, signals, scale, config)
    decider = Decider(
        train(turn_rows, signals, config.trees),
        sieve.model,
        train(table.features, table.right, config.trees, table.weight),
        fail_calibration,
        sieve.calibration,
        right_calibration,
        Thresholds(config.least_p_fail, thresholds, ask, search, reach, forward),
        scorer.intent_defect_rates,
        config.guards,
    )
    counts = {"turns": float(len(judged)), "failing": float(signals.sum()), "rescored": float(len(rows))}
    counts["wants_known"] = float(sum(j.fails and j.want is not None for j in judged))
    counts["asked"] = float(np.mean(held)) if scorer.generator is not None and held else 0.0
    return Fit(decider, {**counts, **figures})


_Found = list[list[tuple[Candidate, bool]]]
"""Candidates of each turn, and whether each does what was wanted."""


@dataclass(frozen=True)
class _Sieve:
    """The trees on the cheap features, their calibration by space, and what they say of each turn, out of fold.

    `worth` is that of each turn's rescored candidates; infinite where the search found them.
    """

    model: lightgbm.Booster
    calibration: dict[str, Calibration]
    unasked: _Found
    worth: list[np.ndarray]


def _search_pays(
    considered: Sequence[Considered],
    judged: Sequence[Judged],
    p_fail: np.ndarray,
    scorer: Scorer,
    config: FittingConfig,
) -> bool:
    """Whether more than `lost_allowed` of what users wanted is found by the generator's search alone."""
    before, after = 0, 0
    for c, j, p in zip(considered, judged, p_fail, strict=True):
        if scorer.generator is None or not j.fails or j.want is None:
            continue
        searched = replace(c)
        scorer.search(searched, float(p))
        before += any(j.want.met_by(p.text, p.reading) for p in c.proposals)
        after += any(j.want.met_by(p.text, p.reading) for p in searched.proposals)
    return after - before > config.lost_allowed * after


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
    table = _CandidateTable.of(considered, judged, folds, p_failed)
    raw = out_of_fold(table.features, table.right, table.fold, config.trees, table.weight)
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
    few = _CandidateTable.of(bare, judged, folds, p_failed, config.guards)
    unasked = few.candidates(few.probabilities(calibration, np.concatenate(kept)))
    return _Sieve(train(table.features, table.right, config.trees, table.weight), calibration, unasked, rescored)


def _judge(
    considered: Sequence[Considered],
    judged: Sequence[Judged],
    folds: np.ndarray,
    p_failed: np.ndarray,
    config: FittingConfig,
) -> "tuple[_CandidateTable, dict[str, Calibration], _Found]":
    """The rescored candidates, the calibration of the trees on them by space, and what these say, out of fold."""
    table = _CandidateTable.of(considered, judged, folds, p_failed, config.guards)
    raw = out_of_fold(table.features, table.right, table.fold, config.trees, table.weight)
    calibration = table.calibrations(raw)
    return table, calibration, table.candidates(table.probabilities(calibration, raw))


def _forward_pays(
    considered: Sequence[Considered],
    asked: _Found,
    judge: "Callable[[], tuple[_CandidateTable, dict[str, Calibration], _Found]]",
    judged: Sequence[Judged],
    p_failed: np.ndarray,
    config: FittingConfig,
) -> bool:
    """Whether more than `lost_allowed` of what is won is lost by the channel's scores alone."""
    features = [c.features for c in considered]
    _forget_forward(considered)
    alone = judge()[2]
    for c, before in zip(considered, features, strict=True):
        c.features = before
    return _won(alone, judged, p_failed) < (1 - config.lost_allowed) * _won(asked, judged, p_failed)


def _forget_forward(considered: Sequence[Considered]) -> None:
    """As if the forward direction had not been asked."""
    for c in considered:
        c.features = c.features.copy()
        c.features[:, FORWARD_COLUMNS] = np.nan


def _won(found: _Found, judged: Sequence[Judged], p_failed: np.ndarray) -> float:
    """Failing turns whose first choice does what was wanted, less the good ones that it would break."""
    gains: dict[str, float] = dict.fromkeys(SPACES, LEAST_GAIN)
    won = 0.0
    for candidates, j, p in zip(found, judged, p_failed, strict=True):
        best = choose([c for c, _ in candidates], gains)
        if best is not None:
            met = next(met for c, met in candidates if c is best)
            won += float(met) if j.fails else -float(not met) * (1.0 - float(p))
    return won


def _shares(worth: np.ndarray) -> np.ndarray:
    """Of the best candidate's worth, which the search's finds have no part in, shape (N,)."""
    return np.asarray(worth / max(worth[np.isfinite(worth)].max(initial=0.0), 1e-300))


def _reach(asked: _Found, worth: Sequence[np.ndarray], config: FittingConfig) -> float:
    """The largest of REACHES beyond which no more than `lost_allowed` of the expected cured defects is lost."""
    gains: dict[str, float] = dict.fromkeys(SPACES, LEAST_GAIN)
    chosen: list[tuple[float, float]] = []
    for found, of in zip(asked, worth, strict=True):
        best = choose([c for c, _ in found], gains)
        if best is not None:
            row = next(row for row, (c, _) in enumerate(found) if c is best)
            chosen.append((float(_shares(of)[row]), best.gain))
    allowed = config.lost_allowed * sum(gain for _, gain in chosen)
    return next(r for r in REACHES if sum(gain for share, gain in chosen if share < r) <= allowed)


@dataclass
class _CandidateTable:
    """All candidates of the rescored turns, one row each; `turn` is the row of their turn."""

    features: np.ndarray
    turn: np.ndarray
    fold: np.ndarray
    space: np.ndarray
    text: list[str]
    barrier: list[Barrier]
    met: np.ndarray
    right: np.ndarray
    weight: np.ndarray
    turns: int

    @classmethod
    def of(
        cls,
        considered: Sequence[Considered],
        judged: Sequence[Judged],
        folds: np.ndarray,
        p_failed: np.ndarray,
        guards: Guards = Guards(),
    ) -> "_CandidateTable":
        """Failing turns with a known want stand for all failing ones; a turn that seems good counts as far as it is."""
        known = sum(p for j, p in zip(judged, p_failed, strict=True) if j.fails and j.want is not None)
        stands_for = float(p_failed.sum() / max(known, 1.0))
        turn, space, text, met, right, weight = [], [], [], [], [], []
        barrier = []
        for row, (c, j) in enumerate(zip(considered, judged, strict=True)):
            for p in c.proposals:
                does = j.want is not None and j.want.met_by(p.text, p.reading)
                turn.append(row)
                space.append(p.space)
                text.append(p.text)
                barrier.append(guards.barrier(c.query, c.turn.reading, p.text, p.reading))
                met.append(does)
                right.append(j.fails and does)
                weight.append((stands_for if j.want is not None else 0.0) if j.fails else 1.0 - p_failed[row])
        features = [c.features for c in considered] or [np.zeros((0, len(CANDIDATE_FEATURES)))]
        turn_rows = np.array(turn, dtype=np.int64)
        return cls(
            np.concatenate(features),
            turn_rows,
            folds[turn_rows],
            np.array(space, dtype=object),
            text,
            barrier,
            np.array(met, dtype=bool),
            np.array(right, dtype=bool),
            np.array(weight, dtype=np.float64),
            len(considered),
        )

    def calibrations(self, raw: np.ndarray) -> dict[str, Calibration]:
        """From raw output for each candidate to the probability that it is right, by space."""
        return {
            space: calibrate(raw[rows], self.right[rows], self.weight[rows])
            for space in SPACES
            for rows in [self.space == space]
        }

    def probabilities(self, calibrations: Mapping[str, Calibration], raw: np.ndarray) -> np.ndarray:
        """Calibrated raw output, shape (N,)."""
        return np.array([calibrations[space](value) for space, value in zip(self.space, raw, strict=True)])

    def candidates(self, p_right: np.ndarray) -> _Found:
        """Candidates of each turn, and whether each does what was wanted."""
        p_fail = self.features[:, CANDIDATE_FEATURES.index("p_fail")]
        same = self.features[:, CANDIDATE_FEATURES.index("reading_agrees")]
        gain = np.array([expected_gain(f, r, s) for f, r, s in zip(p_fail, p_right, same, strict=True)])
        found: _Found = [[] for _ in range(self.turns)]
        for row in range(len(self.text)):
            space: Space = SPACES[self.space[row] == "global"]
            scored = float(p_right[row]), float(gain[row])
            candidate = Candidate(self.text[row], space, (), *scored, barrier=self.barrier[row])
            found[self.turn[row]].append((candidate, bool(self.met[row])))
        return found


def _zone(asked: _Found, unasked: _Found, config: FittingConfig) -> Zone:
    """Where the generator is asked: elsewhere no more than `lost_allowed` of the defects cured is lost.

    What is lost is judged by the fuller trees: the gain of their choice less that of the cheap trees' choice.
    """
    gains: dict[str, float] = dict.fromkeys(SPACES, LEAST_GAIN)
    best, gained, regret = [], 0.0, []
    for full, cheap in zip(asked, unasked, strict=True):
        ours, theirs = choose([c for c, _ in full], gains), choose([c for c, _ in cheap], gains)
        gain_of = {c.text: c.gain for c, _ in full}
        gain = 0.0 if ours is None else ours.gain
        gained += gain
        regret.append(max(0.0, gain - (0.0 if theirs is None else gain_of.get(theirs.text, 0.0))))
        best.append(max((c.gain for c, _ in cheap), default=-1.0))
    return narrowest(np.array(best), np.array(regret), config.lost_allowed * gained)


def _operating_point(
    candidates: _Found,
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
