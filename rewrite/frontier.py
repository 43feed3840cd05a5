"""What a search carries: open paths of every query, and the best members found so far."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

NODE, OFFSET, PATH, DEPTH = range(4)
"""Fields of an open path: node whose label is being run, how much of the label was run, row of its cached path,
position of the next token."""


@dataclass
class Paths:
    """N open paths, grouped by ascending query.

    Attributes:
        query: [N].
        bound: [N] log-probability of the prefix; no member below can exceed it, log-probabilities being at most 0.
        item: [N, 4] NODE, OFFSET, PATH, DEPTH.
        key: [N] hash of the prefix, equal for equal texts of different tries.
    """

    query: Tensor
    bound: Tensor
    item: Tensor
    key: Tensor

    def pick(self, rows: Tensor) -> "Paths":
        """The paths at these rows (positions or a mask)."""
        return Paths(self.query[rows], self.bound[rows], self.item[rows], self.key[rows])


def rank_in_group(group: Tensor, group_count: int) -> tuple[Tensor, Tensor]:
    """For ascending group numbers [N]: the place of each row in its group [N], and group sizes [group_count]."""
    sizes = torch.bincount(group, minlength=group_count)
    return torch.arange(len(group), device=group.device) - (sizes.cumsum(0) - sizes)[group], sizes


class Frontier:
    """Open paths of B queries, [B, P] with free places at -inf."""

    def __init__(self, query_count: int, device: torch.device, depth_credit: float) -> None:
        self.depth_credit = depth_credit
        self.bound = torch.full((query_count, 64), -math.inf, device=device)
        self.item = torch.zeros((query_count, 64, 4), dtype=torch.long, device=device)
        self.key = torch.zeros((query_count, 64), dtype=torch.long, device=device)
        self.used = torch.zeros(query_count, dtype=torch.long, device=device)

    def put(self, paths: Paths) -> None:
        """Open paths."""
        if not len(paths.query):
            return
        rank, sizes = rank_in_group(paths.query, len(self.used))
        place = self.used[paths.query] + rank
        self.used += sizes
        self._reserve(int(self.used.max()))
        self.bound[paths.query, place] = paths.bound
        self.item[paths.query, place] = paths.item
        self.key[paths.query, place] = paths.key

    def take(self, width: int) -> Paths:
        """Remove and return up to `width` paths of every query, the most promising first.

        The order is by log-probability plus a credit per token, so that long prefixes are compared with short ones and
        the first members are found soon; which paths may be dropped is decided by the bound alone.
        """
        used = self.bound[:, : max(int(self.used.max()), 1)]
        order = used + self.depth_credit * self.item[:, : used.shape[1], DEPTH]
        value, place = order.topk(min(width, used.shape[1]), 1)
        query, column = (value > -math.inf).nonzero(as_tuple=True)
        place = place[query, column]
        taken = Paths(query, self.bound[query, place], self.item[query, place], self.key[query, place])
        self.bound[query, place] = -math.inf
        return taken

    def prune(self, threshold: Tensor) -> Tensor:
        """Close paths that cannot exceed the threshold [B]; returns the best bound left [B], -inf where none is."""
        self.bound.masked_fill_(self.bound <= threshold[:, None], -math.inf)
        best: Tensor = self.bound.amax(1)
        return best

    def close(self, queries: Tensor) -> None:
        """Drop all paths of these queries."""
        self.bound[queries] = -math.inf

    def _reserve(self, places: int) -> None:
        """Room for `places` a query: move open paths to the front, grow if they fill more than half."""
        if places <= self.bound.shape[1]:
            return
        size = self.bound.shape[1]
        grown = max(places, 2 * size) - size
        self.bound = torch.nn.functional.pad(self.bound, (0, grown), value=-math.inf)
        self.item = torch.nn.functional.pad(self.item, (0, 0, 0, grown))
        self.key = torch.nn.functional.pad(self.key, (0, grown))


class Best:
    """The k best members found of each query, best first; -inf and node -1 where fewer were found."""

    def __init__(self, query_count: int, k: int, device: torch.device) -> None:
        self.log_prob = torch.full((query_count, k), -math.inf, device=device)
        self.node = torch.full((query_count, k), -1, dtype=torch.long, device=device)
        self.key = torch.zeros((query_count, k), dtype=torch.long, device=device)

    @property
    def threshold(self) -> Tensor:
        """[B] what a member must exceed to enter."""
        return self.log_prob[:, -1]

    def offer(self, found: Paths) -> None:
        """Take in members (NODE is the member, `bound` its log-probability). Equal texts are kept once."""
        if not len(found.query):
            return
        k = self.log_prob.shape[1]
        rank, sizes = rank_in_group(found.query, len(self.log_prob))
        grown = int(sizes.max())
        log_prob = torch.nn.functional.pad(self.log_prob, (0, grown), value=-math.inf)
        node, key = (torch.nn.functional.pad(x, (0, grown)) for x in (self.node, self.key))
        log_prob[found.query, k + rank] = found.bound
        node[found.query, k + rank] = found.item[:, NODE]
        key[found.query, k + rank] = found.key
        log_prob, order = log_prob.sort(dim=1, descending=True, stable=True)
        node, key = node.gather(1, order), key.gather(1, order)
        same = (key[:, :, None] == key[:, None, :]).tril(-1) & (log_prob > -math.inf)[:, None, :]
        log_prob = log_prob.masked_fill(same.any(2), -math.inf)
        self.log_prob, order = log_prob.topk(k, 1)
        self.node = node.gather(1, order).masked_fill_(self.log_prob == -math.inf, -1)
        self.key = key.gather(1, order)
