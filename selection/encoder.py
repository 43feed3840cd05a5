"""The interface of encoders, and the compact one: hashed words and character n-grams, then convolutions over words,
and beside them a linear path to the logits.

Shapes: B batch, P positions the encoder reads, T words, E embedding, C features of a word, D features of an utterance.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from selection.hashing import Table, grams, hashed
from selection.linear import LinearPath


class Batch(NamedTuple):
    """Utterances as an encoder reads them.

    Attributes:
        input_ids: (B, P). mask: (B, P) what is not padding.
        word_of: (B, P) the word each position belongs to, -1 where it is padding or a special token.
        first: (B, T) the first position of each word; 0 beyond the end.
        word_mask: (B, T) which words are there.
    """

    input_ids: Tensor
    mask: Tensor
    word_of: Tensor
    first: Tensor
    word_mask: Tensor


class Encoder(Protocol):
    """What the NLU needs of an encoder; it is also an `nn.Module`.

    Attributes:
        word_width: C. pooled_width: D.
        linear_width: L, how many logits (of the domains, then of the intents) follow the D features; 0 is none.
    """

    word_width: int
    pooled_width: int
    linear_width: int

    @property
    def embedding(self) -> nn.Module:
        """The layer whose output (B, P, E) is attributed; it takes `input_ids`."""

    def meet(self, heard: Sequence[Sequence[str]]) -> None:
        """Be told all that training will read: what is cached must not depend on the order of the batches, or a
        resumed run would round otherwise.
        """

    def batch(self, heard: Sequence[Sequence[str]]) -> Batch:
        """Read B utterances, each a list of at least one word."""

    def baseline(self, batch: Batch) -> Tensor:
        """(B, P) input ids that say nothing: PAD in the place of every word, special tokens kept."""

    def encode(self, input_ids: Tensor, mask: Tensor, first: Tensor, word_mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, C) features of the words and (B, D + L) of the utterances."""

    def facts(self) -> dict[str, Any]:
        """What it takes to build it again, as JSON."""


@dataclass(frozen=True)
class CompactConfig:
    """Size of the compact encoder.

    Attributes:
        buckets: rows of the hashed embedding; row 0 is PAD.
        embedding: E. width: C is three times this.
        most_features: hashed features kept of one word, the word itself first.
        longest_ngram: characters, from 2 up to here.
        gated: words are summed by a learned weight.
        linear: logits of the linear path, one for every domain and intent; 0 is no such path.
        linear_buckets: rows of its hashed weights; row 0 is PAD.
    """

    buckets: int = 16_384
    embedding: int = 128
    width: int = 128
    dropout: float = 0.3
    most_features: int = 24
    longest_ngram: int = 5
    gated: bool = True
    linear: int = 0
    linear_buckets: int = 65_536

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "CompactConfig":
        """From a bundle; those written before there was a gate name none."""
        return cls(**{"gated": False, **facts})


def features(word: str, config: CompactConfig) -> list[int]:
    """Rows of a word and its character n-grams in the hashed embedding, at least 1; an empty word has none."""
    named = [f"w:{word}", *grams(word, config.longest_ngram)] if word else []
    return hashed(named[: config.most_features], config.buckets)


GAIN = 40.0
"""The hashed embedding is stored this much smaller than it is used.

Adam moves every weight by about the learning rate, whatever its size: most features are met a few times only, and
have to learn as much in those few steps as the other weights do in all.
"""


class HashedWords(nn.Module):
    """(B, T) rows of the word table -> (B, T, E + L): the mean of each word's feature embeddings, and what the linear
    path adds to the logits, so that both are attributed.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.EmbeddingBag(config.buckets, config.embedding, mode="mean", padding_idx=0, sparse=True)
        with torch.no_grad():
            self.features.weight.normal_(0, 0.6 / GAIN)
            self.features.weight[0] = 0
        self.linear = LinearPath(config.linear_buckets, config.linear, config.longest_ngram) if config.linear else None
        self.table = Table(config.most_features)

    def row(self, word: str) -> int:
        """Row of a word in the table, 0 of an empty one; a new word is added."""
        return self.table.row(word, lambda: self._new(word)) if word else 0

    def _new(self, word: str) -> list[int]:
        if self.linear is not None:
            self.linear.meet(word)
        return features(word, self.config)

    def forward(self, input_ids: Tensor) -> Tensor:
        # a batch repeats its words, and an attribution repeats its batch: each word is embedded once
        distinct, inverse = torch.unique(input_ids, return_inverse=True)
        device = self.features.weight.device
        embedded = GAIN * self.features(self.table.rows[distinct.cpu()].to(device))
        words = nn.functional.embedding(inverse, embedded)
        return words if self.linear is None else torch.cat([words, self.linear(input_ids)], -1)


def _gate(scores: Tensor) -> Tensor:
    """Above 0, and 1 at a score of 0."""
    return nn.functional.softplus(scores + math.log(math.e - 1))


class CompactEncoder(nn.Module):
    """Convolutions of three widths over hashed words; pooled by mean, maximum and the sum of the words themselves,
    weighted by a gate. The linear path's logits follow.
    """

    def __init__(self, config: CompactConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CompactConfig()
        e, c = config.embedding, config.width
        self.words = HashedWords(config)
        self.dropout = nn.Dropout(config.dropout)
        self.kernels = nn.ModuleList(nn.Linear(n * e, c) for n in (2, 3, 5))
        self.word_width = e + 3 * c
        self.pooled_width = 2 * 3 * c + e
        self.linear_width = config.linear
        self.gate = nn.Linear(e, 1) if config.gated else None

    @property
    def embedding(self) -> nn.Module:
        return self.words

    def meet(self, heard: Sequence[Sequence[str]]) -> None:
        for said in heard:
            for word in said:
                self.words.row(word)

    def batch(self, heard: Sequence[Sequence[str]]) -> Batch:
        length = max(map(len, heard))
        rows = [[self.words.row(word) for word in said] + [0] * (length - len(said)) for said in heard]
        lengths = torch.tensor([len(said) for said in heard])
        places = torch.arange(length).expand(len(heard), length)
        mask = places < lengths[:, None]
        device = self.words.features.weight.device
        parts = (torch.tensor(rows), mask, places.where(mask, -1), places.where(mask, 0), mask)
        return Batch(*(part.to(device) for part in parts))

    def baseline(self, batch: Batch) -> Tensor:
        return torch.zeros_like(batch.input_ids)

    def encode(self, input_ids: Tensor, mask: Tensor, first: Tensor, word_mask: Tensor) -> tuple[Tensor, Tensor]:
        there = mask[..., None]
        words, linear = self.words(input_ids).split([self.config.embedding, self.linear_width], -1)
        embedded = self.dropout(words) * there
        padded = nn.functional.pad(embedded, (0, 0, 2, 2))
        length = input_ids.shape[1]
        at = [padded[:, shift : shift + length] for shift in range(5)]
        windows = (at[1:3], at[1:4], at)
        seen = [torch.relu(k(torch.cat(list(w), -1))) for k, w in zip(self.kernels, windows, strict=True)]
        local = torch.cat(seen, -1)
        mean = (local * there).sum(1) / there.sum(1)
        largest = local.masked_fill(~there, 0).amax(1)  # what comes out of a rectifier is never below 0
        pooled = self.dropout(torch.cat([mean, largest, self._summed(embedded, there)], -1))
        return self.dropout(torch.cat([embedded, local], -1)), torch.cat([pooled, linear.sum(1)], -1)

    def _summed(self, embedded: Tensor, there: Tensor) -> Tensor:
        """(B, E) weighted sum of the words, over the root of the summed squares of their weights; without a gate all
        weights are 1.
        """
        weights = torch.ones_like(embedded[..., :1]) if self.gate is None else _gate(self.gate(embedded))
        weights = weights * there
        return (weights * embedded).sum(1) / weights.square().sum(1).sqrt()

    def facts(self) -> dict[str, Any]:
        return {"kind": "compact", **asdict(self.config)}
