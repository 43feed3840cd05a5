"""What an NLU gets right: accuracy, macro F1, slot F1, SemER, confusions. Pure arithmetic on labels."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from selection.examples import Slot, Utterance, spans


def accuracy(right: Sequence[str], guessed: Sequence[str]) -> float:
    """Share of equal labels; NaN of nothing."""
    return float(np.mean([r == g for r, g in zip(right, guessed, strict=True)])) if right else float("nan")


def macro_f1(right: Sequence[str], guessed: Sequence[str]) -> float:
    """Mean F1 over the labels that occur on either side; NaN of nothing."""
    hits = Counter(r for r, g in zip(right, guessed, strict=True) if r == g)
    there, said = Counter(right), Counter(guessed)
    scores = [2 * hits[label] / (there[label] + said[label]) for label in sorted(there | said)]
    return float(np.mean(scores)) if scores else float("nan")


def slot_f1(right: Sequence[Sequence[str]], guessed: Sequence[Sequence[str]]) -> float:
    """Micro F1 of whole slots (name and place) in BIO tags.

    0 where neither side has any.

    Source: seqeval's `f1_score`, default mode.
    """
    hits = there = said = 0
    for tags, guess in zip(right, guessed, strict=True):
        a, b = set(spans(tags)), set(spans(guess))
        hits, there, said = hits + len(a & b), there + len(a), said + len(b)
    return 2 * hits / (there + said) if there + said else 0.0


def slot_errors(right: Sequence[Slot], guessed: Sequence[Slot]) -> int:
    """Slots missing, wrong or extra.

    A slot whose name is on both sides with another value is one error, not a missing one and an extra one.
    """
    a, b = Counter(right), Counter(guessed)
    missing, extra = Counter(n for n, _ in (a - b).elements()), Counter(n for n, _ in (b - a).elements())
    return (missing | extra).total()


def semantic_errors(right: Utterance, domain: str, intent: str, slots: Sequence[Slot]) -> tuple[int, int]:
    """Errors and possible errors of one utterance: wrong domain or intent is one, each bad slot is one.

    Source: SemER of the Alexa papers, variant of docs/selection.md: errors / (1 intent + slots in the reference).
    """
    wrong = int(right.intent != intent or right.domain != domain)
    return wrong + slot_errors(right.slots, slots), 1 + len(right.slots)


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float


def semer(errors: np.ndarray, units: np.ndarray) -> float:
    """Sum of errors over sum of possible errors; NaN of nothing."""
    return float(errors.sum() / units.sum()) if units.sum() else float("nan")


def semer_difference(
    after: np.ndarray, before: np.ndarray, units: np.ndarray, rng: np.random.Generator, draws: int = 1000
) -> Interval:
    """SemER after minus before on the same N utterances, by a paired bootstrap over utterances.

    Args:
        after: (N,) errors. before: (N,) errors. units: (N,) possible errors.
    """
    if not len(units):
        return Interval(float("nan"), float("nan"), float("nan"))
    difference = (after - before).astype(float)
    weights = rng.multinomial(len(units), np.full(len(units), 1 / len(units)), size=draws)
    drawn = (weights @ difference) / (weights @ units)
    low, high = np.quantile(drawn, [0.025, 0.975])
    return Interval(float(difference.sum() / units.sum()), float(low), float(high))


def confusion(right: Sequence[str], guessed: Sequence[str], labels: Sequence[str]) -> np.ndarray:
    """(L, L) counts, rows the right label, columns the guess; a label that is not in `labels` is left out."""
    row = {label: at for at, label in enumerate(labels)}
    table = np.zeros((len(labels), len(labels)), dtype=np.int64)
    for r, g in zip(right, guessed, strict=True):
        if r in row and g in row:
            table[row[r], row[g]] += 1
    return table


def calibration_error(confidence: np.ndarray, right: np.ndarray, bins: int = 10) -> float:
    """Expected calibration error: mean gap of confidence and accuracy over equal-width bins, weighted by their size.

    Args:
        confidence: (N,) in [0, 1]. right: (N,) booleans.
    """
    at = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [abs(float((confidence - right)[at == b].sum())) for b in range(bins)]
    return sum(gaps) / max(len(confidence), 1)
