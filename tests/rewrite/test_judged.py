"""What a candidate counts for: surely what was wanted, perhaps, or something else."""

import numpy as np
import pytest

from rewrite.features import CANDIDATE_FEATURES
from rewrite.judged import OTHER_WORDS, WORDS_OF_FOLLOW_UP, CandidateTable, Judged, Want
from rewrite.propose import Proposal
from rewrite.rewriter import Considered
from rewrite.spaces import Own
from rewrite.turn import Reading, Turn

BRIGHTER = Reading("iot", "light_up")
KITCHEN = Reading("iot", "light_up", frozenset({("room", "kitchen")}))
WANT = Want("raise the light please", BRIGHTER)


@pytest.mark.parametrize(
    ("text", "reading", "share"),
    [
        ("raise the light please", Reading(), 1.0),
        ("please raise the lamp", BRIGHTER, 1.0),
        ("make it brighter", BRIGHTER, OTHER_WORDS),
        ("make it brighter", KITCHEN, OTHER_WORDS),
        ("raise the light please now", Reading("iot", "light_down"), 0.0),
        ("make it brighter", Reading(), 0.0),
    ],
)
def test_without_wanted_slots_the_intent_in_other_words_counts_for_a_part(
    text: str, reading: Reading, share: float
) -> None:
    assert WANT.share_met(text, reading) == share


@pytest.mark.parametrize(
    ("text", "share", "met"),
    [
        ("brighter lamp please", 1.0, True),
        ("raise the light please", WORDS_OF_FOLLOW_UP, True),
        ("please raise the shade", WORDS_OF_FOLLOW_UP, True),
        ("more light", OTHER_WORDS, False),
    ],
)
def test_the_words_that_failed_tell_more_than_those_of_the_follow_up(text: str, share: float, met: bool) -> None:
    want = Want("raise the light please", BRIGHTER, "brighter lap")
    assert (want.share_met(text, BRIGHTER), want.met_by(text, BRIGHTER)) == (share, met)
    assert not want.met_by("brighter lamp please", Reading("iot", "light_down"))


def test_wanted_slots_tell_without_the_words_that_failed() -> None:
    want = Want("light up the kitchen", KITCHEN, "lit up the chicken")
    assert want.share_met("brighter in the kitchen", KITCHEN) == 1.0
    assert want.share_met("lit up the chicken", BRIGHTER) == 0.0


@pytest.mark.parametrize(
    ("want", "reading"),
    [(Want("light up the kitchen", KITCHEN), BRIGHTER), (Want("hum", Reading()), Reading())],
    ids=["a wanted slot is missing", "nothing was understood"],
)
def test_other_words_count_for_nothing_where_intent_alone_does_not_tell(want: Want, reading: Reading) -> None:
    assert want.share_met("make it brighter", reading) == 0.0


def test_only_failing_turns_are_cured_and_own_texts_by_what_surely_does() -> None:
    spaces = {"please raise the lamp": "global", "make it brighter": "global", "brighter please": "personal"}
    proposals = [Proposal(text, BRIGHTER, space) for text, space in spaces.items()]

    def considered() -> Considered:
        features = np.zeros((len(proposals), len(CANDIDATE_FEATURES)))
        return Considered(Turn("rays the light"), "rays the light", Own(), [], [], proposals, features)

    turn, failed = Turn("rays the light"), np.array([0.9, 0.1, 0.9])
    judged = [Judged(turn, 0.9, WANT), Judged(turn, 0.1, WANT), Judged(turn, 0.9, None)]
    table = CandidateTable.of([considered() for _ in judged], judged, np.zeros(3, dtype=np.int64), failed)
    assert table.right.tolist() == [1.0, OTHER_WORDS, 0.0, *[0.0] * 6]
    assert table.met.tolist() == [True, False, False, True, *[False] * 5]
    assert table.weight.tolist() == pytest.approx([1.9] * 3 + [0.9] * 3 + [0.0] * 3)


def test_what_its_user_succeeded_with_cures_a_turn_though_it_counts_for_less() -> None:
    proposals = [Proposal(WANT.text, BRIGHTER, space) for space in ("global", "personal")]
    turn, want = Turn("it is dark"), Want(WANT.text, BRIGHTER, "it is dark")
    considered = Considered(turn, turn.utterance, Own(), [], [], proposals, np.zeros((2, len(CANDIDATE_FEATURES))))
    table = CandidateTable.of([considered], [Judged(turn, 0.9, want)], np.zeros(1, dtype=np.int64), np.array([0.9]))
    assert table.right.tolist() == [WORDS_OF_FOLLOW_UP] * 2
    assert table.met.tolist() == [True, True]
