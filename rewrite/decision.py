"""What to do with a turn: how likely it fails if left alone, how likely a rewrite succeeds, and whether to act.

Two questions, two models, calibrated apart; doing nothing is the default. Trees are LightGBM's text format, never
pickle.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import lightgbm
import numpy as np

from rewrite.cascade import ALWAYS, Zone
from rewrite.features import CANDIDATE_FEATURES, TURN_FEATURES
from rewrite.guards import OPEN, Barrier, Guards
from rewrite.usual import Usual

Space = Literal["personal", "global"]
SPACES: tuple[Space, Space] = ("personal", "global")


LIKELY = 0.8
"""Share of the best global candidate's expected gain that a personal one needs to go before it."""


@dataclass(frozen=True)
class Candidate:
    """One text that the turn could be rewritten to.

    `p_right` is the calibrated probability that the turn fails as it is and succeeds as this text; `gain` the expected
    defects cured less those caused; `barrier` what the guards ask for before it is acted on. `features` are by name.
    """

    text: str
    space: Space
    sources: tuple[str, ...]
    p_right: float
    gain: float
    features: Mapping[str, float] = field(default_factory=dict, repr=False)
    barrier: Barrier = OPEN


@dataclass(frozen=True)
class Decision:
    """The answer for one turn: `text` None means leave it alone; `reason` is one of REASONS."""

    text: str | None
    source: Space | None
    confidence: float
    reason: str
    p_fail: float = 0.0
    candidates: tuple[Candidate, ...] = ()


REASONS = {
    "rewritten": "a candidate's expected gain is above its threshold",
    "empty": "nothing to rewrite: the text is empty after normalising",
    "too_long": "the text is longer than any that is kept",
    "likely_fine": "the turn is likely to succeed as it is",
    "no_candidate": "no text in force comes near",
    "unsure": "no candidate's expected gain is above its threshold",
    "guarded": "a guard holds back what would have been chosen",
}


@dataclass(frozen=True)
class Calibration:
    """Increasing piecewise-linear map from raw model output to probability: `probability` at the knots `raw`.

    A thousandth of the raw output is mixed in: isotonic steps are flat, and candidates on one step still have an order.
    """

    raw: tuple[float, ...] = (0.0, 1.0)
    probability: tuple[float, ...] = (0.0, 1.0)

    def __call__(self, raw: np.ndarray) -> np.ndarray:
        return np.asarray(0.999 * np.interp(raw, *self._knots) + 0.001 * raw)

    @cached_property
    def _knots(self) -> tuple[np.ndarray, np.ndarray]:
        return np.array(self.raw), np.array(self.probability)


@dataclass(frozen=True)
class Thresholds:
    """Operating point: turns below `p_fail` are not looked at; a rewrite needs a gain above its space's threshold;
    turns in the zone `ask` are put to the generator, which is let `search`, too, if that finds what nothing else does,
    and rescores the candidates worth at least the share `reach` of the best one's worth, in the `forward` direction
    besides the channel where that tells more.
    """

    p_fail: float = 0.1
    gain: Mapping[str, float] = field(default_factory=lambda: {"personal": 1.0, "global": 1.0})
    ask: Zone = ALWAYS
    search: bool = True
    reach: float = 0.0
    forward: bool = True


@dataclass(frozen=True)
class Untold:
    """Whether a turn fails that leaves out what turns usually tell: trees that learned from turns so blanked."""

    model: lightgbm.Booster
    calibration: Calibration

    def p_fail(self, features: np.ndarray) -> np.ndarray:
        """As `Decider.p_fail`."""
        return self.calibration(_predict(self.model, features))


class Decider:
    """The tree models with their calibrations and thresholds."""

    def __init__(
        self,
        fail_model: lightgbm.Booster,
        sift_model: lightgbm.Booster,
        right_model: lightgbm.Booster,
        fail_calibration: Calibration,
        sift_calibration: Mapping[str, Calibration],
        right_calibration: Mapping[str, Calibration],
        thresholds: Thresholds,
        intent_defect_rates: Mapping[str, float],
        guards: Guards = Guards(),
        usual: Usual = Usual(),
        untold: Untold | None = None,
    ) -> None:
        self._fail_model = fail_model
        self._sift_model = sift_model
        self._right_model = right_model
        self._fail_calibration = fail_calibration
        self._sift_calibration = sift_calibration
        self._right_calibration = right_calibration
        self.thresholds = thresholds
        self.intent_defect_rates = dict(intent_defect_rates)
        self.guards = guards
        self.usual = usual
        self.untold = untold

    def p_fail(self, features: np.ndarray) -> np.ndarray:
        """Probability that a turn fails if left alone, shape (N,), from TURN_FEATURES, shape (N, F)."""
        found = self._fail_calibration(_predict(self._fail_model, features))
        if self.untold is not None and (rows := self.usual.untold(features)).any():
            found[rows] = self.untold.p_fail(features[rows])
        return found

    def sift(self, features: np.ndarray) -> np.ndarray:
        """Uncalibrated worth of each candidate, shape (N,), from CHEAP_FEATURES: which ones to rescore."""
        return _predict(self._sift_model, features)

    @property
    def decides_unasked(self) -> bool:
        """Whether the cheap trees can decide alone: bundles from before there was a zone cannot."""
        return set(SPACES) <= self._sift_calibration.keys()

    def p_right_unasked(self, worth: np.ndarray, spaces: Sequence[Space]) -> np.ndarray:
        """As `p_right` where the generator is not asked, from the candidates' worth, shape (N,)."""
        return _calibrated(self._sift_calibration, worth, spaces)

    def p_right(self, features: np.ndarray, spaces: Sequence[Space]) -> np.ndarray:
        """Probability that each candidate cures its turn, shape (N,), from CANDIDATE_FEATURES, shape (N, F)."""
        return _calibrated(self._right_calibration, _predict(self._right_model, features), spaces)

    def save(self, folder: Path) -> None:
        """Write decision.json and the tree files."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "fail.txt").write_text(self._fail_model.model_to_string())
        (folder / "sift.txt").write_text(self._sift_model.model_to_string())
        (folder / "right.txt").write_text(self._right_model.model_to_string())
        settings = {
            "turn_features": TURN_FEATURES,
            "candidate_features": CANDIDATE_FEATURES,
            "fail_calibration": asdict(self._fail_calibration),
            "sift_calibration": {space: asdict(c) for space, c in self._sift_calibration.items()},
            "right_calibration": {space: asdict(c) for space, c in self._right_calibration.items()},
            "thresholds": asdict(self.thresholds),
            "intent_defect_rates": self.intent_defect_rates,
            "guards": self.guards.as_json(),
            "usual": asdict(self.usual),
        }
        if self.untold is not None:
            (folder / "untold.txt").write_text(self.untold.model.model_to_string())
            settings["untold_calibration"] = asdict(self.untold.calibration)
        (folder / "decision.json").write_text(json.dumps(settings, indent=1, sort_keys=True) + "\n")

    @classmethod
    def load(cls, folder: Path) -> "Decider":
        """Read what `save` wrote.

        Raises:
            ValueError: the file was fitted for other features than this version computes.
        """
        settings = json.loads((folder / "decision.json").read_text())
        for name, ours in (("turn_features", TURN_FEATURES), ("candidate_features", CANDIDATE_FEATURES)):
            if tuple(settings[name]) != ours:
                raise ValueError(
                    f"{folder / 'decision.json'} was fitted for other {name} than this version computes; "
                    f"got {len(settings[name])}, expected {len(ours)}; learn the bundle again with this version"
                )
        return cls(
            lightgbm.Booster(model_str=(folder / "fail.txt").read_text()),
            lightgbm.Booster(model_str=(folder / "sift.txt").read_text()),
            lightgbm.Booster(model_str=(folder / "right.txt").read_text()),
            _calibration(settings["fail_calibration"]),
            {space: _calibration(c) for space, c in settings.get("sift_calibration", {}).items()},
            {space: _calibration(c) for space, c in settings["right_calibration"].items()},
            _thresholds(settings["thresholds"]),
            settings["intent_defect_rates"],
            Guards.from_json(settings["guards"]),
            Usual(**settings.get("usual", {})),
            _untold(folder, settings),
        )


def expected_gain(p_fail: float, p_right: np.ndarray, same_reading: np.ndarray) -> np.ndarray:
    """Expected defects cured less defects caused, shape (N,).

    A turn that a rewrite cures is a failing turn, so the chance that it is good is at most one minus the larger of
    the two
    probabilities; a good turn is broken unless the rewrite reads to the NLU just as the query does (`same_reading`,
    1 where
    it does, NaN where unknown): such a rewrite changes nothing, and is worth nothing.
    """
    changes = 1.0 - np.nan_to_num(same_reading, nan=0.0)
    return np.asarray(changes * (p_right - (1.0 - np.maximum(p_fail, p_right))))


def choose(
    candidates: Sequence[Candidate], gain_thresholds: Mapping[str, float], guarded: bool = True
) -> Candidate | None:
    """Personal before global: the best personal candidate if it is a likely match, else the best global one, else None.

    Likely is what is above its space's threshold and promises at least LIKELY of the gain of the best global candidate.
    What does not get over its barrier is no candidate, unless `guarded` is off.
    """
    able = [c for c in candidates if not guarded or _over_barrier(c, gain_thresholds)]
    best = {space: _best(c for c in able if c.space == space and c.gain > gain_thresholds[space]) for space in SPACES}
    own, everyones = best["personal"], best["global"]
    if own is None or everyones is None:
        return own or everyones
    return own if own.gain >= LIKELY * everyones.gain else everyones


def _over_barrier(candidate: Candidate, gain_thresholds: Mapping[str, float]) -> bool:
    barrier = candidate.barrier
    return candidate.p_right >= barrier.p_right and candidate.gain > gain_thresholds[candidate.space] + barrier.gain


def _best(candidates: Iterable[Candidate]) -> Candidate | None:
    return max(candidates, key=lambda c: (c.gain, c.p_right, c.text), default=None)


def _predict(model: lightgbm.Booster, features: np.ndarray) -> np.ndarray:
    if not len(features):
        return np.zeros(0)
    return np.asarray(model.predict(features, num_threads=1), dtype=np.float64)


def _calibrated(by_space: Mapping[str, Calibration], raw: np.ndarray, spaces: Sequence[Space]) -> np.ndarray:
    found, of = np.zeros(len(raw)), np.array(spaces, dtype=object)
    for space in set(spaces):
        found[of == space] = by_space[space](raw[of == space])
    return found


def _thresholds(settings: Mapping[str, Any]) -> Thresholds:
    # bundles from before there was a zone always ask
    return Thresholds(**{**settings, "ask": Zone(**settings.get("ask", {}))})


def _untold(folder: Path, settings: Mapping[str, Any]) -> Untold | None:
    # bundles from before had none, and none is made where turns usually tell nothing
    if "untold_calibration" not in settings:
        return None
    model = lightgbm.Booster(model_str=(folder / "untold.txt").read_text())
    return Untold(model, _calibration(settings["untold_calibration"]))


def _calibration(settings: Mapping[str, Any]) -> Calibration:
    return Calibration(tuple(settings["raw"]), tuple(settings["probability"]))
