"""From scores to a selection: quotas, near-duplicates and budget, each an explicit option."""

import hashlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from selection.examples import Utterance, words


@dataclass(frozen=True)
class Candidate:
    """A logged utterance with the label it would be added under.

    Attributes:
        users: distinct users who asked it and were satisfied.
        count: turns.
        evidence: where it comes from, for the report.
    """

    utterance: Utterance
    users: int = 1
    count: int = 1
    evidence: str = ""


@dataclass(frozen=True)
class Options:
    """How to pick from scores; each can be switched off, and is measured so.

    Attributes:
        per_intent, per_domain: largest share of the budget for one intent or domain, 1 is no quota; one pick is
            always allowed.
        near_duplicate: Jaccard similarity of word sets from which two picks count as one, above 1 is never.
        seed: of ties and of the random strategies.
    """

    per_intent: float = 0.1
    per_domain: float = 0.3
    near_duplicate: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("per_intent", "per_domain"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"{name} is {getattr(self, name)}; expected a share of the budget, above 0, up to 1")


@dataclass(frozen=True)
class Pick:
    """One selected candidate: its row among the candidates, rank and score."""

    row: int
    rank: int
    score: float


def pick(candidates: Sequence[Candidate], scores: np.ndarray, budget: int, options: Options) -> list[Pick]:
    """The best-scored candidates under the options; fewer than `budget` where quotas or candidates run out.

    Candidates without a score (-inf) are never picked. Equal scores are ordered by a seeded hash of the text, so that
    the order of the rows does not matter.

    Args:
        scores: (N,) higher is better.

    Raises:
        ValueError: no candidates, or a score that is NaN.
    """
    _check(candidates, scores)
    limits = _limits(budget, options)
    taken: Counter[tuple[str, str]] = Counter()
    kept: list[Pick] = []
    seen: list[frozenset[str]] = []
    for row in order(candidates, scores, options.seed):
        if len(kept) >= budget or scores[row] == -np.inf:
            break
        utterance = candidates[row].utterance
        keys = (("intent", utterance.intent), ("domain", utterance.domain))
        bag = frozenset(words(utterance.text))
        if any(taken[key] >= limits[key[0]] for key in keys) or _repeats(bag, seen, options.near_duplicate):
            continue
        taken.update(keys)
        seen.append(bag)
        kept.append(Pick(row, len(kept) + 1, float(scores[row])))
    return kept


def order(candidates: Sequence[Candidate], scores: np.ndarray, seed: int) -> list[int]:
    """Rows from best to worst score; ties by a seeded hash of text and label."""
    return sorted(range(len(candidates)), key=lambda row: (-scores[row], tie(candidates[row].utterance, seed)))


def tie(utterance: Utterance, seed: int) -> str:
    """What decides between equal scores."""
    return hashlib.sha256(f"{seed}\0{utterance.text}\0{utterance.intent}".encode()).hexdigest()


def _limits(budget: int, options: Options) -> Mapping[str, int]:
    shares = {"intent": options.per_intent, "domain": options.per_domain}
    return {kind: max(1, int(np.ceil(share * budget))) for kind, share in shares.items()}


def _repeats(bag: frozenset[str], seen: Sequence[frozenset[str]], threshold: float) -> bool:
    return any(len(bag & other) >= threshold * len(bag | other) for other in seen)


def _check(candidates: Sequence[Candidate], scores: np.ndarray) -> None:
    if not candidates:
        raise ValueError(
            "nothing to select from: got no candidates; expected logged utterances that succeeded; are the floors on "
            "users or confidence too high for this log, or are all labels unknown to the model?"
        )
    if len(scores) != len(candidates) or np.isnan(scores).any():
        raise ValueError(
            f"got {len(scores)} scores for {len(candidates)} candidates, {int(np.isnan(scores).sum())} of them NaN; "
            "expected one number each; did the model diverge?"
        )
