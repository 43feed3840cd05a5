"""What fitting settles about the generator: where it is asked, and whether it is let search."""

from typing import Any

import numpy as np
import pytest

from rewrite.cascade import NEVER, Zone
from rewrite.decision import Candidate
from rewrite.features import CANDIDATE_FEATURES, FORWARD_COLUMNS
from rewrite.fitting import FittingConfig, Judged, Want, _forward_pays, _reach, _search_pays, _shares, _zone
from rewrite.propose import Proposal
from rewrite.rewriter import Considered
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
    assert _search_pays(turns, [judged(wanted, p_signals)], np.ones(1), scorer, FittingConfig()) == pays
    assert [p.text for p in turns[0].proposals] == ["a", "x"]
    blind: Any = Finder(searched, None)
    assert not _search_pays(turns, [judged(wanted, p_signals)], np.ones(1), blind, FittingConfig())


def found(**gains: float) -> list[tuple[Candidate, bool]]:
    return [(Candidate(text, "global", (), gain, gain), False) for text, gain in gains.items()]


def test_the_generator_is_asked_where_it_turns_the_choice() -> None:
    unasked = [found(a=0.0), found(a=0.3, b=0.2), found(a=0.5, b=0.4), found(a=0.9, b=0.1), []]
    same = [found(a=0.0), found(a=0.4, b=0.2), found(a=0.6, b=0.1), found(a=0.9, b=0.2), []]
    turned = [found(a=0.0), found(a=0.1, b=0.8), found(a=0.0, b=0.7), found(a=0.9, b=0.2), []]
    assert _zone(same, unasked, FittingConfig()) == NEVER
    assert _zone(turned, unasked, FittingConfig()) == Zone(0.3, 0.5)
    found_only = [found(a=0.9), *same[1:]]
    assert _zone(found_only, unasked, FittingConfig()) == Zone(0.0, 0.0)


def test_as_far_below_the_best_is_rescored_as_choices_come_from() -> None:
    turns = [found(a=0.9, b=0.1), found(a=0.8, b=0.9), []]

    def reach(second: float) -> float:
        worth = [np.array([1.0, 0.5]), np.array([1.0, second]), np.zeros(0)]
        return _reach(turns, worth, FittingConfig())

    assert [reach(share) for share in (0.3, 0.07, 0.02, 0.015, 0.001, 0.0)] == [0.1, 0.05, 0.02, 0.01, 0.0, 0.0]
    assert reach(np.inf) == 0.1  # found by the search: rescored whatever its worth
    assert _reach(turns, [np.ones(2), np.array([1.0, 0.07]), np.zeros(0)], FittingConfig(lost_allowed=0.6)) == 0.1


def test_the_finds_of_the_search_do_not_set_the_measure() -> None:
    assert _shares(np.array([0.2, 0.1, np.inf])).tolist() == [1.0, 0.5, np.inf]
    assert _shares(np.array([np.inf])).tolist() == [np.inf]
    assert _shares(np.zeros(0)).tolist() == []


@pytest.mark.parametrize(
    ("ahead", "alone", "p_signals", "pays"),
    [
        ("wanted", "other", 0.9, True),  # right with it only
        ("wanted", "wanted", 0.9, False),
        ("other", "wanted", 0.9, False),
        ("wanted", "other", 0.1, True),  # without it a good turn would be broken
        ("other", "wanted", 0.1, False),
    ],
)
def test_the_forward_direction_pays_where_choices_get_worse_without_it(
    ahead: str, alone: str, p_signals: float, pays: bool
) -> None:
    turns = [considered("wanted", "other")]
    turns[0].features = np.ones((2, len(CANDIDATE_FEATURES)))

    def first(best: str) -> list[list[tuple[Candidate, bool]]]:
        gains = {text: 0.9 if text == best else 0.1 for text in ("wanted", "other")}
        return [[(Candidate(text, "global", (), 0.5, gain), text == "wanted") for text, gain in gains.items()]]

    def judge() -> Any:
        assert np.isnan(turns[0].features[:, FORWARD_COLUMNS]).all()
        assert not np.isnan(np.delete(turns[0].features, FORWARD_COLUMNS, 1)).any()
        return None, None, first(alone)

    args = (turns, first(ahead), judge, [judged("wanted", p_signals)], np.array([p_signals]))
    assert _forward_pays(*args, FittingConfig()) == pays
    assert (turns[0].features == 1).all()
