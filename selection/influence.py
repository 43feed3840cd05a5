"""Which words mislead the model: sums of attributions over its mistakes, by confusion; and what they make an
utterance worth.
"""

import heapq
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
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

    def by_right_class(self) -> dict[str, dict[str, float]]:
        """Right class -> word -> influence over all confusions of that class."""
        merged: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for (right, _), table in self.tables.items():
            for word, weight in table.items():
                merged[right][word] += weight
        return {right: dict(table) for right, table in merged.items()}

    def top(self, confusion: Confusion, count: int = 10) -> list[tuple[str, float]]:
        """The words that misled most in one confusion; ties by the word."""
        return sorted(self.tables[confusion].items(), key=lambda item: (-item[1], item[0]))[:count]


def importance(
    texts: Sequence[str], classes: Sequence[Sequence[str]], influence: Influence, length_exponent: float = 0.5
) -> np.ndarray:
    """(N,) importance: the sum over an utterance's distinct words of their influence on its own classes.

    Only the tables of confusions whose right class is among the utterance's labels count: the class that the words
    were missing.

    Args:
        classes: of each utterance; its intent, and the slots in it where slots are explained too.
        length_exponent: the sum is divided by (number of words) to this power: 0 favours long utterances, 1 is the
            mean over words.
    """
    tables = influence.by_right_class()
    return np.array(
        [
            _sum(words(text), [tables[label] for label in labels if label in tables], length_exponent)
            for text, labels in zip(texts, classes, strict=True)
        ],
        dtype=float,
    )


def _sum(heard: Sequence[str], tables: Sequence[Mapping[str, float]], length_exponent: float) -> float:
    # sorted: sets of strings change order from run to run, and sums of floats with it
    total = sum(table.get(word, 0.0) for table in tables for word in sorted(set(heard)))
    return total / float(len(heard) ** length_exponent)


def diminishing_importance(
    texts: Sequence[str],
    classes: Sequence[Sequence[str]],
    influence: Influence,
    length_exponent: float = 0.5,
    decay: float = 0.5,
) -> np.ndarray:
    """(N,) importance at the moment an utterance is taken, best first, when every word of those taken before counts
    `decay` times as much for its class from then on.

    `decay` 1 is plain `importance`; 0 wants every word once. The order of the result is the order of taking.
    Cost: about N log N; a score is brought up to date only when its utterance comes to the top (lazy greedy, right
    because scores only fall).
    """
    tables = influence.by_right_class()
    heard = [words(text) for text in texts]
    mine = [[tables[label] for label in labels if label in tables] for labels in classes]

    def score(row: int) -> float:
        return _sum(heard[row], mine[row], length_exponent)

    first = [score(row) for row in range(len(texts))]
    heap = [(-value, texts[row], row) for row, value in enumerate(first) if value > 0]
    heapq.heapify(heap)
    taken = np.zeros(len(texts))
    while heap:
        _, text, row = heapq.heappop(heap)
        now = score(row)
        if heap and -now > heap[0][0]:
            heapq.heappush(heap, (-now, text, row))
            continue
        taken[row] = now
        for table in mine[row]:
            for word in set(heard[row]) & table.keys():
                table[word] *= decay
    return taken
