"""Numbers in words: what is said, that nothing else changes, and that a number written either way is the same one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite.features import CHEAP_FEATURES, WordUsers
from rewrite.guards import changes_number
from rewrite.neighbours import Neighbours
from rewrite.numerals import WORDS, said
from rewrite.rewriter import Scorer
from rewrite.spaces import Knowledge, KnownText, Personal
from rewrite.turn import Reading, Turn

VALUES = {word: at if at < 20 else 10 * (at - 18) for at, word in enumerate(WORDS.split()[:28])}


def value_of(words: list[str]) -> int:
    """What a cardinal number in words is worth."""
    total = hundreds = 0
    for word in words:
        if word == "thousand":
            total, hundreds = 1000 * hundreds, 0
        elif word == "hundred":
            hundreds *= 100
        else:
            hundreds += VALUES[word]
    return total + hundreds


@pytest.mark.parametrize(
    ("written", "words"),
    [
        ("by the 60s", "by the sixties"),
        ("the 1900s", "the nineteen hundreds"),
        ("take 6s", "take sixes"),
        ("the 4th of 1996", "the fourth of nineteen ninety six"),
        ("21st 20th 12th 8th 100th", "twenty first twentieth twelfth eighth one hundredth"),
        ("1905 2005 2018", "nineteen oh five two thousand five twenty eighteen"),
        ("1,000 songs", "one thousand songs"),
        ("0 of 6", "zero of six"),
        ("by the 60s, 4th of 1996", "by the sixties, fourth of nineteen ninety six"),
        ("wake me at 7:30pm", "wake me at seven thirty pm"),
        ("3.5 stars, or 4.", "three point five stars, or four."),
        ("$5 or 10%", "$ five or ten %"),
        ("9" * 5000, " ".join(["nine"] * 5000)),
        ("call 5551234 or 007", "call five five five one two three four or zero zero seven"),
        ("tech n9ne", "tech n nine ne"),
        ("12stones", "twelve stones"),
    ],
)
def test_what_is_said(written: str, words: str) -> None:
    assert said(written) == words


@given(st.integers(0, 999_999))
def test_a_number_in_words_is_worth_as_much(number: int) -> None:
    words = said(str(number)).split()
    if 1100 <= number < 2000 or 2010 <= number < 2100:  # two numbers one after the other, or hundreds
        assert value_of([word for word in words if word != "oh"]) in (number, sum(divmod(number, 100)))
    else:
        assert value_of(words) == number


@given(st.text(alphabet="ab1290,. :st٣", max_size=30))
def test_no_digit_is_left_and_what_has_none_stays(text: str) -> None:
    spoken = said(text)
    assert not set(spoken) & set("0123456789")
    assert said(spoken) == spoken
    if not set(text) & set("0123456789"):
        assert spoken is text


def test_a_text_is_found_whichever_way_its_number_is_written() -> None:
    years = [f"play music from {year}" for year in range(1950, 2000)]
    neighbours = Neighbours([*years, "play music from the nineties"])
    assert neighbours.near("play music from nineteen ninety six", 1) == [("play music from 1996", 100.0)]
    neighbours.remove(["play music from 1996"])
    assert neighbours.near("play music from nineteen ninety six", 1)[0][0] != "play music from 1996"
    neighbours.add([f"rate it {n} of 6" for n in range(7)])
    assert neighbours.near("rate it four of six", 1) == [("rate it 4 of 6", 100.0)]
    assert Neighbours(["play nineteen ninety six"]).near("play 1996", 1) == [("play nineteen ninety six", 100.0)]


def test_a_number_written_another_way_is_no_change() -> None:
    assert not changes_number("play music from nineteen ninety six", "play music from 1996")
    assert not changes_number("the 4 of may", "the four of may")
    assert changes_number("play music from nineteen ninety six", "play music from 1986")
    assert changes_number("four of six", "rate it 5 of 6")


def test_the_decision_sees_a_number_as_it_is_said() -> None:
    texts = ("play music from 1996", "play music from 1986", "stop")
    known = {text: KnownText(text, Reading("music", text), 5, 2, 9, 0.9, 0.7) for text in texts}
    knowledge = Knowledge(known, {}, {}, Personal({}))
    query, names = "play music from nineteen ninety six", ("ratio", "rare_words_kept", "nbest_ratio", "previous_ratio")
    scorer = Scorer(knowledge, None, None, None, {})
    considered = scorer.consider(Turn(query, asr_nbest=("stop it", texts[0]), turns=(texts[0],)), query)
    scorer.propose(considered, 1.0)
    found = dict(zip((p.text for p in considered.proposals), considered.features, strict=True))
    told = {text: [found[text][CHEAP_FEATURES.index(name)] for name in names] for text in texts[:2]}
    assert told[texts[0]] == [100.0, 1.0, 100.0, 100.0]
    assert max(told[texts[1]]) < 100
    rarity = WordUsers(knowledge).rarity(["nineteen", "ninety", "1996"])
    assert rarity[0] < rarity[1] < rarity[2] == 1.0
