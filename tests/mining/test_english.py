"""What is known of English, and what features make of it."""

import math
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mining.english import UNKNOWN, English, english
from mining.pair_features import ORDINARY, Pair, features

NAT = math.log(1.0001)


class Tens:
    """Trigrams of which a word's first letter gives the nats, less one for every word before it."""

    def prob(self, newest_first: list[str]) -> int:
        nats = float(ord(newest_first[0][0]) % 10) - len(newest_first) + 4
        return round(-nats / NAT) if newest_first[0] != "zzz" else -(2**29)


@pytest.fixture(scope="module")
def known() -> English:
    """The trigrams of pocketsphinx."""
    pytest.importorskip("pocketsphinx")
    found = english()
    assert found is not None
    return found


def test_a_word_is_judged_by_the_two_before_it_and_so_is_the_end() -> None:
    asked: list[list[str]] = []

    class Remembers(Tens):
        def prob(self, newest_first: list[str]) -> int:
            asked.append(newest_first)
            return super().prob(newest_first)

    assert English(Remembers()).surprisals(["call", "me", "7"]) == pytest.approx([11.0, 10.0, 3.0, 1.0], abs=1e-3)
    assert asked == [["call", "<s>"], ["me", "call", "<s>"], ["five", "me", "call"], ["</s>", "five", "me"]]


def test_an_unknown_word_is_as_rare_as_words_get(known: English) -> None:
    assert English(Tens()).rarity("zzz") == UNKNOWN
    assert known.rarity("gitams") == UNKNOWN > known.rarity("viaduct") > known.rarity("the")
    assert known.rarity("17") == known.rarity("3") < UNKNOWN


def test_a_sentence_surprises_less_than_its_words_in_disorder(known: English) -> None:
    sentence = ["what", "is", "the", "weather", "like", "today"]
    assert sum(known.surprisals(sentence)) < sum(known.surprisals(sentence[::-1])) - 5
    assert sum(known.surprisals(sentence)) < sum(known.rarity(word) for word in sentence)


def test_a_request_that_breaks_off_ends_unexpectedly(known: English) -> None:
    assert known.surprisals(["who", "was", "the"])[-1] > known.surprisals(["who", "was", "that"])[-1]


def test_what_was_misheard_reads_less_like_english_than_what_was_meant(known: English) -> None:
    heard, meant = (features(Pair(text, "", 0.0, 9.0), known) for text in ("posing you email", "compose a new email"))
    assert heard["surprisal"] > meant["surprisal"]
    assert heard["fit"] < meant["fit"]


def test_failed_requests_around_the_first_count_half_and_others_do_not() -> None:
    def found(pair: Pair) -> list[float]:
        said = features(pair, English(Tens()))
        return [said[name] for name in ORDINARY]

    alone = np.array(found(Pair("call anna", "call hannah", 0.0, 9.0)))
    second, before = (np.array(found(Pair(text, "", 0.0, 9.0))) for text in ("call hannah", "zzz play"))
    carried_out = Pair("call anna", "call hannah", 0.0, 9.0, before="zzz play", before_executed=1.0, second_executed=-1)
    failed = Pair("call anna", "call hannah", 0.0, 9.0, before="zzz play", before_executed=0.0, second_executed=0.5)
    assert found(carried_out) == pytest.approx(alone)
    assert found(failed) == pytest.approx((alone + before / 2 + second / 4) / 1.75)


@given(st.sampled_from(["", "?!", "play something"]))
def test_without_english_or_without_words_its_features_are_minus_one(text: str) -> None:
    found = features(Pair(text, "play it", 0.0, 9.0), None if text == "play something" else English(Tens()))
    assert {found[name] for name in ORDINARY} == {-1.0}


def test_without_pocketsphinx_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    english.cache_clear()
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    assert english() is None
    english.cache_clear()
