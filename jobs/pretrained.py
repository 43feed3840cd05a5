"""Any Hugging Face encoder as the NLU's encoder: sub-words in, one vector a word and one an utterance out."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rewrite.checkpoints import is_local
from selection.encoder import Batch
from selection.model import Nlu, compact


class PretrainedEncoder(nn.Module):
    """An encoder (or the encoder of an encoder-decoder) with its tokenizer.

    A word is the hidden state of its first sub-word; an utterance the mean over its positions.
    """

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__()
        self.model = model
        self.tokenizer = tokenizer
        self.word_width = self.pooled_width = int(model.config.hidden_size)
        self.members, self.hides_words = 1, False
        self.linear_width, self.linear_share = 0, 0.0
        if tokenizer.pad_token_id is None:
            raise ValueError(f"the tokenizer of {model.config.model_type} has no PAD token; expected one to attribute")

    @classmethod
    def load(cls, name: str) -> "PretrainedEncoder":
        """From a path, or a hub name to download.

        Raises:
            ValueError: nothing usable there.
        """
        from transformers import AutoModel, AutoTokenizer

        local = {"local_files_only": is_local(name)}
        try:
            model, tokenizer = AutoModel.from_pretrained(name, **local), AutoTokenizer.from_pretrained(name, **local)
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(f"{name!r} is no encoder that can be loaded: {error}") from error
        if getattr(model.config, "is_encoder_decoder", False):
            model = model.get_encoder()
        return cls(model, tokenizer)

    @property
    def embedding(self) -> nn.Module:
        layer: nn.Module = self.model.get_input_embeddings()
        return layer

    def meet(self, heard: Sequence[Sequence[str]]) -> None:
        """Nothing is cached."""

    def weigh(self, heard: Sequence[Sequence[str]]) -> None:
        """Nothing is counted."""

    def batch(self, heard: Sequence[Sequence[str]]) -> Batch:
        # an empty word has no sub-word at all; a full stop stands for it
        said = [[word or "." for word in utterance] for utterance in heard]
        encoded = self.tokenizer(said, is_split_into_words=True, padding=True, truncation=True, return_tensors="pt")
        of = [[-1 if w is None else w for w in encoded.word_ids(row)] for row in range(len(said))]
        count = max(map(len, said))
        # a word that truncation cut off reads the first position
        first = [[of[row].index(w) if w in of[row] else 0 for w in range(count)] for row in range(len(said))]
        lengths = torch.tensor([[len(utterance)] for utterance in said])
        device = self.embedding.weight.device
        parts = (
            encoded["input_ids"],
            encoded["attention_mask"].bool(),
            torch.tensor(of),
            torch.tensor(first),
            torch.arange(count) < lengths,
        )
        return Batch(*(part.to(device) for part in parts))  # type: ignore[arg-type]

    def baseline(self, batch: Batch) -> Tensor:
        return torch.where(batch.word_of >= 0, int(self.tokenizer.pad_token_id), batch.input_ids)

    def encode(self, input_ids: Tensor, mask: Tensor, first: Tensor, word_mask: Tensor) -> tuple[Tensor, Tensor]:
        hidden = self.model(input_ids=input_ids, attention_mask=mask.long()).last_hidden_state
        rows = torch.arange(len(hidden), device=hidden.device)[:, None]
        pooled = (hidden * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)
        return hidden[rows, first], pooled

    def facts(self) -> dict[str, Any]:
        return {"kind": "pretrained", "folder": FOLDER}

    def save(self, folder: Path) -> None:
        """Config and tokenizer; the weights are among the NLU's own."""
        self.model.config.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)

    @classmethod
    def empty(cls, folder: Path) -> "PretrainedEncoder":
        """As saved, with random weights, to be filled from the NLU's file."""
        from transformers import AutoConfig, AutoModel, AutoTokenizer

        config = AutoConfig.from_pretrained(folder)
        model = AutoModel.from_config(config)
        if getattr(config, "is_encoder_decoder", False):
            model = model.get_encoder()
        return cls(model, AutoTokenizer.from_pretrained(folder))


FOLDER = "encoder"


def save_model(model: Nlu, folder: Path) -> None:
    """Write a model with all that loading it needs."""
    model.save(folder)
    if isinstance(model.encoder, PretrainedEncoder):
        model.encoder.save(folder / FOLDER)


def load_model(folder: Path) -> Nlu:
    """Open a model of either kind of encoder; a bundle is verified first.

    Raises:
        ValueError: no model there, or one of its files is missing or altered.
    """
    if (folder / "manifest.json").exists():
        from rewrite.bundle import verify

        verify(folder)
    inner = folder / "model" if (folder / "model").is_dir() else folder

    def build(facts: dict[str, Any]) -> Any:
        return PretrainedEncoder.empty(inner / FOLDER) if facts.get("kind") == "pretrained" else compact(facts)

    return Nlu.load(inner, build)
