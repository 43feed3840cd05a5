"""The interface of encoders, and the compact one: hashed words and character n-grams, then convolutions over words.

Shapes: B batch, P positions the encoder reads, T words, E embedding, C features of a word, D features of an utterance.
"""

import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn


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
    """What the NLU needs of an encoder; it is also an `nn.Module`."""

    word_width: int
    pooled_width: int

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
        """(B, T, C) features of the words and (B, D) of the utterances."""

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
    """

    buckets: int = 16_384
    embedding: int = 128
    width: int = 128
    dropout: float = 0.3
    most_features: int = 24
    longest_ngram: int = 5


def features(word: str, config: CompactConfig) -> list[int]:
    """Rows of a word and its character n-grams in the hashed embedding, at least 1; an empty word has none.

    Source: fastText's sub-words (Bojanowski et al. 2017, section 3.2), hashed by CRC-32 so that every run agrees.
    """
    if not word:
        return []
    framed = f"<{word}>"
    grams = [framed[at : at + n] for n in range(2, config.longest_ngram + 1) for at in range(len(framed) - n + 1)]
    named = [f"w:{word}", *grams][: config.most_features]
    return [1 + zlib.crc32(name.encode(errors="replace")) % (config.buckets - 1) for name in named]


GAIN = 40.0
"""The hashed embedding is stored this much smaller than it is used.

Adam moves every weight by about the learning rate, whatever its size: most features are met a few times only, and
have to learn as much in those few steps as the other weights do in all.
"""


class HashedWords(nn.Module):
    """(B, T) rows of the word table -> (B, T, E): the mean of each word's feature embeddings.

    The table of words met so far is a cache: it changes nothing but speed, and is not saved.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        self.features = nn.EmbeddingBag(config.buckets, config.embedding, mode="mean", padding_idx=0, sparse=True)
        with torch.no_grad():
            self.features.weight.normal_(0, 0.6 / GAIN)
            self.features.weight[0] = 0
        self.row_of: dict[str, int] = {"": 0}
        self.table = torch.zeros((1024, config.most_features), dtype=torch.long)

    def row(self, word: str) -> int:
        """Row of a word in the table; a new word is added."""
        row = self.row_of.get(word)
        if row is None:
            row = self.row_of[word] = len(self.row_of)
            if row >= len(self.table):
                self.table = torch.cat([self.table, torch.zeros_like(self.table)])
            found = features(word, self.config)
            self.table[row, : len(found)] = torch.tensor(found)
        return row

    def forward(self, input_ids: Tensor) -> Tensor:
        # a batch repeats its words, and an attribution repeats its batch: each word is embedded once
        distinct, inverse = torch.unique(input_ids, return_inverse=True)
        device = self.features.weight.device
        embedded = GAIN * self.features(self.table[distinct.cpu()].to(device))
        return nn.functional.embedding(inverse, embedded)


class CompactEncoder(nn.Module):
    """Convolutions of three widths over hashed words; pooled by mean, maximum and the sum of the words themselves."""

    def __init__(self, config: CompactConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CompactConfig()
        e, c = config.embedding, config.width
        self.words = HashedWords(config)
        self.dropout = nn.Dropout(config.dropout)
        self.kernels = nn.ModuleList(nn.Linear(n * e, c) for n in (2, 3, 5))
        self.word_width = e + 3 * c
        self.pooled_width = 2 * 3 * c + e

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
        embedded = self.dropout(self.words(input_ids)) * there
        padded = nn.functional.pad(embedded, (0, 0, 2, 2))
        length = input_ids.shape[1]
        at = [padded[:, shift : shift + length] for shift in range(5)]
        windows = (at[1:3], at[1:4], at)
        seen = [torch.relu(k(torch.cat(list(w), -1))) for k, w in zip(self.kernels, windows, strict=True)]
        local = torch.cat(seen, -1)
        count = there.sum(1)
        mean = (local * there).sum(1) / count
        largest = local.masked_fill(~there, 0).amax(1)  # what comes out of a rectifier is never below 0
        pooled = torch.cat([mean, largest, embedded.sum(1) / count.sqrt()], -1)
        return self.dropout(torch.cat([embedded, local], -1)), self.dropout(pooled)

    def facts(self) -> dict[str, Any]:
        return {"kind": "compact", **asdict(self.config)}
