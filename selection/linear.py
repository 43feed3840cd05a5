"""A linear path from words and pairs of words to the logits: what a bag of features alone says.

Shapes: B batch, T words, L logits.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from selection.hashing import Table, grams, hashed

GAIN = 25.0
"""The weights are stored this much smaller than they are used: they learn that much faster than the other weights."""

MOST_OF_WORD, MOST_OF_PAIR = 48, 8
"""Features kept of one word and of one pair."""

MOST_CACHED = 200_000
"""Pairs remembered; there are more of them than of words."""

_JOINTS = ((1, 1), (2, 1), (1, 2), (2, 2), (3, 2), (2, 3))
"""Characters before and after the space of the n-grams that cross it."""


def word_features(word: str, longest: int) -> list[str]:
    """The word and its character n-grams."""
    return [f"w:{word}", *grams(word, longest)]


def pair_features(left: str, right: str) -> list[str]:
    """The pair, and n-grams across the space: "play list" has some that "playlist" has."""
    across = [left[-i:] + right[:j] for i, j in _JOINTS if len(left) >= i and len(right) >= j]
    return [f"b:{left} {right}", *across]


def all_alike(buckets: int) -> Tensor:
    """(buckets,) rarities of 1, and 0 of PAD."""
    return (torch.arange(buckets) > 0).float()


class LinearPath(nn.Module):
    """(B, T) rows of the word table -> (B, T, L) what each word, and the pair that it ends, adds to the logits.

    A feature counts by its rarity. Divided by the root of the summed squares of the utterance's, so that long ones are
    not surer.
    """

    rarity: Tensor

    def __init__(self, buckets: int, logits: int, longest_ngram: int) -> None:
        super().__init__()
        self.buckets, self.longest = buckets, longest_ngram
        self.weights = nn.EmbeddingBag(buckets, logits, mode="sum", padding_idx=0, sparse=True)
        nn.init.zeros_(self.weights.weight)
        self.register_buffer("rarity", all_alike(buckets))
        self.words: list[str] = [""]
        self.of_word, self.of_pair = Table(MOST_OF_WORD), Table(MOST_OF_PAIR)

    def meet(self, word: str) -> None:
        """Take the next row of the word table."""
        self.words.append(word)
        self.of_word.row(word, lambda: hashed(word_features(word, self.longest), self.buckets))

    def weigh(self, spoken: Sequence[Sequence[int]]) -> None:
        """Set the rarity of every feature, 1 + ln((N + 1) / (n + 1)) where n of the N utterances have it.

        Args:
            spoken: N utterances as rows of the word table.
        """
        having = torch.zeros(self.buckets)
        for said in spoken:
            ids = torch.tensor([list(said)])
            features = torch.cat([self._words(ids)[0].flatten(), self._pairs(ids)[0].flatten()])
            having[torch.unique(features)] += 1
        self.rarity.copy_((1 + torch.log((len(spoken) + 1) / (having + 1))) * all_alike(self.buckets))

    def forward(self, input_ids: Tensor) -> Tensor:
        words, word_squares = self._added(*self._words(input_ids))
        pairs, pair_squares = self._added(*self._pairs(input_ids))
        squares = (word_squares + pair_squares).sum(1).clamp(min=1)
        return GAIN * (words + pairs) / squares.sqrt()[:, None, None]

    def _added(self, features: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, L) sums of the weights of (U, F) features of distinct things, by rarity; (B, T) of its squares."""
        features = features.to(inverse.device)
        rarity = self.rarity[features]
        added = self.weights(features, per_sample_weights=rarity)
        return nn.functional.embedding(inverse, added), rarity.square().sum(1)[inverse]

    def _words(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        distinct, inverse = torch.unique(input_ids, return_inverse=True)
        return self.of_word.rows[distinct.cpu()], inverse

    def _pairs(self, input_ids: Tensor) -> tuple[Tensor, Tensor]:
        """Of the pair that ends at each word; none at the first, and where one of the two is PAD."""
        left = nn.functional.pad(input_ids[:, :-1], (1, 0))
        keys = torch.where((left > 0) & (input_ids > 0), (left << 32) + input_ids, 0)
        distinct, inverse = torch.unique(keys, return_inverse=True)
        if len(self.of_pair.row_of) > MOST_CACHED:
            self.of_pair = Table(MOST_OF_PAIR)
        rows = [self._pair(key) if key else 0 for key in distinct.tolist()]
        return self.of_pair.rows[rows], inverse

    def _pair(self, key: int) -> int:
        left, right = self.words[key >> 32], self.words[key & 0xFFFFFFFF]
        return self.of_pair.row(key, lambda: hashed(pair_features(left, right), self.buckets))
