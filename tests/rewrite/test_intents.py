"""The intent model says the same after it was saved."""

from pathlib import Path

import pytest

from rewrite.intents import IntentModel

TEXTS = ["play jazz", "play rock", "stop it", "stop now", "dim the lights", "lights off"] * 3
INTENTS = ["play", "play", "stop", "stop", "lights", "lights"] * 3


def test_what_a_query_may_mean_is_the_same_after_save_and_load(tmp_path: Path) -> None:
    model = IntentModel.fit(TEXTS, INTENTS, [1.0] * len(TEXTS), seed=0)
    assert model is not None
    model.rounded.save(tmp_path)
    loaded = IntentModel.load(tmp_path)
    assert loaded is not None
    for text in ("clay jazz", "top now", "dim a light"):
        found = loaded.log_probs(text)
        assert found == pytest.approx(model.rounded.log_probs(text))
        assert max(found, key=found.__getitem__) == {"c": "play", "t": "stop", "d": "lights"}[text[0]]


def test_fewer_than_two_intents_are_nothing_to_tell_apart() -> None:
    assert IntentModel.fit(["play"], ["play"], [1.0], seed=0) is None
