"""The classifier says the same after it was saved."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite.classifier import Classifier, _hashed, _hashed_one

TEXTS = ["play jazz", "play rock", "stop it", "stop now", "dim the lights", "lights off"] * 3
INTENTS = ["play", "play", "stop", "stop", "lights", "lights"] * 3


def test_what_a_query_may_mean_is_the_same_after_save_and_load(tmp_path: Path) -> None:
    model = Classifier.fit(TEXTS, INTENTS, [1.0] * len(TEXTS), seed=0)
    assert model is not None
    model.rounded.save(tmp_path, "intents")
    loaded = Classifier.load(tmp_path, "intents")
    assert loaded is not None
    for text in ("clay jazz", "top now", "dim a light"):
        found = loaded.log_probs(text)
        assert found == pytest.approx(model.rounded.log_probs(text))
        assert max(found, key=found.__getitem__) == {"c": "play", "t": "stop", "d": "lights"}[text[0]]


def test_fewer_than_two_classes_are_nothing_to_tell_apart() -> None:
    assert Classifier.fit(["play"], ["play"], [1.0], seed=0) is None


@given(st.text(alphabet="ab c\u00e9\u00a0\t'7", max_size=30))
def test_one_text_is_hashed_as_many_are(text: str) -> None:
    rows, values = _hashed_one(text)
    many = _hashed([text])
    assert np.array_equal(rows, many.indices)
    assert np.array_equal(values, many.data)
