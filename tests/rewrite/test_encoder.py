"""The bi-encoder: the same text gets the same vector, near texts near vectors, and training brings them nearer."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.world.grammar import generate
from rewrite import encoder as encoders
from rewrite.encoder import Encoder, EncoderConfig, bucket_rows, projection, tokens
from rewrite.encoder_training import train

TEXTS = generate(120, np.random.default_rng(3))
SMALL = EncoderConfig(dimensions=32, buckets=4096, steps=30, groups=4, group=4)
WORDS = st.lists(st.text("aekt é", max_size=6), max_size=4).map(" ".join)


def plain(encoder: Encoder, text: str) -> np.ndarray:
    """A text's vector, summed up piece by piece."""
    total = np.zeros(encoder.dimensions)
    for token in tokens(text):
        for row in bucket_rows(token, len(encoder.table)):
            total += encoder.table[row]
    return total / (np.linalg.norm(total) or 1)


@settings(deadline=None)
@given(st.lists(WORDS, max_size=6))
def test_a_text_is_the_sum_of_its_pieces_alone_and_among_others(texts: list[str]) -> None:
    encoder = projection(TEXTS, SMALL)
    found = encoder.encode(texts)
    assert found.shape == (len(texts), 32)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(found[row], plain(encoder, text), atol=1e-5)
        np.testing.assert_array_equal(found[row], encoder.encode([text])[0])


def test_words_beyond_those_kept_are_encoded_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    expected = projection(TEXTS, SMALL).encode(TEXTS)
    monkeypatch.setattr(encoders, "KEPT", 5)
    np.testing.assert_allclose(projection(TEXTS, SMALL).encode(TEXTS), expected, atol=1e-5)


def test_an_empty_text_has_no_direction() -> None:
    assert not projection(TEXTS, SMALL).encode([""]).any()


def test_a_misspelt_text_is_nearer_to_its_own_than_to_others() -> None:
    encoder = projection(TEXTS, SMALL)
    misspelt = [text.replace("e", "a", 1) for text in TEXTS]
    nearest = (encoder.encode(misspelt) @ encoder.encode(TEXTS).T).argmax(axis=1)
    assert (nearest == np.arange(len(TEXTS))).mean() > 0.9


def test_training_brings_what_is_heard_near_what_is_meant() -> None:
    heard = [" ".join(word[::-1] for word in text.split()) for text in TEXTS]

    def right(encoder: Encoder) -> float:
        found = (encoder.encode(heard) @ encoder.encode(TEXTS).T).argmax(axis=1)
        return float((found == np.arange(len(TEXTS))).mean())

    trained = train(TEXTS, lambda row, rng: heard[row], replace(SMALL, learning_rate=0.02))
    assert right(trained) > right(projection(TEXTS, SMALL)) + 0.2


def test_the_same_seed_trains_the_same_encoder() -> None:
    config = EncoderConfig(dimensions=16, buckets=1024, steps=3, groups=2, group=3)
    one, two = (train(TEXTS, lambda row, rng: TEXTS[row][1:], config) for _ in range(2))
    np.testing.assert_array_equal(one.table, two.table)


def test_saving_and_loading_keeps_the_vectors(tmp_path: Path) -> None:
    encoder = projection(TEXTS, SMALL)
    encoder.save(tmp_path / "encoder.safetensors")
    loaded = Encoder.load(tmp_path / "encoder.safetensors")
    np.testing.assert_allclose(loaded.encode(TEXTS), encoder.encode(TEXTS), atol=2e-3)


def test_another_file_is_no_encoder(tmp_path: Path) -> None:
    from safetensors.numpy import save_file

    save_file({"table": np.zeros((3, 2), dtype=np.float16)}, tmp_path / "x.safetensors")
    with pytest.raises(ValueError, match="is no encoder; got tensors \\['table'\\]; expected `table` of 2\\*\\*n rows"):
        Encoder.load(tmp_path / "x.safetensors")


def test_impossible_settings_and_a_single_text_are_refused() -> None:
    with pytest.raises(ValueError, match="power of two, got 1000"):
        EncoderConfig(buckets=1000)
    with pytest.raises(ValueError, match="positive sizes"):
        EncoderConfig(dimensions=0)
    with pytest.raises(ValueError, match="at least two texts to tell apart, got 1"):
        train(["stop"], lambda row, rng: "stop", SMALL)
