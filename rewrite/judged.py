"""Held-back turns with what became of them, their candidates as a table, and the settings of a fit."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from rewrite.decision import SPACES, Calibration, Candidate, Space, expected_gain
from rewrite.features import CANDIDATE_FEATURES
from rewrite.guards import Barrier, Guards
from rewrite.propose import Proposal
from rewrite.rewriter import Considered
from rewrite.trees import TreesConfig, calibrate
from rewrite.turn import Reading, Turn

LEAST_GAIN = 0.01
"""Below this a rewrite is a guess, also where the turn surely fails."""

OTHER_WORDS = 0.5
"""What a text counts for that has the wanted intent, where no slots were wanted, but hardly a word of what was said:
"make it brighter" does what "raise the light" does, "who is obama" not what "who is newton" does.
"""

WORDS_OF_FOLLOW_UP = 0.75
"""What it counts for where it has half of the words that the user then succeeded with, and hardly one of those that had
failed: they may have made do with something else.
"""


@dataclass(frozen=True)
class Want:
    """What the user wanted: a text known to do it, how the NLU reads that text, and the text that had failed them.

    `heard` is None where nothing had failed, or where the words of what had tell nothing of the wish ("once more").
    """

    text: str
    reading: Reading
    heard: str | None = None

    def met_by(self, text: str, reading: Reading) -> bool:
        """Whether acting on `text` does what was wanted, so far as is known: more than the intent alone says so."""
        return self.share_met(text, reading) > OTHER_WORDS

    def share_met(self, text: str, reading: Reading) -> float:
        """How far acting on `text` may do what was wanted: 1 for the same text, or the intent and every wanted slot.

        A wanted reading without slots says little ("question answering"): then words tell. 1 for half of those that had
        failed, or, where these tell nothing, of the wanted ones; else WORDS_OF_FOLLOW_UP for half of the wanted ones
        and OTHER_WORDS for the intent alone.
        """
        same_intent = self.reading.intent is not None and self.reading.intent == reading.intent
        if not same_intent or self.reading.slots:
            return float(text == self.text or (same_intent and self.reading.slots <= reading.slots))
        if _has_half(text, self.text if self.heard is None else self.heard):
            return 1.0
        return WORDS_OF_FOLLOW_UP if _has_half(text, self.text) else OTHER_WORDS


def _has_half(text: str, said: str) -> bool:
    """Whether half of the words of `said` stand in the text."""
    words = set(said.split())
    return 2 * len(words & set(text.split())) >= len(words)


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
        """How the trees over candidates are grown."""
        return TreesConfig(seed=self.seed)

    @property
    def turn_trees(self) -> TreesConfig:
        """How the trees over turns are grown."""
        return TreesConfig.of_turns(self.seed)


def _share_met(want: Want | None, proposal: Proposal) -> float:
    """How far a candidate may do what was wanted. Of a user's own texts, many of which are alike, only what surely
    does counts: an own text goes first on what is said here.
    """
    share = 0.0 if want is None else want.share_met(proposal.text, proposal.reading)
    return share if proposal.space != "personal" or share > OTHER_WORDS else 0.0


Found = list[list[tuple[Candidate, bool]]]
"""Candidates of each turn, and whether each does what was wanted."""


@dataclass
class CandidateTable:
    """All candidates of the rescored turns, one row each; `turn` is the row of their turn.

    `met` says whether a candidate surely does what was wanted, `right`, in [0, 1], how far it may cure its turn.
    """

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
    ) -> "CandidateTable":
        """Failing turns with a known want stand for all failing ones; a turn that seems good counts as far as it is."""
        known = sum(p for j, p in zip(judged, p_failed, strict=True) if j.fails and j.want is not None)
        stands_for = float(p_failed.sum() / max(known, 1.0))
        turn, space, text, met, right, weight = [], [], [], [], [], []
        barrier = []
        for row, (c, j) in enumerate(zip(considered, judged, strict=True)):
            for p in c.proposals:
                share = _share_met(j.want, p)
                turn.append(row)
                space.append(p.space)
                text.append(p.text)
                barrier.append(guards.barrier(c.query, c.turn.reading, p.text, p.reading))
                met.append(share > OTHER_WORDS)
                right.append(share if j.fails else 0.0)
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
            np.array(right, dtype=np.float64),
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

    def candidates(self, p_right: np.ndarray) -> Found:
        """Candidates of each turn, and whether each does what was wanted."""
        p_fail = self.features[:, CANDIDATE_FEATURES.index("p_fail")]
        same = self.features[:, CANDIDATE_FEATURES.index("reading_agrees")]
        gain = np.array([expected_gain(f, r, s) for f, r, s in zip(p_fail, p_right, same, strict=True)])
        found: Found = [[] for _ in range(self.turns)]
        for row in range(len(self.text)):
            space: Space = SPACES[self.space[row] == "global"]
            scored = float(p_right[row]), float(gain[row])
            candidate = Candidate(self.text[row], space, (), *scored, barrier=self.barrier[row])
            found[self.turn[row]].append((candidate, bool(self.met[row])))
        return found
