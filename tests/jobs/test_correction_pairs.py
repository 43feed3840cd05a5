"""Blocks of time, and how many labelled pairs they take."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.cli import main
from jobs.correction_pairs import INNER, check_enough, held_out, nested_guess, scores, time_blocks
from mining import kinds, likeness_model
from mining.pair_features import Pair


def test_blocks_of_time_never_share_a_window() -> None:
    for train, test in time_blocks(100, 10):
        assert set(train).isdisjoint(range(test[0] - 2, test[-1] + 3))
    assert sorted(n for _, test in time_blocks(100, 10) for n in test) == list(range(100))


@pytest.mark.parametrize("kinds_there", [(0, 1, 2), (0, 2), (1,)])
def test_scores_are_those_of_scikit_learn(kinds_there: tuple[int, ...]) -> None:
    from sklearn.metrics import f1_score

    rng = np.random.default_rng(0)
    truth, guess = rng.choice(kinds_there, 200), rng.choice(kinds_there, 200)
    got = scores(truth, guess)
    assert got["f1"] == pytest.approx(f1_score(truth > 0, guess > 0))
    assert got["macro_f1"] == pytest.approx(f1_score(truth, guess, average="macro"))
    assert [name for name in got if name.startswith("f1_")] == [f"f1_{kinds.CLASSES[n]}" for n in kinds_there]


class Counting:
    """A fit that only notes the fewest rows of each class that it was ever given."""

    def __init__(self) -> None:
        self.fewest = np.full(3, 10**9)

    def __call__(self, rows: Any, labels: Any, *cuts: Any) -> "Counting":
        self.fewest = np.minimum(self.fewest, np.bincount(labels, minlength=3))
        return self

    def probabilities(self, rows: Any) -> Any:
        return np.full((len(rows), 3), 1 / 3)

    def decide(self, probabilities: Any) -> Any:
        return np.zeros(len(probabilities), dtype=np.int64)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 2), min_size=18, max_size=70), st.integers(2, 9), st.booleans())
def test_labels_are_refused_just_where_some_fit_would_lack_rows(given: list[int], folds: int, nested: bool) -> None:
    labels, fit = np.array(given), Counting()
    rows, fewest = np.zeros((len(labels), 1)), kinds.FEWEST if nested else likeness_model.FEWEST
    run = nested_guess if nested else held_out
    run(rows, labels, folds, fit)
    try:
        check_enough(labels, folds, fewest, INNER if nested else 0)
        accepted = True
    except ValueError:
        accepted = False
    assert accepted == bool((fit.fewest >= fewest).all())


def test_the_fewest_rows_that_are_accepted_can_be_learned_from() -> None:
    labels = np.arange(60) % 3
    while True:
        try:
            check_enough(labels[:-1], 3, inner=INNER)
        except ValueError:
            break
        labels = labels[:-1]
    check_enough(labels, 3, inner=INNER)
    rows = kinds.matrix([Pair("call anna", "call hannah", 0.5, -1.0) for _ in labels])
    assert set(nested_guess(rows, labels, 3)) <= {0, 1, 2}


def test_a_dozen_of_each_spread_over_time_will_do() -> None:
    check_enough(np.arange(36) % 3, 10, inner=INNER)


@pytest.mark.parametrize("kind", [0, 1, 2])
@pytest.mark.parametrize("count", [0, 4])
def test_the_kind_of_which_there_are_too_few_is_named_with_the_counts_of_the_file(kind: int, count: int) -> None:
    others = [c for c in range(3) if c != kind]
    labels = np.array(others * 60)
    labels[: 2 * count : 2] = kind
    name, needed = kinds.CLASSES[kind], kinds.FEWEST[kind]
    said = (
        rf"too few rows of {name}; got .*\b{count} {name}.*; expected {needed} or more {name} to be left to learn from "
        "whichever of 10 blocks of time, and of 5 inside the others, is held out, and at worst 0 would be; label more"
    )
    with pytest.raises(ValueError, match=said):
        check_enough(labels, 10, inner=INNER)


@pytest.mark.parametrize(("rows", "folds"), [(5, 10), (240, 500), (240, 1), (240, 0), (0, 10), (1, 2)])
def test_blocks_of_time_are_two_or_more_and_have_rows(rows: int, folds: int) -> None:
    with pytest.raises(ValueError, match=f"cannot hold out {folds} blocks of time; got {rows} rows; expected two"):
        check_enough(np.arange(rows) % 3, folds)


def test_the_folds_of_a_command_are_two_or_more(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["bench", "corrections", "pairs.parquet", "--folds", "1"])
    assert "'--folds'" in capsys.readouterr().err
