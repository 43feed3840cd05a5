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

    def next_id(self, query: Array, tail: Array, depth: Array) -> Array:
        """[N] the token that followed, in the query, the longest match of a path's end, nearest to its depth.

        Args:
            tail: [N, 3] last tokens of each path, -1 where it is shorter. depth: [N] tokens it has.
        """
        ids = self.ids[query]
        matched = np.zeros(ids.shape, np.int64)
        same = np.ones(ids.shape, bool)
        for back in range(TAIL):
            shifted = np.full(ids.shape, -3)
            shifted[:, back:] = ids[:, : ids.shape[1] - back]
            same &= shifted == tail[:, TAIL - 1 - back, None]
            matched += same
        far = np.abs(np.arange(ids.shape[1]) - depth[:, None])
        place = (matched * 4 * ids.shape[1] - far).argmax(1)
        following = np.minimum(place + 1, ids.shape[1] - 1)
        found: Array = ids[np.arange(len(ids)), following]
        return found
