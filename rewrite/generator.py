"""The generator: one encoder-decoder that both proposes rewrites and explains how a text was misheard."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rewrite.checkpoints import is_local
from rewrite.score import score
from rewrite.search import search
from rewrite.trie import TokenTrie
from rewrite.vocabulary import ByteVocabulary, Direction, HubVocabulary, Vocabulary


@dataclass(frozen=True)
class GeneratorConfig:
    """Shape of a generator trained from scratch: Pegasus (sinusoidal positions, pre-norm) over bytes.

    Of the architectures tried it alone learns to align within minutes on a CPU: T5 has no position signal in its
    cross-attention, and post-norm needs far longer.
    """

    d_model: int = 128
    encoder_layers: int = 4
    decoder_layers: int = 2
    heads: int = 4
    ffn_dim: int = 512
    dropout: float = 0.0
    max_positions: int = 2048


@dataclass(frozen=True)
class Encoded:
    """A query in the forward direction: ids and mask, int64, (1, S); last encoder states, (1, S, H)."""

    ids: Tensor
    mask: Tensor
    states: Tensor


class Generator:
    """A Hugging Face encoder-decoder with its vocabulary.

    Used in two directions: `forward`, P(text | query, turns), and `channel`, P(query | text).
    """

    def __init__(self, model: Any, vocabulary: Vocabulary) -> None:
        self.model = model.eval()
        self.vocabulary = vocabulary

    @classmethod
    def build(cls, config: GeneratorConfig, seed: int) -> "Generator":
        """A byte-level generator with random weights drawn from `seed`."""
        from transformers import PegasusConfig, PegasusForConditionalGeneration

        shape = PegasusConfig(
            vocab_size=ByteVocabulary.size,
            d_model=config.d_model,
            encoder_layers=config.encoder_layers,
            decoder_layers=config.decoder_layers,
            encoder_attention_heads=config.heads,
            decoder_attention_heads=config.heads,
            encoder_ffn_dim=config.ffn_dim,
            decoder_ffn_dim=config.ffn_dim,
            dropout=config.dropout,
            attention_dropout=0.0,
            activation_dropout=0.0,
            max_position_embeddings=config.max_positions,
            scale_embedding=True,
            pad_token_id=ByteVocabulary.pad_id,
            eos_token_id=ByteVocabulary.eos_id,
            forced_eos_token_id=None,
            decoder_start_token_id=ByteVocabulary.pad_id,
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = PegasusForConditionalGeneration(shape)
        return cls(model, ByteVocabulary())

    @classmethod
    def load(cls, name_or_path: str | Path) -> "Generator":
        """Load what `save` wrote, or any Hugging Face encoder-decoder by path or hub name (downloads only then).

        Raises:
            ValueError: there is no such folder, or it holds no encoder-decoder that transformers can read.
        """
        from transformers import AutoModelForSeq2SeqLM, AutoTokenizer

        path, local = Path(name_or_path), is_local(name_or_path)
        try:
            model = AutoModelForSeq2SeqLM.from_pretrained(
                str(name_or_path), local_files_only=local, use_safetensors=True, dtype=torch.float32
            )
        except (OSError, ValueError, KeyError) as error:
            raise ValueError(
                f"cannot load a generator from {str(name_or_path)!r}: expected an encoder-decoder checkpoint in "
                f"safetensors "
                f"(config.json and model.safetensors) or the name of one; {error}"
            ) from error
        if local and (path / "vocabulary.json").exists():
            return cls(model, ByteVocabulary())
        return cls(model, HubVocabulary(AutoTokenizer.from_pretrained(str(name_or_path), local_files_only=local)))

    def save(self, folder: Path) -> None:
        """Write config.json, model.safetensors and the vocabulary to `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        self.model.save_pretrained(str(folder))
        if isinstance(self.vocabulary, HubVocabulary):
            self.vocabulary.tokenizer.save_pretrained(str(folder))
        else:
            (folder / "vocabulary.json").write_text(json.dumps({"kind": "bytes", "ids": "byte + 3"}) + "\n")

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        device: torch.device = self.model.device
        return device

    def pad(self, sequences: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Right-pad to one matrix.

        Returns:
            token ids and attention mask, both int64, shape (B, T), on the model's device.
        """
        width = max(map(len, sequences))
        ids = torch.full((len(sequences), width), self.vocabulary.pad_id, dtype=torch.long)
        mask = torch.zeros_like(ids)
        for row, sequence in enumerate(sequences):
            ids[row, : len(sequence)] = torch.tensor(sequence, dtype=torch.long)
            mask[row, : len(sequence)] = 1
        return ids.to(self.device), mask.to(self.device)

    def token_losses(self, sources: Sequence[Sequence[int]], targets: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor]:
        """Negative log-probabilities of the target tokens, over the full vocabulary.

        Args:
            sources: encoder inputs, each ending in eos. targets: decoder targets, each ending in eos.

        Returns:
            losses (B, T), float32 nats, zero at padding; mask (B, T).
        """
        input_ids, input_mask = self.pad(sources)
        labels, label_mask = self.pad(targets)
        start = torch.full_like(labels[:, :1], self.model.config.decoder_start_token_id)
        logits = self.model(
            input_ids=input_ids,
            attention_mask=input_mask,
            decoder_input_ids=torch.cat([start, labels[:, :-1]], 1),
            use_cache=False,
        ).logits
        losses = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")
        return losses * label_mask, label_mask

    @torch.inference_mode()
    def encode(self, query: str, turns: Sequence[str] = ()) -> "Encoded":
        """One query with its earlier turns, encoded for `search` and `score` in the forward direction."""
        ids, mask = self.pad([self.vocabulary.source("forward", query, turns)])
        states = self.model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state
        return Encoded(ids, mask, states)

    @torch.inference_mode()
    def search(self, encoded: "Encoded", trie: TokenTrie, **options: Any) -> list[tuple[str, float]]:
        """Texts of `trie` by log P(text | query), nats, best first; `options` are those of `rewrite.search`."""
        found = search(self.model, encoded.ids, encoded.mask, tries=[trie], encoder_states=encoded.states, **options)
        return [(self.vocabulary.text(member.token_ids), member.log_prob) for member in found[0]]

    @torch.inference_mode()
    def score(self, encoded: "Encoded", texts: Sequence[str]) -> np.ndarray:
        """log P(text | query) of each text, nats, float64, shape (len(texts),): the query is encoded once."""
        sequences = [[self.vocabulary.target(text) for text in texts]]
        return score(self.model, encoded.ids, encoded.mask, sequences, encoder_states=encoded.states)[0]

    @torch.inference_mode()
    def log_probs(
        self, direction: Direction, sources: Sequence[str], targets: Sequence[str], turns: Sequence[str] = ()
    ) -> np.ndarray:
        """log P(target | source) of each pair, nats, float64, shape (len(sources),).

        All pairs go through one forward, so the result does not depend on what else is asked elsewhere. The earlier
        `turns` are shared by all pairs.
        """
        if not sources:
            return np.zeros(0)
        encoded = [self.vocabulary.source(direction, s, turns) for s in sources]
        losses, _ = self.token_losses(encoded, [self.vocabulary.target(t) for t in targets])
        return -losses.sum(1).double().cpu().numpy()
