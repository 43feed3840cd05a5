"""Attributions against a hand-computed linear model and a slow sum; completeness; pooling; gate."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from selection.attributions import AttributionConfig, Gate, Target, attribute, pool
from selection.encoder import CompactEncoder
from selection.examples import words
from selection.labels import Labels
from selection.model import Nlu
from tests.reference.gradients import integrated_gradients
from tests.selection.grammar import tiny_encoder, trained, untrained, utterances

TEXTS = ["play hello by mika", "stop the alarm", "turn on the light in the bed room", "wake"]


class LinearEncoder(CompactEncoder):
    """An utterance is the sum of its words: every logit is linear in the embeddings."""

    def encode(self, input_ids: Any, mask: Any, first: Any, word_mask: Any) -> Any:
        embedded = self.words(input_ids) * mask[..., None]
        return embedded, embedded.sum(1)


def linear() -> Nlu:
    encoder = LinearEncoder(tiny_encoder(members=1).config)
    encoder.word_width = encoder.pooled_width = 16
    return Nlu.build(Labels.of(utterances()), encoder)


def by_hand(model: Nlu, text: str, row: int) -> list[float]:
    """weight · embedding of each word."""
    batch = model.encoder.batch([words(text)])
    with torch.no_grad():
        embedded = model.encoder.words(batch.input_ids)[0]
        return [float(word @ model.intent_head.weight[row]) for word in embedded]


def test_a_linear_model_is_explained_as_by_hand() -> None:
    model = linear()
    found = attribute(model, TEXTS, [Target("intent", row) for row in (0, 1, 2, 3)])
    for text, row, attribution in zip(TEXTS, (0, 1, 2, 3), found, strict=True):
        assert attribution.values == pytest.approx(by_hand(model, text, row), abs=1e-5)
        assert attribution.change == pytest.approx(sum(by_hand(model, text, row)), abs=1e-5)
        assert attribution.error < 1e-5


def test_slots_of_a_linear_model_are_explained_as_by_hand() -> None:
    model = linear()
    (found,) = attribute(model, ["play hello by mika"], [Target("slots", 3, word=1)])
    batch = model.encoder.batch([["hello"]])
    with torch.no_grad():
        hello = float(model.encoder.words(batch.input_ids)[0, 0] @ model.tag_head.weight[3])
    assert found.values == pytest.approx([0, hello, 0, 0], abs=1e-5)


@pytest.mark.parametrize("head", [0, 1])
def test_a_trained_model_is_explained_like_the_slow_sum(head: int) -> None:
    model = trained()
    config = AttributionConfig(steps=64, tolerance=0.005)
    (found,) = attribute(model, [TEXTS[0]], [Target(("domain", "intent")[head], 1)], config)
    assert found.values == pytest.approx(integrated_gradients(model, TEXTS[0], head, 1), abs=0.02)


@settings(deadline=None, max_examples=15)
@given(st.lists(st.sampled_from(["play", "stop", "hello", "light", "zzz", "in", "?"]), min_size=1, max_size=8))
def test_attributions_sum_to_the_change_of_the_logit(said: list[str]) -> None:
    (found,) = attribute(untrained(), [" ".join(said)], [Target("intent", 0)])
    assert float(found.values.sum()) == pytest.approx(found.change, abs=found.error * max(abs(found.change), 1) + 1e-4)
    assert found.error <= AttributionConfig().tolerance


def test_a_text_is_explained_the_same_alone_and_in_a_batch() -> None:
    targets = [Target("intent", row) for row in (0, 1, 2, 3)]
    together = attribute(trained(), TEXTS, targets)
    for text, target, found in zip(TEXTS, targets, together, strict=True):
        (alone,) = attribute(trained(), [text], [target])
        assert alone.values == pytest.approx(found.values, abs=1e-4)
        assert alone.words == found.words == tuple(words(text))


def test_what_is_over_the_tolerance_is_integrated_more_finely_and_gated() -> None:
    strict = AttributionConfig(steps=2, most_steps=32, tolerance=1e-9)
    found = attribute(trained(), TEXTS, [Target("intent", 0)] * 4, strict)
    assert {a.steps for a in found if a.error > 1e-9} == {32}
    assert [Gate(1e-9).passes(a) for a in found] == [a.error <= 1e-9 for a in found]


def test_sub_words_are_pooled_to_their_words() -> None:
    positions = torch.tensor([[9.0, 1.0, 2.0, 4.0, 9.0]])
    word_of = torch.tensor([[-1, 0, 0, 1, -1]])
    assert pool(positions, word_of, 3).tolist() == [[3, 4, 0]]


def test_no_texts_give_no_attributions() -> None:
    assert attribute(trained(), [], []) == []


@pytest.mark.parametrize(
    ("targets", "message"),
    [([], "one target for each text"), ([Target("intent", 99)], "expected a row of"), ([Target("mood", 0)], "mood")],
)
def test_a_target_that_is_not_there_is_refused(targets: Sequence[Target], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        attribute(trained(), ["stop"], targets)


def test_the_gradients_of_the_weights_are_left_alone() -> None:
    model = untrained()
    attribute(model, TEXTS[:1], [Target("intent", 0)])
    assert all(p.grad is None or not np.any(p.grad.numpy()) for p in model.parameters())
