"""A search under way: take the most promising paths, run them in one forward, keep what can still win."""

import time
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewrite.decoder import TreeCache, TreeDecoder
from rewrite.expand import Ahead, Packing, Step, outcome, plan_step
from rewrite.forest import Forest
from rewrite.frontier import DEPTH, NODE, OFFSET, PATH, Best, Frontier, Paths, rank_in_group
from rewrite.guide import TAIL, Guide
from rewrite.packed import Grouping, Packed
from rewrite.trie import TokenTrie, TriePart
from rewrite.trie_build import Array, ragged_range


@dataclass(frozen=True)
class Budget:
    """When to stop without a proof: see `max_forwards` and `max_ms` of `search`."""

    forwards: int
    milliseconds: float | None

    def __post_init__(self) -> None:
        if self.forwards < 1 or (self.milliseconds is not None and self.milliseconds <= 0):
            raise ValueError(f"a budget must be positive, got {self}")


@dataclass
class Plan:
    """The forest of a search and where each query begins in it.

    Attributes:
        query, root: [N] a query and the root of one of its indexes, by ascending query.
        tokens, members: [B] label tokens, and members, of all indexes of a query.
        longest: tokens of the longest member, eos included.
        shared: some query has several indexes, which may hold equal texts.
    """

    forest: Forest
    parts: list[TriePart]
    query: Array
    root: Array
    tokens: Array
    members: Array
    longest: int
    shared: bool

    @classmethod
    def of(cls, queries: list[list[TokenTrie]]) -> "Plan":
        number: dict[int, int] = {}
        parts: list[TriePart] = []
        of_trie: dict[int, list[int]] = {}
        pairs: dict[tuple[int, int], None] = {}  # in the order in which each query names its tries
        for query, tries in enumerate(queries):
            for trie in tries:
                if id(trie) not in of_trie:
                    of_trie[id(trie)] = [_number(part, number, parts) for part in trie.parts]
                pairs |= dict.fromkeys((query, p) for p in of_trie[id(trie)])
        forest = Forest(parts)
        query_of, part_of = np.array(list(pairs), np.int64).reshape(-1, 2).T
        sizes = np.array([len(part.arrays.labels) for part in parts], np.int64)
        tokens = np.bincount(query_of, weights=sizes[part_of], minlength=len(queries)).astype(np.int64)
        counts = [sum(len(trie) for trie in tries) for tries in queries]
        longest = max((_longest(part) for part in parts), default=0)
        shared = len(pairs) > len({query for query, _ in pairs})
        return cls(forest, parts, query_of, forest.root[part_of], tokens, np.array(counts), longest, shared)

    def check(self, decoder: TreeDecoder) -> None:
        """Raise ValueError if the model cannot score the members."""
        largest = max(part.arrays.largest_id for part in self.parts)
        if largest >= decoder.vocabulary:
            raise ValueError(
                f"the tries hold token id {largest}, the model has {decoder.vocabulary}; built with another tokenizer?"
            )
        if decoder.max_positions is not None and self.longest > decoder.max_positions:
            raise ValueError(
                f"the longest member has {self.longest} tokens, the model's decoder {decoder.max_positions} positions"
            )


def _number(part: TriePart, number: dict[int, int], parts: list[TriePart]) -> int:
    if id(part) not in number:
        number[id(part)] = len(parts)
        parts.append(part)
    return number[id(part)]


def _longest(part: TriePart) -> int:
    arrays = part.arrays
    return int(arrays.label_start[1]) - int(arrays.label_start[0]) + int(arrays.longest[0])


class Run:
    """One search under way. `left` [B] is the best bound of what was not searched, -inf where nothing is left."""

    def __init__(
        self,
        decoder: TreeDecoder,
        cache: TreeCache,
        plan: Plan,
        k: int,
        prove: int,
        budget: Budget,
        packing: Packing,
        start_id: int,
        guide: Guide,
        device: torch.device,
    ) -> None:
        self.guide = guide
        self.decoder, self.cache, self.plan, self.forest = decoder, cache, plan, plan.forest
        self.prove, self.budget, self.packing, self.start_id, self.device = prove, budget, packing, start_id, device
        count = len(plan.tokens)
        self.best = Best(count, k, plan.shared)
        self.open = Frontier(count, packing.depth_credit)
        self.left = np.full(count, -np.inf)
        self.given_up = self.left.copy()
        self.spent = np.zeros(count, np.int64)
        self.late = np.zeros(count, np.int64)  # forwards since k members are known
        self.slot = np.arange(count)  # of each query among the encoder states still kept
        self.path = np.zeros((512, min(plan.longest, 64)), np.int64)
        self.path_count = 1  # row 0: the empty path
        self.row_query = np.zeros(2048, np.int64)  # per cache row
        self.row_position = np.zeros(2048, np.int64)
        self.row_token = np.zeros(2048, np.int64)
        # Where all members are wanted, or the set is tiny, nothing is gained by looking at the scores in between.
        self.whole = np.where(packing.takes_whole(plan.tokens, plan.members, k), plan.tokens + 1, 0)
        self.forwards = self.tokens = 0
        self._open_roots()

    def _open_roots(self) -> None:
        plan = self.plan
        item = np.zeros((len(plan.query), 4), np.int64)
        item[:, NODE] = plan.root
        item[:, OFFSET] = -1  # the start token comes before the label
        alive = self.forest.alive(plan.root)
        self.open.put(Paths(plan.query, np.zeros(len(item)), item, np.zeros(len(item), np.uint64)).pick(alive))

    def finish(self) -> None:
        """Step until every query is proved or out of budget."""
        deadline = None if self.budget.milliseconds is None else time.perf_counter() + self.budget.milliseconds / 1e3
        while True:
            self.left = np.maximum(self.given_up, self.open.prune(self.best.threshold))
            self._close_spent(deadline)
            needed = self._needed()
            paths, rank = self.open.take(self._width(needed), needed)
            if not len(paths):
                return
            self._advance(paths, rank)

    def _width(self, needed: Array) -> Array:
        """[B] paths to advance: few until k members are known, then twice as many in each forward."""
        late = needed > -np.inf
        self.late += late
        doubled = self.packing.width_early * 2.0 ** np.minimum(self.late, 20)
        return np.where(late, np.minimum(doubled, self.packing.width), self.packing.width_early).astype(np.int64)

    def _needed(self) -> Array:
        """[B] the bound above which a path must be searched: that of the last member to prove, once k are known."""
        known = self.best.threshold > -np.inf
        return np.where(known, self.best.log_prob[:, self.prove - 1], -np.inf)

    def _close_spent(self, deadline: float | None) -> None:
        over = self.spent >= self.budget.forwards
        if deadline is not None and time.perf_counter() > deadline:
            over[:] = True
        if over.any():
            self.given_up[over] = self.left[over]
            self.open.close(np.flatnonzero(over))

    def _chain_limit(self, paths: Paths, rank: Array) -> Array:
        """[R] how many forced tokens to run of each path: all for the leaders, which are on the way to a first member;
        of the others the fewer, the less they can lose before they fall below the best members."""
        p = self.packing
        needed = self._needed()[paths.query]
        known = needed > -np.inf
        slack = paths.bound - np.where(known, needed, 0.0)
        limit = np.where(known, np.minimum(1 + slack * p.chain_per_nat, p.chain), p.chain_early)
        return np.where(rank < p.leaders, p.chain, limit).astype(np.int64)

    def _look_ahead(self, paths: Paths, rank: Array) -> Ahead:
        """What may run before scores are known: tiny sets whole; of others, at first, what the query suggests."""
        early = (self.late <= self.packing.guess_late) & (self.whole == 0)
        depth = paths.item[:, DEPTH, None] - np.arange(TAIL, 0, -1)
        rows = self.path[paths.item[:, PATH, None], np.maximum(depth, 0)]
        tail = np.where(depth >= 1, self.row_token[rows], -1)
        return Ahead(self.whole, np.where(early, self.packing.guess, 0), rank == 0, tail, self.guide)

    def _advance(self, paths: Paths, rank: Array) -> None:
        """Run the chains of these paths and open what they lead to."""
        limit = self._chain_limit(paths, rank)
        step = plan_step(paths, limit, self._look_ahead(paths, rank), self.forest, self.start_id)
        path_rows = self._extend(step)
        gains = self._gains(step, path_rows)
        reached = outcome(step, gains, path_rows, self.forest, self.plan.shared)
        self.best.offer(reached.members)
        threshold = self.best.threshold
        for opened in reached.opened:
            self.open.put(opened.pick(opened.bound > threshold[opened.query]).by_query())
        self.spent[paths.query] += 1  # once per query, however many of its paths
        self.forwards += 1
        self.tokens += len(step.token_ids)

    def _extend(self, step: Step) -> Array:
        """Keep the cache rows of every row's path, the new tokens in place; returns [R] where they are kept."""
        first, rows = self.cache.size, len(step.size)
        need, deepest = self.path_count + rows, int(step.position.max()) + 1
        height, depth = self.path.shape
        if need > height or deepest > depth:
            taller = max(need, 2 * height) - height if need > height else 0
            deeper = min(2 * deepest, self.plan.longest) - depth if deepest > depth else 0
            self.path = np.pad(self.path, ((0, taller), (0, deeper)))
        path_rows = np.arange(self.path_count, need)
        cache_rows = first + np.arange(len(step.row))
        for low, high in zip(step.generation, step.generation[1:], strict=False):
            rows_here = np.arange(low, high)
            above = step.parent[rows_here]
            source = np.where(above < 0, step.paths.item[rows_here, PATH], self.path_count + above)
            self.path[path_rows[rows_here]] = self.path[source]
            here = (step.row >= low) & (step.row < high) if len(step.generation) > 2 else slice(None)
            self.path[path_rows[step.row[here]], step.position[here]] = cache_rows[here]
        self.path_count = need
        return path_rows

    def _gains(self, step: Step, path_rows: Array) -> Array:
        """Log-probabilities of the forced tokens and of the children's first tokens, in one forward."""
        packed = self._packed(step, path_rows)
        log_probs = self.decoder.step(self.cache, packed).log_softmax(-1)
        ends = np.flatnonzero(step.column == step.size[step.row] - 1)
        last = np.zeros_like(step.size)
        last[step.row[ends]] = ends
        token = np.concatenate([step.forced, last[step.branch]])
        wanted = np.concatenate([step.forced_id, step.child_id])
        gains: Array = log_probs[self._tensor(token), self._tensor(wanted)].cpu().numpy()
        return gains.astype(np.float64)

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(array).to(self.device)

    def _packed(self, step: Step, path_rows: Array) -> Packed:
        slot = self._slots(step)
        path = self.path[path_rows, : int(step.position.max()) + 1]
        rows, of_row = self._passed(path, step)
        count = int(self.slot.max()) + 1
        tokens = np.bincount(slot[step.row], minlength=count)
        grouping = Grouping(tokens, np.bincount(of_row, minlength=count), even=count == 1 or self.device.type != "cpu")
        rank = rank_in_group(of_row, count)[0]
        column = np.zeros(int(rows.max()) + 1, np.int64)
        column[rows] = rank
        keys, positions = (np.zeros(grouping.row_count, np.int64) for _ in range(2))
        at = grouping.first_row[of_row] + rank
        keys[at], positions[at] = rows, self.row_position[rows]
        return Packed(
            self._tensor(step.token_ids),
            self._tensor(step.position),
            self._tensor(keys),
            self._tensor(positions),
            self._tensor(_ancestors(step, path, slot, column, grouping)),
            grouping.groups(self.device),
            self._tensor(path),
            self._tensor(step.row),
            path.shape[1],
            self._tensor(slot) if count > 1 else None,
        )

    def _slots(self, step: Step) -> Array:
        """[R] place of each row's query among the encoder states kept; drops the finished ones once they are most."""
        active = np.unique(step.paths.query) if len(self.slot) > 1 else np.zeros(1, np.int64)
        kept = int(self.slot.max()) + 1
        if 2 * len(active) <= kept:
            self.cache.keep(self._tensor(self.slot[active]))
            self.slot = np.full(len(self.slot), -1)
            self.slot[active] = np.arange(len(active))
        return self.slot[step.paths.query]

    def _passed(self, path: Array, step: Step) -> tuple[Array, Array]:
        """The cache rows that the paths pass, each once, by query; and the slot of each."""
        passed = np.zeros(self._note_rows(step), bool)
        on_path = np.arange(path.shape[1]) < (step.paths.item[:, DEPTH] + step.size)[:, None]
        passed[path[on_path]] = True
        rows = np.flatnonzero(passed)
        slot = self.slot[self.row_query[rows]]
        order = slot.argsort(kind="stable")
        return rows[order], slot[order]

    def _note_rows(self, step: Step) -> int:
        """Remember whose the new cache rows are, where and what; returns how many rows there are with them."""
        size = self.cache.size + len(step.row)
        if size > len(self.row_query):
            more = max(size, 2 * len(self.row_query)) - len(self.row_query)
            self.row_query, self.row_position, self.row_token = (
                np.pad(rows, (0, more)) for rows in (self.row_query, self.row_position, self.row_token)
            )
        new = slice(self.cache.size, size)
        self.row_query[new] = step.paths.query[step.row]
        self.row_position[new], self.row_token[new] = step.position, step.token_ids
        return size


def _ancestors(step: Step, path: Array, slot: Array, column: Array, grouping: Grouping) -> Array:
    """[N] the cells of each token's ancestors and of itself. `column` is the place of a cache row among its group's."""
    attend = np.zeros(grouping.cell_count, bool)
    seen = step.position + 1
    token = np.repeat(np.arange(len(seen)), seen)
    row = path[step.row[token], ragged_range(np.zeros_like(seen), seen)]
    group = slot[step.row]
    first = grouping.first_cell[group] + grouping.places() * grouping.width[group]
    attend[first[token] + column[row]] = True
    return attend
