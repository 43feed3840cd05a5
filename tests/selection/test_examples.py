"""Words, alignment of slots, labels."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from seqeval.metrics.sequence_labeling import get_entities

from selection.examples import MAX_WORDS, Utterance, align, check, slots_of, spans, words
from selection.labels import Labels
from tests.selection.grammar import utterances


def test_a_slot_is_tagged_where_its_words_stand() -> None:
    assert align("play the night by the band", [("artist", "The Band"), ("song", "the night")]) == (
        "O", "B-song", "I-song", "O", "B-artist", "I-artist",
    )  # fmt: skip


def test_equal_values_take_different_places() -> None:
    assert align("from rome to rome", [("from", "rome"), ("to", "rome")]) == ("O", "B-from", "O", "B-to")


def test_a_slot_that_is_not_in_the_text_does_not_align() -> None:
    assert align("play hello", [("song", "goodbye")]) is None


def test_an_empty_value_is_no_place() -> None:
    assert align("play hello", [("song", "")]) is None


@given(st.lists(st.sampled_from(["O", "B-a", "I-a", "B-b", "I-b"]), max_size=9))
def test_spans_agree_with_seqeval(tags: list[str]) -> None:
    theirs = [(name, first, last + 1) for name, first, last in get_entities(tags)]
    assert spans(tags) == theirs


@given(st.sampled_from(utterances()))
def test_slots_survive_tagging_and_reading_back(utterance: Utterance) -> None:
    tags = align(utterance.text, utterance.slots)
    assert tags is not None
    assert sorted(slots_of(words(utterance.text), tags)) == sorted(utterance.slots)


@given(st.text(max_size=80))
def test_every_text_has_words_and_not_too_many(text: str) -> None:
    assert 1 <= len(words(text)) <= MAX_WORDS


def test_rows_whose_slots_do_not_align_are_counted() -> None:
    rows = [*utterances(), Utterance("play something", "music", "play", (("song", "else"),))]
    assert check(rows) == 1


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "got no rows"),
        ([Utterance("", "a", "b")], "0 characters"),
        ([Utterance("x" * 501, "a", "b")], "501 characters"),
        ([Utterance("hello", "a", "")], "expected both"),
        ([Utterance("play it", "a", "b", (("song", "that"),))] * 3, "do not align with their texts in 3 of 3 rows"),
    ],
)
def test_rows_that_teach_nothing_are_refused(rows: list[Utterance], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check(rows)


def test_unknown_labels_are_refused_by_name() -> None:
    labels = Labels.of(utterances())
    with pytest.raises(ValueError, match=r"unknown label intent dance in 1 rows"):
        labels.check([*utterances(), Utterance("dance", "music", "dance")])


def test_a_class_with_no_example_is_refused_by_name() -> None:
    labels = Labels.of(utterances())
    with pytest.raises(ValueError, match="no example of light_off"):
        labels.check([u for u in utterances() if u.intent != "light_off"])


def test_labels_survive_json() -> None:
    labels = Labels.of(utterances())
    assert Labels.from_json(labels.to_json()) == labels
