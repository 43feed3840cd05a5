"""The interface of encoders, and the compact one: hashed words and character n-grams, then members of convolutions over
words, and beside them a linear path to the logits.

Shapes: B batch, P positions the encoder reads, T words, M members, E embedding, C features of a word, D features of an
utterance.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from selection.convolutions import Convolutions
from selection.hashing import Table, grams, hashed
from selection.linear import LinearPath, all_alike


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
        members: M, how many equal parts the C and the D features are of; each has a loss of its own.
        hides_words: in training it hides words by itself, from some of its parts.
        linear_width: L, how many logits (of the domains, then of the intents) follow the D features; 0 is none.
        linear_share: of those logits in the sum with the heads'.
    """

    word_width: int
    pooled_width: int
    members: int
    hides_words: bool
    linear_width: int
    linear_share: float

    @property
    def embedding(self) -> nn.Module:
        """The layer whose output (B, P, E) is attributed; it takes `input_ids`."""

    def meet(self, heard: Sequence[Sequence[str]]) -> None:
        """Be told all that training will read: what is cached must not depend on the order of the batches, or a
        resumed run would round otherwise.
        """

    def weigh(self, heard: Sequence[Sequence[str]]) -> None:
        """Take from the rows of a training from scratch what is counted, not learned."""

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
        embedding: E, of each member. width: of each of its kernels.
        members: M, networks with embeddings, convolutions and losses of their own; their logits are averaged.
        word_dropout: share of the words hidden from a member in training; the linear path sees them all.
        most_features: hashed features kept of one word, the word itself first.
        longest_ngram: characters, from 2 up to here.
        gated: words are summed by a learned weight.
        linear: logits of the linear path, one for every domain and intent; 0 is no such path.
        linear_buckets: rows of its hashed weights; row 0 is PAD.
        linear_share: of its logits in the sum with the members' mean.
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
    linear_share: float = 0.55
    members: int = 3
    word_dropout: float = 0.1

    @classmethod
    def of_facts(cls, facts: Mapping[str, Any]) -> "CompactConfig":
        """From a bundle; an earlier one lacks what there was not yet, and has one member."""
        return cls(**{"gated": False, "linear_share": 0.5, "members": 1, **facts})


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
    """(B, T) rows of the word table -> (B, T, M * E + L): for every member the mean of each word's feature embeddings,
    and what the linear path adds to the logits, so that all is attributed.
    """

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.config = config
        width = config.members * config.embedding
        self.features = nn.EmbeddingBag(config.buckets, width, mode="mean", padding_idx=0, sparse=True)
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


class CompactEncoder(nn.Module):
    """Members of convolutions over hashed words, side by side; the linear path's logits follow."""

    hides_words = True

    def __init__(self, config: CompactConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or CompactConfig()
        self.words = HashedWords(config)
        one = (config.embedding, config.width, config.gated, config.dropout, config.word_dropout)
        members = [Convolutions(*one) for _ in range(config.members)]
        self.convolutions = nn.ModuleList(members)
        self.members, self.linear_width, self.linear_share = config.members, config.linear, config.linear_share
        self.word_width = sum(member.word_width for member in members)
        self.pooled_width = sum(member.pooled_width for member in members)
        self.register_load_state_dict_pre_hook(_as_now)  # type: ignore[no-untyped-call]

    @property
    def embedding(self) -> nn.Module:
        return self.words

    def meet(self, heard: Sequence[Sequence[str]]) -> None:
        for said in heard:
            for word in said:
                self.words.row(word)

    def weigh(self, heard: Sequence[Sequence[str]]) -> None:
        if self.words.linear is not None:
            self.words.linear.weigh([[self.words.row(word) for word in said] for said in heard])

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
        sizes = [self.config.embedding] * self.members
        *words, linear = self.words(input_ids).split([*sizes, self.linear_width], -1)
        read = [member(mine, mask) for member, mine in zip(self.convolutions, words, strict=True)]
        local, pooled = zip(*read, strict=True)
        return torch.cat(local, -1), torch.cat([*pooled, linear.sum(1)], -1)

    def facts(self) -> dict[str, Any]:
        return {"kind": "compact", **asdict(self.config)}


def _as_now(encoder: CompactEncoder, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Weights of a bundle from before there were members and rarities: its only member, and all features alike."""
    for name in [name for name in state if name.startswith((f"{prefix}kernels.", f"{prefix}gate."))]:
        state[f"{prefix}convolutions.0.{name.removeprefix(prefix)}"] = state.pop(name)
    if encoder.words.linear is not None:
        state.setdefault(f"{prefix}words.linear.rarity", all_alike(encoder.config.linear_buckets))
