"""Guess which way a path goes on, from the query itself.

A rewrite repeats most of its query. Where the trie branches, the tokens that follow the same few tokens in the
encoder's input say which child is likely, so that a leader can run several branches in one forward (the idea of prompt
look-up decoding). A wrong guess costs a few tokens; scores and proofs do not depend on it. Where encoder and decoder
use different ids the guesses find no child, and nothing is run ahead.
"""

import numpy as np

from rewrite.trie_build import Array

TAIL = 3
"""Tokens of a path that are looked up in the query."""


class Guide:
    """The queries [B, S] as the encoder was given them."""

    def __init__(self, input_ids: Array, attention_mask: Array) -> None:
        self.ids = np.where(attention_mask != 0, input_ids, -2)  # neither a token nor a missing tail (-1)

    def next_ids(self, query: Array, tail: Array, count: Array) -> Array:
        """What followed, in the query, the longest match of each path's end, the nearest to the same place if several.

        Where nothing matches, the ids at that place, which is shifted by one if the query begins with a mark.

        Args:
            tail: [N, 3] last tokens of each path, -1 where it is shorter. count: [N] tokens it has.

        Returns:
            [N, 2] ids, mostly equal; -2 beyond the query's end.
        """
        ids = self.ids[query]
        rows, width = np.arange(len(ids)), ids.shape[1]
        matched = np.zeros(ids.shape, np.int64)
        same = np.ones(ids.shape, bool)
        for back in range(TAIL):
            shifted = np.full(ids.shape, -3)
            shifted[:, back:] = ids[:, : width - back]
            same &= shifted == tail[:, TAIL - 1 - back, None]
            matched += same
        far = np.abs(np.arange(width) - count[:, None])
        place = (matched * 4 * width - far).argmax(1)
        after = np.where(matched.max(1, keepdims=True) > 0, place[:, None] + 1, count[:, None] + np.array([0, 1]))
        found: Array = np.where(after < width, ids[rows[:, None], np.minimum(after, width - 1)], -2)
        return found
