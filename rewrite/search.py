"""Exact search for the members of token tries that an encoder-decoder finds most probable.

Best-first over the path-compressed trie: a step runs, for each of the most promising open paths, the forced chain up to
the next branching point, all in one decoder forward. The log-probability of a prefix bounds every member below it, as a
further token can only lower it; a query is proved once no open path exceeds its k-th best member.
"""

import math
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rewrite.decoder import Packed, TreeCache, TreeDecoder, tree_decoder
from rewrite.forest import Forest
from rewrite.frontier import DEPTH, NODE, OFFSET, PATH, Best, Frontier, Paths
from rewrite.trie import TokenTrie, TriePart

_HASH_BASE = 6364136223846793005  # an odd 64-bit multiplier; keys wrap around
_FIRST_WIDTH, _FIRST_CHAIN = 8, 32


@dataclass(frozen=True)
class Budget:
    """When to stop without a proof: see `max_forwards` and `max_ms` of `search`."""

    forwards: int
    milliseconds: float | None

    def __post_init__(self) -> None:
        if self.forwards < 1 or (self.milliseconds is not None and self.milliseconds <= 0):
            raise ValueError(f"a budget must be positive, got {self}")


@dataclass(frozen=True)
class Packing:
    """How much goes into one decoder forward.

    Attributes:
        width: paths a query advances in one forward.
        chain: forced tokens a path advances at most in one forward.
        depth_credit: nats a token of depth is worth when choosing which paths go first.
    """

    width: int = _FIRST_WIDTH
    chain: int = _FIRST_CHAIN
    depth_credit: float = 0.5


@dataclass(frozen=True)
class Candidate:
    """A member found.

    Attributes:
        token_ids: its ids, eos included.
        log_prob: the model's sum of log-probabilities over its full vocabulary, eos included.
        proved: no member better than this one exists beyond those listed before it.
        tries: which of the query's tries hold it, by position.
    """

    token_ids: tuple[int, ...]
    log_prob: float
    proved: bool
    tries: tuple[int, ...] = ()


@dataclass
class SearchStats:
    """What a search cost: decoder forwards of the batch, tokens run, and forwards each query took part in."""

    forwards: int = 0
    tokens: int = 0
    query_forwards: Sequence[int] = ()


Tries = Sequence[TokenTrie] | Sequence[Sequence[TokenTrie]]


@torch.inference_mode()
def search(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    tries: Tries | TokenTrie,
    k: int = 4,
    max_forwards: int = 256,
    max_ms: float | None = None,
    packing: Packing | None = None,
    encoder_states: Tensor | None = None,
    stats: SearchStats | None = None,
) -> list[list[Candidate]]:
    """The k most probable members of each query's tries.

    Args:
        model: a Hugging Face encoder-decoder (T5, ByT5, BART, Pegasus, Marian and kin run fast; others run).
        input_ids: [B, S] encoder input.
        attention_mask: [B, S] 1 at tokens, 0 at padding; None for no padding.
        tries: one list of tries for all queries, or a list per query. A text in several tries counts once.
        k: how many members to return; fewer where fewer exist or the budget ends first.
        max_forwards: decoder forwards a query may take part in; counted per query, so that its result does not
            depend on its batch.
        max_ms: wall time for the whole batch, encoder excluded; None for no limit.
        packing: how much goes into one forward; None for what suits the device.
        encoder_states: [B, S, H] last hidden states of the encoder, if they are known already.
        stats: filled in with what the search cost.

    Returns:
        One list per query, best first; empty where its tries are.

    Raises:
        ValueError: k or the shapes are off, the tries hold ids the model lacks or members longer than its positions.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    queries = _per_query(tries, len(input_ids))
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    if mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask is {tuple(mask.shape)}, input_ids {tuple(input_ids.shape)}; expected the same"
        )
    plan = _Plan.of(queries, input_ids.device)
    if not len(plan.query):
        return [[] for _ in queries]
    with _evaluating(model):
        decoder = tree_decoder(model)
        plan.check(model, decoder)
        cache = decoder.encode(input_ids, mask, encoder_states)
        run = _Run(decoder, cache, plan, k, Budget(max_forwards, max_ms), packing or Packing(), _start_id(model))
        run.finish()
    if stats is not None:
        stats.forwards, stats.tokens = run.forwards, run.tokens
        stats.query_forwards = run.spent.tolist()
    return _candidates(run, plan, queries)


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Dropout off for the search; the model is left as it was found."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


def _start_id(model: Any) -> int:
    for config in (model.config, getattr(model, "generation_config", None)):
        start = getattr(config, "decoder_start_token_id", None)
        if start is not None:
            return int(start)
    raise ValueError(
        "the model's configuration has no decoder_start_token_id; set it to the id its decoder starts from"
    )


def _per_query(tries: Tries | TokenTrie, count: int) -> list[list[TokenTrie]]:
    if isinstance(tries, TokenTrie):
        return [[tries]] * count
    if all(isinstance(trie, TokenTrie) for trie in tries):
        return [list(tries)] * count  # type: ignore[arg-type]
    if len(tries) != count:
        raise ValueError(f"got {len(tries)} lists of tries for {count} queries; expected one list each, or one for all")
    return [list(each) for each in tries]  # type: ignore[arg-type]


@dataclass
class _Plan:
    """The forest of a search and where each query begins in it.

    Attributes:
        query, root: [N] a query and the root of one of its indexes, by ascending query.
        longest: tokens of the longest member, eos included.
    """

    forest: Forest
    parts: list[TriePart]
    query: Tensor
    root: Tensor
    longest: int
    shared: bool

    @classmethod
    def of(cls, queries: list[list[TokenTrie]], device: torch.device) -> "_Plan":
        number: dict[int, int] = {}
        parts: list[TriePart] = []
        of_trie: dict[int, list[int]] = {}
        pairs: list[tuple[int, int]] = []
        for query, tries in enumerate(queries):
            for trie in tries:
                if id(trie) not in of_trie:
                    of_trie[id(trie)] = [_number(part, number, parts) for part in trie.parts]
                pairs += [(query, p) for p in of_trie[id(trie)]]
        pairs = sorted(set(pairs))
        forest = Forest(parts, device)
        owner = torch.tensor([q for q, _ in pairs], dtype=torch.long, device=device)
        root = torch.from_numpy(forest.root[[p for _, p in pairs]]).to(device) if pairs else owner
        longest = max((_longest(part) for part in parts), default=0)
        return cls(forest, parts, owner, root, longest, len(pairs) > len({q for q, _ in pairs}))

    def check(self, model: Any, decoder: TreeDecoder) -> None:
        """Raise ValueError if the model cannot score the members."""
        size = model.get_output_embeddings().weight.shape[0]
        largest = max((part.arrays.largest_id for part in self.parts), default=0)
        if largest >= size:
            raise ValueError(f"the tries hold token id {largest}, the model has {size}; built with another tokenizer?")
        limit = decoder.max_positions
        if limit is not None and self.longest > limit:
            raise ValueError(f"the longest member has {self.longest} tokens, the model's decoder {limit} positions")


def _number(part: TriePart, number: dict[int, int], parts: list[TriePart]) -> int:
    if id(part) not in number:
        number[id(part)] = len(parts)
        parts.append(part)
    return number[id(part)]


def _longest(part: TriePart) -> int:
    arrays = part.arrays
    return int(arrays.label_start[1]) - int(arrays.label_start[0]) + int(arrays.longest[0])


class _Run:
    """One search under way."""

    def __init__(
        self, decoder: TreeDecoder, cache: TreeCache, plan: _Plan, k: int, budget: Budget, packing: Packing, start: int
    ) -> None:
        self.decoder, self.cache, self.forest = decoder, cache, plan.forest
        self.budget, self.packing, self.start_id = budget, packing, start
        self.shared = plan.shared
        self.query_count = len(cache.cross_bias)
        self.device = plan.query.device
        self.depth = plan.longest + 1
        self.best = Best(self.query_count, k, self.device)
        self.open = Frontier(self.query_count, self.device, packing.depth_credit)
        self.left = torch.full((self.query_count,), -math.inf, device=self.device)
        self.given_up = self.left.clone()
        self.spent = torch.zeros(self.query_count, dtype=torch.long, device=self.device)
        self.path = torch.zeros((256, self.depth), dtype=torch.long, device=self.device)
        self.path_count = 1  # row 0: the empty path
        self.forwards = self.tokens = 0
        self._open_roots(plan)

    def _open_roots(self, plan: _Plan) -> None:
        item = torch.zeros((len(plan.query), 4), dtype=torch.long, device=self.device)
        item[:, NODE] = plan.root
        item[:, OFFSET] = -1  # the start token comes before the label
        alive = self.forest.alive(plan.root) if self.forest.any_dead else slice(None)
        zero = torch.zeros(len(plan.query), device=self.device)
        self.open.put(Paths(plan.query, zero, item, item[:, PATH]).pick(alive))  # type: ignore[arg-type]

    def finish(self) -> None:
        """Step until every query is proved or out of budget."""
        deadline = None if self.budget.milliseconds is None else time.perf_counter() + self.budget.milliseconds / 1e3
        while True:
            self.left = torch.maximum(self.given_up, self.open.prune(self.best.threshold))
            self._close_spent(deadline)
            paths = self.open.take(self.packing.width)
            if not len(paths.query):
                return
            self._advance(paths)

    def _close_spent(self, deadline: float | None) -> None:
        late = deadline is not None and time.perf_counter() > deadline
        over = (self.spent >= self.budget.forwards) | late
        if bool(over.any()):
            rows = over.nonzero().flatten()
            self.given_up = torch.where(over, self.left, self.given_up)
            self.open.close(rows)

    def _advance(self, paths: Paths) -> None:
        """Run the chains of these paths and open what they lead to."""
        chain = _Chains.of(paths, self.forest, self.packing.chain, self.start_id)
        first = self.cache.size
        path = self._extend(chain, first)
        logits = self.decoder.step(self.cache, self._packed(chain, path))
        log_norm = logits.logsumexp(-1)
        ends, found = chain.after(logits, log_norm, path, self.forest, self.shared)
        branches, short = chain.branches(ends, logits, log_norm, self.forest, self.shared)
        self.best.offer(found)
        self.best.offer(short)
        threshold = self.best.threshold
        for opened in (ends.pick(~chain.done), branches):
            self.open.put(opened.pick(opened.bound > threshold[opened.query]))
        self.spent[paths.query] += 1  # once per query, however many of its paths
        self.forwards += 1
        self.tokens += len(chain.token_ids)

    def _extend(self, chain: "_Chains", first: int) -> Tensor:
        """Paths [R, depth] of cache rows, with the chain's new tokens in place; kept for what follows."""
        rows = len(chain.size)
        need = self.path_count + rows
        if need > len(self.path):
            self.path = torch.cat([self.path, self.path.new_zeros(max(need, len(self.path)), self.depth)])
        path = self.path[chain.paths.item[:, PATH]]
        path[chain.row, chain.position] = first + torch.arange(len(chain.row), device=self.device)
        self.path[self.path_count : need] = path
        chain.path_row = torch.arange(self.path_count, need, device=self.device)
        self.path_count = need
        return path

    def _packed(self, chain: "_Chains", path: Tensor) -> Packed:
        width, rows = int(chain.size.max()), len(chain.size)
        slot = chain.row * width + chain.column
        deepest = int(chain.position.max()) + 1
        position = torch.zeros(rows * width, dtype=torch.long, device=self.device)
        position[slot] = chain.position
        distance = position.view(rows, width, 1) - torch.arange(deepest, device=self.device)
        query_slot, query_width = None, len(chain.row)
        if self.query_count > 1:
            query = chain.paths.query[chain.row]
            sizes = torch.bincount(query, minlength=self.query_count)
            query_width = int(sizes.max())
            rank = torch.arange(len(query), device=self.device) - (sizes.cumsum(0) - sizes)[query]
            query_slot = query * query_width + rank
        return Packed(
            chain.token_ids,
            chain.position,
            slot,
            width,
            path[:, :deepest],
            distance >= 0,
            distance,
            query_slot,
            query_width,
        )


@dataclass
class _Chains:
    """The forced chains of R open paths, T tokens to run in all.

    Attributes:
        size: [R] tokens to run; row, column, position, token_ids: [T].
        next_place: [T] label position of the token that must follow, -1 where the trie branches.
        done: [R] the node's label ends with this chain.
        member: [R] the node is a member, whose last token (eos) is scored but not run.
    """

    paths: Paths
    size: Tensor
    row: Tensor
    column: Tensor
    position: Tensor
    token_ids: Tensor
    next_place: Tensor
    done: Tensor
    member: Tensor
    path_row: Tensor

    @classmethod
    def of(cls, paths: Paths, forest: Forest, longest: int, start_id: int) -> "_Chains":
        node, offset = paths.item[:, NODE], paths.item[:, OFFSET]
        start, stop = forest.span(node)
        member = forest.fan(node)[1] == 0
        rest = stop - start - member.long() - offset
        size = rest.clamp(max=longest)
        done = size == rest
        row = torch.repeat_interleave(torch.arange(len(size), device=size.device), size)
        column = torch.arange(len(row), device=size.device) - (size.cumsum(0) - size)[row]
        label_offset = offset[row] + column
        place = start[row] + label_offset
        token_ids = forest.token(place.clamp(min=0)).masked_fill(label_offset < 0, start_id)
        branches = (column == size[row] - 1) & (done & ~member)[row]
        return cls(
            paths,
            size,
            row,
            column,
            paths.item[:, DEPTH][row] + column,
            token_ids,
            (place + 1).masked_fill(branches, -1),
            done,
            member,
            row[:0],
        )

    def after(self, logits: Tensor, log_norm: Tensor, path: Tensor, forest: Forest, keyed: bool) -> tuple[Paths, Paths]:
        """The paths at the ends of the chains, and those among them that are members."""
        forced = self.next_place >= 0
        next_id = forest.token(self.next_place.clamp(min=0))
        gain = logits.gather(1, next_id[:, None]).squeeze(1) - log_norm
        padded = gain.new_zeros(len(self.size), int(self.size.max()))
        padded[self.row, self.column] = gain.masked_fill_(~forced, 0.0)
        bound = self.paths.bound + padded.sum(1)
        item = self.paths.item.clone()
        item[:, OFFSET] += self.size
        item[:, DEPTH] += self.size
        item[:, PATH] = self.path_row
        key = self._keys(next_id, forced) if keyed else item[:, NODE] + 1
        ends = Paths(self.paths.query, bound, item, key)
        return ends, ends.pick(self.done & self.member)

    def _keys(self, next_id: Tensor, forced: Tensor) -> Tensor:
        """Prefix hashes after the chains, one token at a time so that they do not depend on how it was cut."""
        key = self.paths.key
        width = int(self.size.max())
        ids = next_id.new_full((len(self.size), width), -1)
        ids[self.row, self.column] = torch.where(forced, next_id, -1)
        for column in ids.unbind(1):
            key = torch.where(column >= 0, key * _HASH_BASE + column + 1, key)
        return key

    def branches(
        self, ends: Paths, logits: Tensor, log_norm: Tensor, forest: Forest, keyed: bool
    ) -> tuple[Paths, Paths]:
        """Children of the branching ends: those to open, and members that end with their first token."""
        row = (self.done & ~self.member).nonzero().flatten()
        first, count = forest.fan(ends.item[row, NODE])
        parent = torch.repeat_interleave(torch.arange(len(row), device=row.device), count)
        rank = torch.arange(len(parent), device=row.device) - (count.cumsum(0) - count)[parent]
        child = first[parent] + rank
        if forest.any_dead:
            alive = forest.alive(child)
            parent, child = parent[alive], child[alive]
        row = row[parent]
        start, stop = forest.span(child)
        token_id = forest.token(start)
        last = (self.size.cumsum(0) - 1)[row]
        bound = ends.bound[row] + logits[last, token_id] - log_norm[last]
        item = ends.item[row]
        item[:, NODE], item[:, OFFSET] = child, 0
        key = ends.key[row] * _HASH_BASE + token_id + 1 if keyed else child + 1
        opened = Paths(ends.query[row], bound, item, key)
        complete = (stop - start == 1) & (forest.fan(child)[1] == 0)
        return opened.pick(~complete), opened.pick(complete)


def _candidates(run: _Run, plan: _Plan, queries: list[list[TokenTrie]]) -> list[list[Candidate]]:
    """Results as Python objects, each checked against the tries in force."""
    log_prob, node = run.best.log_prob.double().cpu().numpy(), run.best.node.cpu().numpy()
    left = run.left.double().cpu().numpy()
    spelled = iter(plan.forest.spell(node[node >= 0]))
    results = []
    for query, tries in enumerate(queries):
        found = []
        for rank in np.flatnonzero(node[query] >= 0):
            token_ids = next(spelled)
            holders = tuple(place for place, trie in enumerate(tries) if token_ids in trie)
            if holders:
                score = float(log_prob[query, rank])
                found.append(Candidate(tuple(token_ids), score, bool(score >= left[query]), holders))
        results.append(found)
    return results


class _CallableModule(ModuleType):
    """Once imported, this module is the attribute `search` of its package: calling it calls the function."""

    __call__ = staticmethod(search)


sys.modules[__name__].__class__ = _CallableModule
