"""A search that stays on the device: fixed shapes, no answer awaited between steps, one read at the end.

The same best-first search as `Run`, under the same bounds. What differs is where its state lives: open paths, their
cached rows and the best members are tensors of fixed shape, and a step is a few hundred small kernels that read and
write them in place, which is what a CUDA graph can replay.
"""

import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from rewrite.decoder import TreeCache, TreeDecoder
from rewrite.device_forest import DeviceForest
from rewrite.packed import Even, Packed
from rewrite.replayed import Replayed, Watch
from rewrite.run import Budget, Plan
from rewrite.trie_build import WIDEST, Array

_CACHE_BYTES, _LEAST_ROWS, _MOST_ROWS = 2 << 30, 1 << 10, 1 << 15


@dataclass(frozen=True)
class DevicePacking:
    """How much a search on the device holds and runs.

    Attributes:
        width: paths a query advances in one forward.
        chain: forced tokens a path advances at most in one forward.
        open: open paths a query keeps; what is dropped beyond them is not proved against.
        rows: tokens a query can have in its cache; it stops when they are used up.
        ahead: forwards queued between two looks at whether all queries are done.
        depth_credit: nats a token of depth is worth when choosing which paths go first.
    """

    width: int = 16
    chain: int = 4
    open: int = 1024
    rows: int = 4096
    ahead: int = 4
    depth_credit: float = 0.5

    def __post_init__(self) -> None:
        if min(self.width, self.chain, self.open, self.ahead) < 1 or self.rows < self.width * self.chain:
            raise ValueError(f"sizes must be positive and rows at least width * chain, got {self}")
        if self.width > WIDEST:
            raise ValueError(f"width must be at most {WIDEST}, got {self.width}")

    @classmethod
    def of(cls, cache: TreeCache, queries: int) -> "DevicePacking":
        """As many cache rows a query as the batch has room for in 2 GiB."""
        row_bytes = sum(rows.shape[1] * rows.element_size() for rows in cache.kv)
        return cls(rows=int(np.clip(_CACHE_BYTES // (row_bytes * queries), _LEAST_ROWS, _MOST_ROWS)))


@dataclass
class Found:
    """The best members of B queries, best first, -inf and -1 where fewer; equal texts of several tries are all here."""

    log_prob: Array
    node: Array


@dataclass
class _Paths:
    """Open paths [B, P]; where there is none, `bound` is -inf and the rest means nothing.

    Attributes:
        bound: log-probability of the prefix. node, offset, depth: as in `frontier.Paths`.
    """

    bound: Tensor
    node: Tensor
    offset: Tensor
    depth: Tensor

    def pick(self, place: Tensor) -> "_Paths":
        """The paths at the places [B, N] of their queries."""
        return _Paths(*(getattr(self, x).gather(1, place) for x in self.__annotations__))

    def beside(self, *others: "_Paths") -> "_Paths":
        """These and the others, along P."""
        return _Paths(*(torch.cat([getattr(y, x) for y in (self, *others)], 1) for x in self.__annotations__))

    def only(self, these: Tensor) -> "_Paths":
        """Those marked [B, P]."""
        return replace(self, bound=torch.where(these, self.bound, -torch.inf))


@dataclass
class _Chains:
    """What a step runs: chains of K paths, W places each.

    Attributes:
        paths: before the step. live: [B, K] whether there is a path. size: [B, K] tokens to run.
        done: [B, K] the label ends with the chain; member: [B, K] it is a member's, eos being scored, not run.
        valid: [B, K, W] places with a token. place: [B, K, W] label position of the token.
        position: [B, K, W] in the text; 0 where there is no token. rows: [B, K, W] cache rows, likewise.
        path: [B, K, D + 1] cache rows of the path by position, the chain's among them.
    """

    paths: _Paths
    live: Tensor
    size: Tensor
    done: Tensor
    member: Tensor
    valid: Tensor
    place: Tensor
    position: Tensor
    rows: Tensor
    path: Tensor


class DeviceRun:
    """One search under way. After `finish`: `best`, `left` [B], `spent` [B], `forwards`, `tokens`, as of `Run`."""

    def __init__(
        self,
        decoder: TreeDecoder,
        cache: TreeCache,
        plan: Plan,
        k: int,
        prove: int,
        budget: Budget,
        packing: DevicePacking,
        start_id: int,
        device: torch.device,
    ) -> None:
        self.decoder, self.plan, self.budget, self.packing = decoder, plan, budget, packing
        self.start_id, self.device = start_id, device
        self.forest = DeviceForest(plan.forest, device)
        self.children = plan.forest.widest(packing.width)
        count, self.copies = len(plan.tokens), int(np.bincount(plan.query).max())
        # An upper bound on the copies of a text: that many times j members hold at least j texts.
        self.known_at, self.needed_at = (k - 1) * self.copies, (prove - 1) * self.copies
        self.open = self._roots(count)
        # Cache rows of each open path by position; the last column takes what is no token.
        shape = (*self.open.bound.shape, plan.longest + 1)
        self.path = torch.zeros(shape, dtype=torch.int32, device=device)
        self.best_log_prob = self._full((count, k * self.copies), -torch.inf)
        self.best_node = self._full((count, k * self.copies), -1)
        self.lost = self._full((count,), -torch.inf)
        self.used, self.took_part = self._full((count,), 0), self._full((count,), 0)
        self.busy = self._full((), True)
        self.first_row = 1 + packing.rows * torch.arange(count, device=device)[:, None, None]
        kv = [rows.new_zeros(1 + packing.rows * count, rows.shape[1]) for rows in cache.kv]  # row 0: no token
        self.cache = replace(cache, kv=kv)
        self.best = Found(np.zeros((count, 0)), np.zeros((count, 0), np.int64))
        self.left, self.spent = np.full(count, -np.inf), np.zeros(count, np.int64)
        self.forwards = self.tokens = 0

    def _full(self, shape: tuple[int, ...], value: float) -> Tensor:
        kind = {bool: torch.bool, int: torch.long}.get(type(value), torch.float32)
        return torch.full(shape, value, dtype=kind, device=self.device)

    def _roots(self, count: int) -> _Paths:
        """The roots of every query's indexes, its first open paths."""
        plan, shape = self.plan, (count, max(self.packing.open, self.copies))
        rank = np.arange(len(plan.query)) - np.searchsorted(plan.query, plan.query)
        alive = plan.forest.alive(plan.root)
        at = (plan.query[alive], rank[alive])
        bound, node = np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int64)
        bound[at], node[at] = 0.0, plan.root[alive]
        sent_bound, sent_node = (torch.from_numpy(x).to(self.device) for x in (bound, node))
        offset = self._full(shape, -1)  # the start token comes before the label
        return _Paths(sent_bound, sent_node, offset, self._full(shape, 0))

    def finish(self) -> None:
        """Step until every query is proved or out of budget, then read the result."""
        step, watch = Replayed(self.advance, self.device), Watch(self.busy)
        start, limit = time.perf_counter(), self.budget.milliseconds
        for count in range(1, self.budget.forwards + 1):
            step()
            if limit is not None and time.perf_counter() - start > limit / 1e3:
                break
            if count % self.packing.ahead == 0 and not watch.look():
                break
        self._read()

    def _read(self) -> None:
        """The one transfer to the host."""
        open_bound = torch.where(self.open.bound > self._known(), self.open.bound, -torch.inf).amax(1)
        left = torch.maximum(self.lost, open_bound)
        columns = [self.best_log_prob, self.best_node, left[:, None], self.took_part[:, None], self.used[:, None]]
        table = torch.cat([column.double() for column in columns], 1).cpu().numpy()
        size = self.best_node.shape[1]
        self.best = Found(table[:, :size], table[:, size : 2 * size].astype(np.int64))
        self.left = table[:, -3]
        self.spent = table[:, -2].astype(np.int64)
        self.forwards, self.tokens = int(self.spent.max()), int(table[:, -1].sum())

    def _known(self) -> Tensor:
        """[B, 1] what a member must exceed to be one of the k best."""
        return self.best_log_prob[:, self.known_at, None]

    # one step; everything below queues work and waits for nothing

    def advance(self) -> None:
        """Run the chains of the most promising paths and open what they lead to."""
        chains = self.choose()
        self.absorb(chains, self.decoder.step(self.cache, self.packed(chains)))

    def choose(self) -> _Chains:
        """Take the most promising paths and lay out their chains."""
        p, known = self.packing, self._known()
        needed = torch.where(known > -torch.inf, self.best_log_prob[:, self.needed_at, None], -torch.inf)
        able = (self.took_part < self.budget.forwards) & (self.used + p.width * p.chain <= p.rows)
        wanted = (self.open.bound > needed) & able[:, None]
        order = torch.where(wanted, self.open.bound + p.depth_credit * self.open.depth, -torch.inf)
        value, place = order.topk(min(p.width, order.shape[1]), 1)
        live = value > -torch.inf
        taken = self.open.pick(place)
        self.open.bound.scatter_(1, place, torch.where(live, -torch.inf, taken.bound))
        return self._chains(taken, live, _rows_at(self.path, place))

    def _chains(self, paths: _Paths, live: Tensor, path: Tensor) -> _Chains:
        start, stop = self.forest.span(paths.node)
        member = self.forest.fan(paths.node)[1] == 0
        rest = stop - start - member.long() - paths.offset
        size = rest.clamp(max=self.packing.chain) * live
        column = torch.arange(self.packing.chain, device=self.device)
        valid = column < size[..., None]
        place = (start + paths.offset)[..., None] + column
        position = torch.where(valid, paths.depth[..., None] + column, 0)
        rank = valid.flatten(1).cumsum(1).view(valid.shape) - 1
        rows = torch.where(valid, self.first_row + self.used[:, None, None] + rank, 0)
        path = path.scatter(2, torch.where(valid, position, path.shape[2] - 1), rows.int())
        return _Chains(paths, live, size, (size == rest) & live, member, valid, place, position, rows, path)

    def packed(self, chains: _Chains) -> Packed:
        """The forward of a step: every path is a group of its own."""
        queries, width, chain = chains.valid.shape
        column = torch.arange(chain, device=self.device)
        first = (chains.paths.offset[..., None] + column) < 0
        token_ids = torch.where(first, self.start_id, self.forest.token(chains.place))
        path = chains.path[..., :-1].flatten(0, 1).contiguous()
        places = torch.arange(path.shape[1], device=self.device)
        attend = (places <= chains.position.view(-1, chain, 1)).flatten()
        groups = torch.arange(queries * width, device=self.device)
        token_ids, position, rows = (x.view(-1) for x in (token_ids, chains.position, chains.rows))
        return Packed(
            token_ids, position, path.view(-1), places.repeat(len(path)), attend,
            Even(len(path), chain, path.shape[1]), path, groups.repeat_interleave(chain), path.shape[1], new_rows=rows,
        )  # fmt: skip

    def absorb(self, chains: _Chains, logits: Tensor) -> None:
        """Take in what the forward says: members, longer paths, and the bounds of what finds no room."""
        logits = logits.view(*chains.valid.shape, -1)
        total = logits.logsumexp(-1)
        ends = self._ends(chains, logits, total)
        child, parent = self._children(chains, ends, logits, total)
        start, stop = self.forest.span(child.node)
        whole = (stop - start == 1) & (self.forest.fan(child.node)[1] == 0)  # nothing but eos
        self._offer(ends.only(chains.done & chains.member).beside(child.only(whole)))
        grown = ends.only(chains.live & ~chains.done).beside(child.only(~whole))
        width = torch.arange(chains.live.shape[1], device=self.device).expand_as(chains.live)
        self._keep(grown.only(grown.bound > self._known()), torch.cat([width, parent], 1), chains.path)
        self.used += chains.size.sum(1)
        self.took_part += chains.live.any(1)
        self.busy.copy_(chains.live.any())

    def _ends(self, chains: _Chains, logits: Tensor, total: Tensor) -> _Paths:
        """The paths after their chains."""
        paths, column = chains.paths, torch.arange(self.packing.chain, device=self.device)
        branches = (chains.done & ~chains.member)[..., None] & (column == chains.size[..., None] - 1)
        following = self.forest.token(chains.place + 1)
        gain = logits.gather(-1, following[..., None])[..., 0] - total
        bound = paths.bound + torch.where(chains.valid & ~branches, gain, 0.0).sum(-1)
        return _Paths(bound, paths.node, paths.offset + chains.size, paths.depth + chains.size)

    def _children(self, chains: _Chains, ends: _Paths, logits: Tensor, total: Tensor) -> tuple[_Paths, Tensor]:
        """[B, C] the children below the chains' ends, one after the other, as many as there can be; and whose."""
        first, fan = self.forest.fan(ends.node)
        fan = fan * (chains.done & ~chains.member)
        stop = fan.cumsum(1)
        slot = torch.arange(self.children, device=self.device).repeat(len(fan), 1)
        parent = torch.searchsorted(stop, slot, right=True).clamp(max=fan.shape[1] - 1)
        node = (first + fan - stop).gather(1, parent) + slot
        there = (slot < stop[:, -1:]) & self.forest.alive(node)
        above = ends.pick(parent)
        chain = torch.arange(chains.size.numel(), device=self.device).view_as(chains.size)
        row = (chain * self.packing.chain + (chains.size - 1).clamp(min=0)).gather(1, parent)
        token_ids = self.forest.token(self.forest.span(node)[0])
        gain = logits.flatten()[row * logits.shape[-1] + token_ids] - total.flatten()[row]
        bound = torch.where(there, above.bound + gain, -torch.inf)
        return _Paths(bound, node, torch.zeros_like(node), above.depth), parent

    def _offer(self, members: _Paths) -> None:
        """Keep the best members."""
        bound = torch.cat([self.best_log_prob, members.bound], 1)
        node = torch.cat([self.best_node, members.node], 1)
        value, place = bound.topk(self.best_node.shape[1], 1)
        self.best_log_prob.copy_(value)
        self.best_node.copy_(torch.where(value > -torch.inf, node.gather(1, place), -1))

    def _keep(self, grown: _Paths, of_chain: Tensor, path: Tensor) -> None:
        """Keep the paths with the best bounds; remember the best of those dropped.

        Args:
            grown: [B, N] new open paths. of_chain: [B, N] the chain each came from. path: [B, K, D + 1] of the chains.
        """
        room = self.open.bound.shape[1]
        every = self.open.beside(grown)
        value, place = every.bound.topk(room + 1, 1)
        self.lost.copy_(torch.maximum(self.lost, value[:, -1]))
        place = place[:, :-1]
        source = torch.cat([torch.arange(room, device=self.device).expand(len(place), -1), room + of_chain], 1)
        self.path.copy_(_rows_at(torch.cat([self.path, path], 1), source.gather(1, place)))
        for name, kept in vars(every.pick(place)).items():
            getattr(self.open, name).copy_(kept)


def _rows_at(path: Tensor, place: Tensor) -> Tensor:
    """[B, N, D] of [B, P, D] at the places [B, N]."""
    return path.gather(1, place[..., None].expand(-1, -1, path.shape[2]))
