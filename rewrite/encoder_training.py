"""Training of the bi-encoder: each query against the texts of its batch, which are chosen to be near each other."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rewrite.encoder import Encoder, EncoderConfig, bucket_rows, projection, tokens

Draw = Callable[[int, np.random.Generator], str]
"""A query for the text at a row of the catalogue."""


def train(
    texts: Sequence[str], draw: Draw, config: EncoderConfig, advance: Callable[[], None] = lambda: None
) -> Encoder:
    """Fit an encoder to a catalogue, given a way to draw queries for its texts.

    Args:
        texts: distinct, at least two.

    Raises:
        ValueError: fewer than two texts: nothing to tell apart.
    """
    if len(texts) < 2:
        raise ValueError(f"expected at least two texts to tell apart, got {len(texts)}")
    start, rng = projection(texts, config), np.random.default_rng(config.seed)
    vectors = start.encode(texts)
    table = torch.from_numpy(start.table.copy()).requires_grad_()
    optimiser = torch.optim.SparseAdam([table], lr=config.learning_rate)
    rows_of = [_pieces(text, config.buckets) for text in texts]
    for step in range(config.steps):
        rows = _batch(vectors, config, rng)
        queries = [_pieces(draw(int(row), rng), config.buckets) for row in rows]
        for group in optimiser.param_groups:
            group["lr"] = config.learning_rate * (1 - step / config.steps)
        optimiser.zero_grad()
        similarity = _sums(table, queries) @ _sums(table, [rows_of[row] for row in rows]).T / config.temperature
        right = torch.arange(len(rows))
        loss = functional.cross_entropy(similarity, right) + functional.cross_entropy(similarity.T, right)
        loss.backward()  # type: ignore[no-untyped-call]
        optimiser.step()  # type: ignore[no-untyped-call]
        advance()
    return Encoder(table.detach().numpy())


def _batch(vectors: NDArray[np.float32], config: EncoderConfig, rng: np.random.Generator) -> NDArray[np.int64]:
    """Distinct rows: some at random, and with each some that were near it before training."""
    found: dict[int, None] = {}
    for row in rng.integers(len(vectors), size=config.groups).tolist():
        near = np.argpartition(-(vectors @ vectors[row]), min(config.near, len(vectors) - 1))[: config.near]
        found |= dict.fromkeys([row, *rng.permutation(near)[: config.group - 1].tolist()])
    return np.array(list(found), dtype=np.int64)


def _pieces(text: str, buckets: int) -> NDArray[np.int64]:
    return np.concatenate([np.zeros(0, dtype=np.int64), *(bucket_rows(token, buckets) for token in tokens(text))])


def _sums(table: Tensor, listed: Sequence[NDArray[np.int64]]) -> Tensor:
    """Unit vectors of texts given by their rows of the table, shape (N, dimensions)."""
    offsets = np.cumsum([0, *(len(rows) for rows in listed[:-1])])
    flat = torch.from_numpy(np.concatenate(listed))
    return functional.normalize(
        functional.embedding_bag(flat, table, torch.from_numpy(offsets), mode="sum", sparse=True)
    )
