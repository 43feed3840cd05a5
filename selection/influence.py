"""Which words mislead the model: sums of attributions over its mistakes, by confusion; and what they make an
utterance worth.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from selection.examples import words

Confusion = tuple[str, str]
"""Right class, wrong class."""


@dataclass(frozen=True)
class Misreading:
    """One mistake on the held-out set, explained word by word.

    Attributes:
        words: T words of the utterance.
        right_attributions: (T,) of the logit of the right class.
        wrong_attributions: (T,) of the logit of the class that was said.
        error: completeness error of the two, the larger; relative.
    """

    text: str
    right: str
    wrong: str
    words: tuple[str, ...]
    right_attributions: np.ndarray
    wrong_attributions: np.ndarray
    error: float = 0.0

    def blame(self) -> np.ndarray:
        """(T,) how far each word speaks against the right class or for the wrong one; never negative."""
        return np.asarray(np.maximum(-self.right_attributions, 0) + np.maximum(self.wrong_attributions, 0))


@dataclass
class Influence:
    """Word influence tables: for every confusion, how much each word misled, summed over its mistakes."""

    tables: dict[Confusion, dict[str, float]] = field(default_factory=dict)
    mistakes: dict[Confusion, int] = field(default_factory=dict)

    @classmethod
    def of(cls, misreadings: Iterable[Misreading], fewest_mistakes: int = 1) -> "Influence":
        """Sum the blame of every word; confusions seen fewer than `fewest_mistakes` times are left out."""
        sums: dict[Confusion, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        counts: dict[Confusion, int] = defaultdict(int)
        for mistake in misreadings:
            confusion = (mistake.right, mistake.wrong)
            counts[confusion] += 1
            for word, blame in zip(mistake.words, mistake.blame(), strict=True):
                sums[confusion][word] += float(blame)
        kept = sorted(c for c in counts if counts[c] >= fewest_mistakes)
        return cls({c: dict(sums[c]) for c in kept}, {c: counts[c] for c in kept})

    def by_class(self, penalty: float = 0.0) -> dict[str, dict[str, float]]:
        """Class -> word -> influence: over the confusions in which the class was missed, less `penalty` times that
        over those in which it was said wrongly. What is picked under a class must not teach the latter.
        """
        merged: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for (right, wrong), table in self.tables.items():
            for word, weight in table.items():
                merged[right][word] += weight
                if penalty:
                    merged[wrong][word] -= penalty * weight
        return {name: dict(table) for name, table in merged.items()}

    def top(self, confusion: Confusion, count: int = 10) -> list[tuple[str, float]]:
        """The words that misled most in one confusion; ties by the word."""
        return sorted(self.tables[confusion].items(), key=lambda item: (-item[1], item[0]))[:count]


def importance(
    texts: Sequence[str],
    classes: Sequence[Sequence[str]],
    influence: Influence,
    weights: Sequence[float] | np.ndarray | None = None,
    length_exponent: float = 0.5,
    decay: float = 0.5,
    penalty: float = 1.0,
) -> np.ndarray:
    """(N,) importance: the sum over an utterance's distinct words of their influence on its own classes, at the moment
    it is taken, best first; every word of those taken before counts `decay` times as much for its class from then on.

    Args:
        classes: of each utterance; its intent, and the slots in it where slots are explained too.
        weights: (N,) what each utterance's sum is multiplied by, not negative; default 1.
        length_exponent: the sum is divided by (number of words) to this power: 0 favours long utterances, 1 is the
            mean over words.
        decay: 1 takes every utterance for itself; 0 wants every word once.
        penalty: how much a word counts against a class that it wrongly led to; 0 counts only the class that it missed.

    Returns:
        Scores whose order is the order of taking; 0 where no word speaks for an utterance.

    Cost: about N log N; a score is brought up to date only when its utterance comes to the top (lazy greedy, right
    because scores only fall).
    """
    tables = influence.by_class(penalty)
    heard = [words(text) for text in texts]
    mine = [[tables[label] for label in labels if label in tables] for labels in classes]
    weight = np.ones(len(texts)) if weights is None else np.asarray(weights, dtype=float)

    def score(row: int) -> float:
        # sorted: sets of strings change order from run to run, and sums of floats with it
        total = sum(table.get(word, 0.0) for table in mine[row] for word in sorted(set(heard[row])))
        return float(weight[row]) * total / float(len(heard[row]) ** length_exponent)

    first = [score(row) for row in range(len(texts))]
    heap = [(-value, texts[row], row) for row, value in enumerate(first) if value > 0]
    heapq.heapify(heap)
    taken = np.zeros(len(texts))
    while heap:
        _, text, row = heapq.heappop(heap)
        now = score(row)
        if now <= 0:
            continue
        if heap and -now > heap[0][0]:
            heapq.heappush(heap, (-now, text, row))
            continue
        taken[row] = now
        for table in mine[row]:
            for word in set(heard[row]) & table.keys():
                table[word] *= decay if table[word] > 0 else 1.0
    return taken
