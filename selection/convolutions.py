"""One member of the compact encoder: convolutions over words, pooled.

Shapes: B batch, T words, E embedding, C features of a word, D features of an utterance.
"""

import math

import torch
from torch import Tensor, nn

WIDTHS = (2, 3, 5)
"""Words under each kernel."""


class Convolutions(nn.Module):
    """(B, T, E) words -> (B, T, C), and (B, D): their mean and maximum, and the words' sum, weighted by a gate.

    Args:
        embedding: E. width: of the output of each of the three kernels.
        gated: whether words are summed by a learned weight.
        word_dropout: share of the words hidden in training, from this member alone.
    """

    def __init__(self, embedding: int, width: int, gated: bool, dropout: float, word_dropout: float) -> None:
        super().__init__()
        self.word_dropout = word_dropout
        self.dropout = nn.Dropout(dropout)
        self.kernels = nn.ModuleList(nn.Linear(n * embedding, width) for n in WIDTHS)
        self.gate = nn.Linear(embedding, 1) if gated else None
        self.word_width = embedding + len(WIDTHS) * width
        self.pooled_width = embedding + 2 * len(WIDTHS) * width

    def forward(self, words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        there = mask[..., None]
        embedded = self.dropout(self._some(words)) * there
        padded = nn.functional.pad(embedded, (0, 0, 2, 2))
        length = mask.shape[1]
        at = [padded[:, shift : shift + length] for shift in range(5)]
        windows = (at[1:3], at[1:4], at)
        seen = [torch.relu(k(torch.cat(list(w), -1))) for k, w in zip(self.kernels, windows, strict=True)]
        local = torch.cat(seen, -1)
        mean = (local * there).sum(1) / there.sum(1)
        largest = local.masked_fill(~there, 0).amax(1)  # what comes out of a rectifier is never below 0
        pooled = self.dropout(torch.cat([mean, largest, self._summed(embedded, there)], -1))
        return self.dropout(torch.cat([embedded, local], -1)), pooled

    def _some(self, words: Tensor) -> Tensor:
        """The words; in training some of them are 0, as PAD is."""
        if not self.training or not self.word_dropout:
            return words
        kept = torch.rand(words.shape[:2], device=words.device) >= self.word_dropout
        return words * kept[..., None]

    def _summed(self, embedded: Tensor, there: Tensor) -> Tensor:
        """(B, E) weighted sum of the words, over the root of the summed squares of their weights; without a gate all
        weights are 1.
        """
        weights = torch.ones_like(embedded[..., :1]) if self.gate is None else _gate(self.gate(embedded))
        weights = weights * there
        return (weights * embedded).sum(1) / weights.square().sum(1).sqrt()


def _gate(scores: Tensor) -> Tensor:
    """Above 0, and 1 at a score of 0."""
    return nn.functional.softplus(scores + math.log(math.e - 1))
