"""Likeness of a request and its follow-up, and the model over it that ships."""

import json

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mining import kinds, likeness, likeness_model, models, reformulations
from mining.likeness import COLUMNS, Likeness
from mining.likeness_model import SHIPPED, LikenessModel
from mining.pair_features import Pair
from mining.sessions import sessions
from mining.turns import Turns

WORDS = st.lists(st.sampled_from(["play", "moon", "mood", "a", "the", "river"]), min_size=1, max_size=4)


def turns_of(texts: list[str]) -> Turns:
    """One user's turns, ten seconds apart."""
    n = len(texts)
    log = {
        "user_id": ["u"] * n,
        "text": texts,
        "rewrite_text": [""] * n,
        "rewrite_held": [False] * n,
        "timestamp": pa.array([10_000_000 * at for at in range(n)], pa.timestamp("us")),
    }
    return Turns.of(pa.table(log))


@settings(max_examples=60, deadline=None)
@given(st.lists(WORDS, min_size=2, max_size=6), st.data())
def test_turns_of_a_log_are_as_alike_as_the_same_texts_in_pairs(said: list[list[str]], data: st.DataObject) -> None:
    texts = [" ".join(words) for words in said]
    millionths = st.lists(st.integers(0, 1_000_000), min_size=len(texts), max_size=len(texts))
    micros = np.array(data.draw(millionths), dtype=np.int64)
    turns = turns_of(texts)
    order = sessions(turns, 1800.0, 300.0)
    at = reformulations.followed(order, 90.0)
    assert at.tolist() == list(range(len(texts) - 1))
    pairs = [Pair(a, b, 1 - m / 1e6, 10.0) for a, b, m in zip(texts, texts[1:], micros.tolist(), strict=False)]
    got, expected = likeness.of_turns(turns, order, micros, at), likeness.of_pairs(pairs)
    assert np.allclose(got.columns(), expected.columns(), atol=1e-4)


def test_columns_are_what_their_names_say() -> None:
    (row,) = likeness.of_pairs([Pair("Play the  moon", "play moon", 0.25, 5.0)]).columns()
    edits, longer = len("the "), len("play the moon")
    expected = dict(zip(COLUMNS, (0.75, 1 - edits / longer, 0.0, 2 / 3, 2.0, 1.0), strict=True))
    assert dict(zip(COLUMNS, row.tolist(), strict=True)) == pytest.approx(expected)


def test_no_pairs_have_no_rows() -> None:
    assert likeness.of_pairs([]).columns().shape == (0, len(COLUMNS))


def shipped() -> LikenessModel:
    return LikenessModel.from_json(SHIPPED.read_text())


def test_the_shipped_model_is_small_and_survives_json() -> None:
    assert SHIPPED.stat().st_size < 10_000
    assert LikenessModel.from_json(shipped().to_json()) == shipped()
    assert models.read(SHIPPED.read_text()) == shipped()
    assert len(shipped().weights) == len(shipped().offsets) == len(kinds.CLASSES)


@pytest.mark.parametrize(
    ("first", "second", "executed", "expected"),
    [
        ("play harvest spoon", "play harvest moon", 0.0, "asr_correction"),
        ("play something by neil young", "neil young music", 0.0, "command_correction"),
        ("play harvest moon", "what is the weather", 1.0, "new_command"),
        ("play harvest moon", "what is the weather", 0.0, "new_command"),
        ("next", "next", 1.0, "new_command"),
    ],
)
def test_the_shipped_model_knows_the_plain_cases(first: str, second: str, executed: float, expected: str) -> None:
    found = shipped().probabilities(likeness.of_pairs([Pair(first, second, executed, 9.0)]).columns())
    assert kinds.CLASSES[shipped().decide(found)[0]] == expected
    assert found.sum() == pytest.approx(1)


def test_a_model_of_other_columns_is_refused() -> None:
    stored = json.loads(SHIPPED.read_text())
    stored["columns"] = stored["columns"][1:]
    with pytest.raises(ValueError, match="another version"):
        models.read(json.dumps(stored))


def test_weights_over_unscaled_columns_say_what_the_fit_over_scaled_ones_does() -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    rng = np.random.default_rng(0)
    rows, labels = rng.random((300, len(COLUMNS))) * 4, rng.integers(0, 3, 300)
    labels[rows[:, 1] > 2] = 2
    expected = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=5000)).fit(rows, labels)
    assert np.allclose(likeness_model.fit(rows, labels).probabilities(rows), expected.predict_proba(rows), atol=1e-3)


def test_the_rules_hold_for_every_kind() -> None:
    texts = {
        ("play moon", "play moon", 0.9): "repetition",
        ("play the moon", "play the mood", 0.9): "correction",
        ("play the moon by neil", "moon please", 0.9): "rewording",
        ("play jazz", "play rock", 0.1): "exploration",
        ("set a timer for ten minutes", "timer", 0.1): "continuation",
        ("play jazz", "what time is it", 0.9): "new",
    }
    alike = likeness.of_pairs([Pair(a, b, 1 - failed, 5.0) for a, b, failed in texts])
    assert [reformulations.KINDS[k] for k in reformulations.kinds(alike)] == list(texts.values())


def test_a_request_is_as_likely_failed_as_not_counts_as_failed() -> None:
    half = Likeness(*(np.array([v]) for v in (0.5, 0.7, False, 3, 3, 2)))
    assert reformulations.KINDS[reformulations.kinds(half)[0]] == "correction"
