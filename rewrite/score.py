"""Exact log-probabilities of given texts: the search over a set that holds nothing else, as a rule in one forward."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch import Tensor

from rewrite.search import search
from rewrite.trie import TokenTrie
from rewrite.trie_build import Array

_NO_LIMIT = 1 << 30


def score(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor | None,
    sequences: Sequence[Sequence[Sequence[int]]],
    encoder_states: Tensor | None = None,
) -> list[Array]:
    """log P(sequence | query) of each query's sequences.

    The query is encoded once, not once per sequence, and what sequences begin with together is run once.

    Args:
        model, input_ids, attention_mask, encoder_states: as of `search`.
        sequences: for each of the B queries, token-id sequences ending in eos.

    Returns:
        For each query its sequences' log-probabilities, nats, float64, in the order given.

    Raises:
        ValueError: `sequences` is not one list per query, or as of `TokenTrie.build` and `search`.
    """
    if len(sequences) != len(input_ids):
        raise ValueError(f"got {len(sequences)} lists of sequences for {len(input_ids)} queries; expected one each")
    tries = [[TokenTrie.build(list(each))] for each in sequences]
    most = max((len(trie) for (trie,) in tries), default=0)
    if not most:
        return [np.zeros(0) for _ in sequences]
    found = search(
        model, input_ids, attention_mask, tries=tries, k=most, max_forwards=_NO_LIMIT, encoder_states=encoder_states
    )
    scores = [{candidate.token_ids: candidate.log_prob for candidate in each} for each in found]
    return [
        np.array([known[tuple(row)] for row in each], np.float64) for known, each in zip(scores, sequences, strict=True)
    ]
