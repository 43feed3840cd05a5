"""A Hugging Face encoder made on the spot does all that the compact one does."""

from pathlib import Path

import pytest
import torch

from jobs.nlu import TrainOptions, fit
from jobs.pretrained import PretrainedEncoder, load_model, save_model
from selection.attributions import Target, attribute
from selection.labels import Labels
from tests.selection.grammar import utterances


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A folder with a tiny BERT whose word pieces split most words."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    folder = tmp_path_factory.mktemp("bert")
    letters = "abcdefghijklmnopqrstuvwxyz."
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "play", "the", *letters, *(f"##{c}" for c in letters)]
    (folder / "vocab.txt").write_text("\n".join(pieces))
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 32}
    BertModel(BertConfig(vocab_size=len(pieces), **shape)).save_pretrained(folder)
    BertTokenizerFast(vocab=str(folder / "vocab.txt")).save_pretrained(folder)
    return str(folder)


def test_words_are_read_by_their_first_piece(name: str) -> None:
    batch = PretrainedEncoder.load(name).batch([["play", "mika"], ["the", ""], ["on"]])
    assert batch.word_of[0].tolist() == [-1, 0, 1, 1, 1, 1, -1]
    assert batch.first.tolist() == [[1, 2], [1, 2], [1, 0]]
    assert batch.word_mask.tolist() == [[True, True], [True, True], [True, False]]


def test_the_baseline_keeps_special_tokens(name: str) -> None:
    encoder = PretrainedEncoder.load(name)
    batch = encoder.batch([["play", "mika"]])
    assert encoder.baseline(batch)[0].tolist() == [2, 0, 0, 0, 0, 0, 3]


def test_it_trains_reads_explains_and_survives_the_disk(name: str, tmp_path: Path) -> None:
    rows = utterances()
    model = fit(rows, rows[::2], TrainOptions(model=name, epochs=2, rate=1e-3), quiet=True)
    assert model.labels == Labels.of(rows)
    (found,) = attribute(model, ["play hello by mika"], [Target("intent", 0)])
    assert found.words == ("play", "hello", "by", "mika")
    assert found.error <= 0.05
    save_model(model, tmp_path)
    assert load_model(tmp_path).read(["play hello"], 2) == model.read(["play hello"], 2)


def test_a_name_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing: no such folder"):
        PretrainedEncoder.load(str(tmp_path / "nothing"))
    with pytest.raises(ValueError, match="is no encoder that can be loaded"):
        PretrainedEncoder.load(str(tmp_path))
