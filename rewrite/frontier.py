"""What a search carries: open paths of every query, and the best members found so far."""

from dataclasses import dataclass

import numpy as np

from rewrite.trie_build import Array

NODE, OFFSET, PATH, DEPTH = range(4)
"""Fields of an open path: the node whose label is being run, how much of the label was run, row of its cached path,
position of the next token."""

_PLACES = 256

_FINEST, _TURN = 2.0**-10, 2.0**-32
"""Nats below which two paths are as promising as each other, so that rounding does not decide; and, in nats, how much
more promising that makes the one that was opened first."""


@dataclass
class Paths:
    """N open paths, grouped by ascending query.

    Attributes:
        query: [N].
        bound: [N] log-probability of the prefix; no member below can exceed it, log-probabilities being at most 0.
        item: [N, 4] NODE, OFFSET, PATH, DEPTH.
        key: [N] hash of the prefix, equal for equal texts of different tries.
    """

    query: Array
    bound: Array
    item: Array
    key: Array

    def __len__(self) -> int:
        return len(self.query)

    def pick(self, rows: Array) -> "Paths":
        """The paths at these rows (positions or a mask)."""
        return Paths(self.query[rows], self.bound[rows], self.item[rows], self.key[rows])

    def by_query(self) -> "Paths":
        """In order of their queries."""
        return self if (np.diff(self.query) >= 0).all() else self.pick(self.query.argsort(kind="stable"))


def rank_in_group(group: Array, group_count: int) -> tuple[Array, Array]:
    """For ascending group numbers [N]: the place of each row in its group [N], and group sizes [group_count]."""
    sizes = np.bincount(group, minlength=group_count)
    return np.arange(len(group)) - (np.cumsum(sizes) - sizes)[group], sizes


class Frontier:
    """Open paths of B queries, [B, P] with free places at -inf."""

    def __init__(self, query_count: int, depth_credit: float) -> None:
        self.depth_credit = depth_credit
        self.bound: Array = np.full((query_count, _PLACES), -np.inf)
        self.order: Array = np.zeros((query_count, _PLACES))
        self.item: Array = np.zeros((query_count, _PLACES, 4), np.int64)
        self.key: Array = np.zeros((query_count, _PLACES), np.uint64)
        self.used = np.zeros(query_count, np.int64)
        self.opened = np.zeros(query_count, np.int64)

    def put(self, paths: Paths) -> None:
        """Open paths. Which go first is decided by log-probability plus a credit per token, so that long prefixes are
        compared with short ones and the first members are found soon; what may be dropped, by the bound alone. What
        other queries open changes nothing of the order."""
        if not len(paths):
            return
        rank, sizes = rank_in_group(paths.query, len(self.used))
        if (self.used + sizes).max() > self.bound.shape[1]:
            self._make_room(sizes)
        at = (paths.query, self.used[paths.query] + rank)
        turn = self.opened[paths.query] + rank
        self.used += sizes
        self.opened += sizes
        self.bound[at], self.item[at], self.key[at] = paths.bound, paths.item, paths.key
        promise = paths.bound + self.depth_credit * paths.item[:, DEPTH]
        self.order[at] = np.round(promise / _FINEST) * _FINEST - turn * _TURN

    def take(self, width: Array, above: Array) -> tuple[Paths, Array]:
        """Remove and return up to `width` [B] paths of every query whose bound is above `above` [B], the most promising
        first; and the rank of each."""
        used, most = max(int(self.used.max()), 1), int(width.max())
        bound = self.bound[:, :used]
        order = np.where(bound > above[:, None], self.order[:, :used], -np.inf)
        if used > most:
            place = np.argpartition(-order, most - 1, axis=1)[:, :most]
        else:
            place = np.broadcast_to(np.arange(used), order.shape)
        value = np.take_along_axis(order, place, 1)
        ranked = (-value).argsort(axis=1, kind="stable")
        place, value = np.take_along_axis(place, ranked, 1), np.take_along_axis(value, ranked, 1)
        query, rank = np.nonzero((value > -np.inf) & (np.arange(value.shape[1]) < width[:, None]))
        at = (query, place[query, rank])
        taken = Paths(query, self.bound[at], self.item[at], self.key[at])
        self.bound[at] = -np.inf
        return taken, rank

    def prune(self, threshold: Array) -> Array:
        """Close paths that cannot exceed the threshold [B]; returns the best bound left [B], -inf where none is."""
        bound = self.bound[:, : max(int(self.used.max()), 1)]
        bound[bound <= threshold[:, None]] = -np.inf
        best: Array = bound.max(1)
        return best

    def close(self, queries: Array) -> None:
        """Drop all paths of these queries."""
        self.bound[queries] = -np.inf

    def _make_room(self, sizes: Array) -> None:
        """Move open paths to the front; grow if more than half of the places would be in use."""
        kept = (-self.bound).argsort(axis=1, kind="stable")
        self.bound = np.take_along_axis(self.bound, kept, 1)
        self.order, self.key = np.take_along_axis(self.order, kept, 1), np.take_along_axis(self.key, kept, 1)
        self.item = np.take_along_axis(self.item, kept[:, :, None], 1)
        self.used = (self.bound > -np.inf).sum(1)
        grown = max(0, 2 * int((self.used + sizes).max()) - self.bound.shape[1])
        self.bound = np.pad(self.bound, ((0, 0), (0, grown)), constant_values=-np.inf)
        self.order, self.key = (np.pad(x, ((0, 0), (0, grown))) for x in (self.order, self.key))
        self.item = np.pad(self.item, ((0, 0), (0, grown), (0, 0)))


class Best:
    """The k best members found of each query, best first; -inf and node -1 where fewer were found."""

    def __init__(self, query_count: int, k: int, keyed: bool) -> None:
        self.keyed = keyed  # equal texts are possible, as a query has several indexes
        self.log_prob = np.full((query_count, k), -np.inf)
        self.node = np.full((query_count, k), -1, np.int64)
        self.key = np.zeros((query_count, k), np.uint64)

    @property
    def threshold(self) -> Array:
        """[B] what a member must exceed to enter."""
        return self.log_prob[:, -1]

    def offer(self, found: Paths) -> None:
        """Take in members (NODE is the member, `bound` its log-probability). Equal texts are kept once."""
        found = found.pick(found.bound > self.threshold[found.query]).by_query()
        if not len(found):
            return
        k = self.log_prob.shape[1]
        rank, sizes = rank_in_group(found.query, len(self.log_prob))
        grown = ((0, 0), (0, int(sizes.max())))
        log_prob = np.pad(self.log_prob, grown, constant_values=-np.inf)
        node, key = np.pad(self.node, grown, constant_values=-1), np.pad(self.key, grown)
        at = (found.query, k + rank)
        log_prob[at], node[at], key[at] = found.bound, found.item[:, NODE], found.key
        log_prob, node, key = _sorted(log_prob, node, key)
        if self.keyed:
            again = (np.tril(key[:, :, None] == key[:, None, :], -1) & (node >= 0)[:, None, :]).any(2)
            log_prob[again], node[again] = -np.inf, -1
            log_prob, node, key = _sorted(log_prob, node, key)
        self.log_prob, self.node, self.key = log_prob[:, :k], node[:, :k], key[:, :k]


def _sorted(log_prob: Array, node: Array, key: Array) -> tuple[Array, Array, Array]:
    order = (-log_prob).argsort(axis=1, kind="stable")
    return tuple(np.take_along_axis(x, order, 1) for x in (log_prob, node, key))  # type: ignore[return-value]
