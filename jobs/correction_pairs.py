"""Files of labelled request pairs: reading them, and cross-validation by blocks of time."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from jobs.pair_rows import number, read_rows
from mining import kinds, likeness, reformulations
from mining.pair_features import Pair

UNKNOWN = 0.5
"""What stands for whether a request was carried out where nobody knows."""

INNER = 5
"""Blocks of time inside what is left outside a block, by which that block's cuts are chosen."""


def read_pairs(path: Path) -> tuple[list[Pair], NDArray[np.int64]]:
    """Pairs in the order of the file, which is the order of time, with their classes.

    Neighbouring rows that share a request are one session: they are each other's window.

    Raises:
        ValueError: the file is missing, or its rows are not of the form that `pair_rows` tells.
    """
    rows = read_rows(path)
    labels = np.array([kinds.CLASSES.index(row["label"]) for row in rows], dtype=np.int64)
    return [_pair(rows, at) for at in range(len(rows))], labels


def _pair(rows: list[dict[str, Any]], at: int) -> Pair:
    row = rows[at]
    before = rows[at - 1] if at and rows[at - 1]["second"] == row["first"] else None
    after = rows[at + 1] if at + 1 < len(rows) and rows[at + 1]["first"] == row["second"] else None
    return Pair(
        row["first"],
        row["second"],
        number(row["executed"], UNKNOWN),
        number(row["gap_s"], -1.0),
        row["response"] or "",
        before=before["first"] if before else None,
        before_executed=number(before["executed"], UNKNOWN) if before else -1.0,
        before_gap_s=number(before["gap_s"], -1.0) if before else 0.0,
        after=after["second"] if after else None,
        second_executed=number(after["executed"], UNKNOWN) if after else -1.0,
    )


def time_blocks(n: int, folds: int) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Training and test rows of `folds` contiguous blocks; rows beside a block, which share its window, in neither."""
    for block in np.array_split(np.arange(n), folds):
        train = np.ones(n, dtype=bool)
        train[max(0, block[0] - 2) : block[-1] + 3] = False
        yield np.flatnonzero(train), block


def check_enough(labels: NDArray[np.int64], folds: int, fewest: Sequence[int] = kinds.FEWEST, inner: int = 0) -> None:
    """Refuse, before anything is fitted, labels of which a fit inside `held_out` or `nested_guess` would see too few.

    Args:
        labels: classes (N,).
        folds: blocks of time.
        fewest: rows that a fit takes of each class.
        inner: blocks inside the others, where cuts are chosen there; 0 where they are not.

    Raises:
        ValueError: there are more blocks than rows, fewer than two, or some fit would lack rows of a class.
    """
    rows = len(labels)
    if not 2 <= folds <= rows:
        raise ValueError(
            f"cannot hold out {folds} blocks of time; got {rows} rows; expected two blocks or more, and rows for each; "
            "too few labelled, or another --folds?"
        )
    least = np.min([_counts(labels[train]) for train in _learned_from(rows, folds, inner)], axis=0)
    few = np.flatnonzero(least < fewest)
    if len(few):
        blocks = f"{folds} blocks of time" + (f", and of {inner} inside the others," if inner else "")
        raise ValueError(
            f"too few rows of {_each('{0}', few, least)}; got {_each('{1} {0}', range(len(least)), _counts(labels))}; "
            f"expected {_each('{1} or more {0}', few, fewest)} to be left to learn from whichever of {blocks} is held "
            f"out, and at worst {_each('{1}', few, least)} would be; label more, spread over time"
        )


def _each(form: str, numbers: Iterable[int], values: Any) -> str:
    """Classes in a sentence: {0} in the form is a class's name, {1} its value."""
    return " and ".join(form.format(kinds.CLASSES[number], values[number]) for number in numbers)


def _counts(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    return np.bincount(labels, minlength=len(kinds.CLASSES))


def _learned_from(n: int, folds: int, inner: int) -> Iterator[NDArray[np.int64]]:
    """Rows of every fit."""
    for train, _ in time_blocks(n, folds):
        yield train
        if inner and len(train):
            yield from (train[part] for part, _ in time_blocks(len(train), min(inner, len(train))))


def held_out(
    rows: Any, labels: NDArray[np.int64], folds: int, fit: Callable[..., Any] = kinds.fit
) -> NDArray[np.float64]:
    """(N, classes): every block's probabilities by a model that has not seen its time.

    Args:
        rows: what `fit` learns from, N long.
        labels: classes (N,).
        folds: blocks of time.
        fit: of rows and labels; `kinds.fit` or `likeness_model.fit`.
    """
    probabilities = np.zeros((len(rows), len(kinds.CLASSES)))
    for train, test in time_blocks(len(rows), folds):
        probabilities[test] = fit(rows[train], labels[train]).probabilities(rows[test])
    return probabilities


def nested_guess(
    rows: NDArray[np.float64], labels: NDArray[np.int64], folds: int, fit: Callable[..., Any] = kinds.fit
) -> NDArray[np.int64]:
    """(N,) classes where a block's model and its cuts both come from the other blocks only; arguments as `held_out`."""
    guess = np.zeros(len(rows), dtype=np.int64)
    for train, test in time_blocks(len(rows), folds):
        cuts = kinds.best_cuts(held_out(rows[train], labels[train], INNER, fit), labels[train])
        model = fit(rows[train], labels[train], 0, *cuts)
        guess[test] = model.decide(model.probabilities(rows[test]))
    return guess


def by_rules(pairs: Sequence[Pair]) -> NDArray[np.int64]:
    """(N,) classes by the rules of mining, for which a request that failed and is repeated is put in the same words."""
    alike = likeness.of_pairs(pairs)
    kind = reformulations.kinds(alike)
    correction, rewording, repetition = reformulations.codes("correction", "rewording", "repetition")
    command = (kind == rewording) | ((kind == repetition) & (alike.failed >= 0.5))
    return np.select([command, kind == correction], [1, 2], 0).astype(np.int64)


def scores(labels: NDArray[np.int64], guess: NDArray[np.int64]) -> dict[str, float]:
    """f1 (correction against new), its precision and recall, macro_f1 and F1 by kind.

    A kind that occurs neither in labels nor in guesses has no F1, and corrections of which there are none have none.
    """
    truth, said = labels > 0, guess > 0
    hit = float((truth & said).sum())
    corrections = {
        "f1": kinds.f1(truth, said),
        "precision": hit / max(1.0, float(said.sum())),
        "recall": hit / max(1.0, float(truth.sum())),
    }
    occur = kinds.occurring(labels, guess)
    by_kind = {f"f1_{kinds.CLASSES[n]}": kinds.f1(labels == n, guess == n) for n in occur}
    return {**(corrections if any(occur) else {}), "macro_f1": kinds.macro_f1(labels, guess), **by_kind}
