"""What fitting settles about the generator: where it is asked, and whether it is let search."""

from typing import Any

import numpy as np
import pytest

from rewrite.cascade import NEVER, Zone
from rewrite.decision import Candidate
from rewrite.features import CANDIDATE_FEATURES, FORWARD_COLUMNS
from rewrite.judged import FittingConfig, Judged, Want
from rewrite.propose import Proposal
from rewrite.rewriter import Considered
from rewrite.settling import forget_forward, is_missed, reach_of, search_pays, shares_of_best, zone_of
from rewrite.spaces import Own
from rewrite.turn import Reading, Turn


class Finder:
    """A scorer whose search adds one text."""

    def __init__(self, found: str, generator: object | None = object()) -> None:
        self.generator = generator
        self._found = found

    def search(self, considered: Considered, p_fail: float) -> None:
        considered.proposals = [*considered.proposals, Proposal(self._found, Reading(), "global")]


def considered(*texts: str) -> Considered:
    return Considered(Turn("q"), "q", Own(), [], [], [Proposal(text, Reading(), "global") for text in texts])


def judged(wanted: str, p_signals: float = 0.9) -> Judged:
    return Judged(Turn("q"), p_signals, Want(wanted, Reading()))


@pytest.mark.parametrize(
    ("searched", "wanted", "p_signals", "pays"),
    [("b", "b", 0.9, True), ("b", "a", 0.9, False), ("c", "b", 0.9, False), ("b", "b", 0.1, False)],
)
def test_search_pays_where_it_finds_what_was_wanted_and_nothing_else_did(
    searched: str, wanted: str, p_signals: float, pays: bool
) -> None:
    turns = [considered("a", "x")]
    scorer: Any = Finder(searched)
    assert search_pays(turns, [judged(wanted, p_signals)], np.ones(1), scorer, FittingConfig()) == pays
    assert [p.text for p in turns[0].proposals] == ["a", "x"]
    blind: Any = Finder(searched, None)
    assert not search_pays(turns, [judged(wanted, p_signals)], np.ones(1), blind, FittingConfig())


def found(**gains: float) -> list[tuple[Candidate, bool]]:
    return [(Candidate(text, "global", (), gain, gain), False) for text, gain in gains.items()]


def test_the_generator_is_asked_where_it_turns_the_choice() -> None:
    unasked = [found(a=0.0), found(a=0.3, b=0.2), found(a=0.5, b=0.4), found(a=0.9, b=0.1), []]
    same = [found(a=0.0), found(a=0.4, b=0.2), found(a=0.6, b=0.1), found(a=0.9, b=0.2), []]
    turned = [found(a=0.0), found(a=0.1, b=0.8), found(a=0.0, b=0.7), found(a=0.9, b=0.2), []]
    assert zone_of(same, unasked, FittingConfig()) == NEVER
    assert zone_of(turned, unasked, FittingConfig()) == Zone(0.3, 0.5)
    found_only = [found(a=0.9), *same[1:]]
    assert zone_of(found_only, unasked, FittingConfig()) == Zone(0.0, 0.0)


def test_as_far_below_the_best_is_rescored_as_choices_come_from() -> None:
    turns = [found(a=0.9, b=0.1), found(a=0.8, b=0.9), []]

    def reach(second: float) -> float:
        worth = [np.array([1.0, 0.5]), np.array([1.0, second]), np.zeros(0)]
        return reach_of(turns, worth, FittingConfig())

    assert [reach(share) for share in (0.3, 0.07, 0.02, 0.015, 0.001, 0.0)] == [0.1, 0.05, 0.02, 0.01, 0.0, 0.0]
    assert reach(np.inf) == 0.1  # found by the search: rescored whatever its worth
    assert reach_of(turns, [np.ones(2), np.array([1.0, 0.07]), np.zeros(0)], FittingConfig(lost_allowed=0.6)) == 0.1


def test_the_finds_of_the_search_do_not_set_the_measure() -> None:
    assert shares_of_best(np.array([0.2, 0.1, np.inf])).tolist() == [1.0, 0.5, np.inf]
    assert shares_of_best(np.array([np.inf])).tolist() == [np.inf]
    assert shares_of_best(np.zeros(0)).tolist() == []


@pytest.mark.parametrize(
    ("having", "lacking", "p_signals", "missed"),
    [
        ("wanted", "other", 0.9, True),  # right with it only
        ("wanted", "wanted", 0.9, False),
        ("other", "wanted", 0.9, False),
        ("wanted", "other", 0.1, True),  # without it a good turn would be broken
        ("other", "wanted", 0.1, False),
    ],
)
def test_what_is_missed_is_what_makes_choices_worse_by_its_absence(
    having: str, lacking: str, p_signals: float, missed: bool
) -> None:
    def first(best: str) -> list[list[tuple[Candidate, bool]]]:
        gains = {text: 0.9 if text == best else 0.1 for text in ("wanted", "other")}
        return [[(Candidate(text, "global", (), 0.5, gain), text == "wanted") for text, gain in gains.items()]]

    turns = [judged("wanted", p_signals)]
    assert is_missed(first(having), first(lacking), turns, np.array([p_signals]), FittingConfig()) == missed


def test_what_the_forward_direction_told_is_forgotten_and_nothing_else() -> None:
    turn = considered("a", "b")
    turn.features = before = np.ones((2, len(CANDIDATE_FEATURES)))
    forget_forward([turn])
    assert np.isnan(turn.features[:, FORWARD_COLUMNS]).all()
    assert not np.isnan(np.delete(turn.features, FORWARD_COLUMNS, 1)).any()
    assert (before == 1).all()
