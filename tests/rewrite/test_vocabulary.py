"""Texts to ids and back."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite.generator import Generator
from rewrite.vocabulary import ByteVocabulary, HubVocabulary
from tests.reference.tiny_models import tiny_model

UNICODE = st.text(st.characters(exclude_categories=("Cs",)))
WORDS = ["<pad>", "</s>", "<unk>", "rewrite:", "heard:", "|", "play", "alien", "ancient", "bridges", "stop"]


def word_tokenizer(**other: Any) -> Any:
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import WhitespaceSplit
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    special = {"pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>"} | other
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **special)


@given(UNICODE)
def test_every_text_comes_back_from_its_bytes(text: str) -> None:
    vocabulary = ByteVocabulary()
    ids = vocabulary.target(text)
    assert vocabulary.text(ids) == text
    assert vocabulary.text([*ids, vocabulary.pad_id, vocabulary.pad_id]) == text
    assert ids[-1] == vocabulary.eos_id
    assert all(0 <= i < vocabulary.size for i in ids)


def test_byte_ids_are_those_of_byt5() -> None:
    # ByT5 tokenizer on "Life é": byte + 3, then </s> = 1
    assert ByteVocabulary().target("Life é") == [79, 108, 105, 104, 35, 198, 172, 1]


@given(UNICODE, st.lists(UNICODE, max_size=4))
def test_the_encoder_sees_direction_the_latest_turns_and_text(text: str, turns: list[str]) -> None:
    vocabulary = ByteVocabulary()
    forward = vocabulary.source("forward", text, turns)
    parts: list[list[int]] = [[]]
    for token_id in forward[1:-1]:
        if token_id == 261:
            parts.append([])
        else:
            parts[-1].append(token_id)
    assert [vocabulary.text(part) for part in parts] == [*turns[-2:], text]
    assert vocabulary.source("channel", text, turns) == [260, *vocabulary.target(text)]
    assert forward[0] != 260


def test_ids_that_are_no_utf8_become_replacement_characters() -> None:
    assert ByteVocabulary().text([0xFF + 3, ord("a") + 3, 1]) == "\ufffda"


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_a_hugging_face_model_is_loaded_with_its_own_tokenizer(family: str, tmp_path: Path) -> None:
    tiny_model(family).save_pretrained(str(tmp_path))
    word_tokenizer().save_pretrained(str(tmp_path))
    generator = Generator.load(tmp_path)
    assert isinstance(generator.vocabulary, HubVocabulary)
    assert generator.vocabulary.source("forward", "play alien bridges", ["stop", "alien", "stop"]) == [
        *[3, 7, 5, 10, 5],
        *[6, 7, 9, 1],
    ]
    assert generator.vocabulary.source("channel", "play ancient", ["stop"]) == [4, 6, 8, 1]
    assert generator.vocabulary.text(generator.vocabulary.target("play ancient bridges")) == "play ancient bridges"
    scores = generator.log_probs("channel", ["play ancient", "stop"], ["play alien", "stop"])
    assert scores.shape == (2,)
    assert (scores < 0).all()
    generator.save(tmp_path / "again")
    again = Generator.load(tmp_path / "again").log_probs("channel", ["play ancient", "stop"], ["play alien", "stop"])
    np.testing.assert_array_equal(scores, again)


@pytest.mark.parametrize("missing", ["pad_token", "eos_token"])
def test_a_tokenizer_without_an_end_or_padding_is_refused(missing: str) -> None:
    with pytest.raises(ValueError, match="no end-of-sequence or padding token"):
        HubVocabulary(word_tokenizer(**{missing: None}))


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(ValueError, match="cannot load a generator"):
        Generator.load(tmp_path)


def test_a_folder_with_a_broken_config_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ValueError, match="cannot load a generator"):
        Generator.load(tmp_path)
