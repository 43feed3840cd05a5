"""One step of a search: which tokens to run for the chosen paths, and what their log-probabilities lead to."""

from dataclasses import dataclass

import numpy as np

from rewrite.forest import Forest
from rewrite.frontier import DEPTH, NODE, OFFSET, PATH, Paths
from rewrite.guide import TAIL, Guide
from rewrite.trie_build import Array, ragged_range

_HASH_BASE = np.uint64(6364136223846793005)  # odd; keys wrap around at 64 bits


@dataclass(frozen=True)
class Packing:
    """How much goes into one decoder forward.

    Attributes:
        width: paths a query advances in one forward.
        width_early: the same while no k members are known.
        leaders: how many of those run their forced tokens to the next branch, or `chain` of them.
        chain: forced tokens a path advances at most in one forward.
        chain_early: the same for the paths behind the leaders while no k members are known.
        chain_per_nat: forced tokens to run per nat that a path may still lose.
        depth_credit: nats a token of depth is worth when choosing which paths go first.
        guess: tokens that the first leader may run ahead, along branches that the query suggests, until k are known.
        guess_late: forwards after that in which it still may.
        ahead: sets of texts of up to so many tokens are scored whole in one forward.
        ahead_of_all: the same where all members are asked for.
    """

    width: int = 128
    width_early: int = 6
    leaders: int = 2
    chain: int = 32
    chain_early: int = 2
    chain_per_nat: float = 0.5
    depth_credit: float = 0.5
    guess: int = 48
    guess_late: int = 3
    ahead: int = 100
    ahead_of_all: int = 4096

    def takes_whole(self, tokens: Array, members: Array, k: int) -> Array:
        """[B] whether sets of so many tokens and members are run in one forward."""
        whole: Array = tokens <= np.where(members <= k, self.ahead_of_all, self.ahead)
        return whole

    @classmethod
    def of(cls, device: str) -> "Packing":
        """What suits a device: an accelerator takes far more tokens in the time of one forward."""
        return (
            cls()
            if device == "cpu"
            else cls(128, 32, 4, 64, 8, 2.0, guess=64, guess_late=3, ahead=8192, ahead_of_all=32768)
        )


@dataclass
class Step:
    """R chains to run, T tokens in all, R' = R rows by generation: a row's parent row, if any, comes before it.

    Attributes:
        paths: [R] the open paths; of rows with a parent, bound, key and PATH are not known before the forward.
        parent: [R] the row whose branching end leads here, -1 for paths from the frontier.
        generation: first row of each generation, and R.
        size: [R] tokens to run.
        done: [R] the node's label ends with this chain; member: [R] the node is a member: eos is scored, not run.
        row, column, position, token_ids: [T], by ascending query.
        forced: [F] tokens with one successor; forced_id: [F] the successor.
        branch: [C] row at whose end a child begins; child: [C] its node; child_id: [C] its first token;
        child_row: [C] the row that runs it in this same step, or -1.
    """

    paths: Paths
    parent: Array
    generation: list[int]
    size: Array
    done: Array
    member: Array
    row: Array
    column: Array
    position: Array
    token_ids: Array
    forced: Array
    forced_id: Array
    branch: Array
    child: Array
    child_id: Array
    child_row: Array


@dataclass
class _Chain:
    """The rows of one generation. `tail` [R, 3] are the last tokens of each path, where branches are guessed."""

    paths: Paths
    parent: Array
    size: Array
    start: Array
    done: Array
    member: Array
    tail: Array | None = None

    def pick(self, rows: Array) -> "_Chain":
        """The chains at these rows."""
        parent, size, start, done, member = (
            x[rows] for x in (self.parent, self.size, self.start, self.done, self.member)
        )
        tail = None if self.tail is None else self.tail[rows]
        return _Chain(self.paths.pick(rows), parent, size, start, done, member, tail)

    def beside(self, other: "_Chain") -> "_Chain":
        """These chains, without tails, and the others."""
        parent, size, start, done, member = (
            np.concatenate([getattr(self, x), getattr(other, x)]) for x in ("parent", "size", "start", "done", "member")
        )
        none = np.full((len(self.size), TAIL), -1)
        tail = None if other.tail is None else np.concatenate([none, other.tail])
        return _Chain(_joined([self.paths, other.paths]), parent, size, start, done, member, tail)

    def follow(self, before: Array, forest: Forest) -> None:
        """Set `tail`, given the tails [R, 3] before these chains."""
        self.tail = np.empty_like(before)
        rows = np.arange(len(before))
        for back in range(1, TAIL + 1):
            column = self.size - back  # of the chain; negative: still before it
            offset = self.paths.item[:, OFFSET] + column
            own = forest.token(np.maximum(self.start + offset, 0))
            own[offset < 0] = -1  # the start token
            earlier = before[rows, np.clip(TAIL + column, 0, TAIL - 1)]
            self.tail[:, TAIL - back] = np.where(column >= 0, own, earlier)

    @classmethod
    def of(cls, paths: Paths, parent: Array, limit: Array, forest: Forest) -> "_Chain":
        node = paths.item[:, NODE]
        start, stop = forest.span(node)
        member = forest.fan(node)[1] == 0
        rest = stop - start - member - paths.item[:, OFFSET]
        size = np.minimum(rest, limit)
        return cls(paths, parent, size, start, size == rest, member)


@dataclass
class Ahead:
    """What may be run below branches whose scores are not known yet.

    Attributes:
        whole: [B] tokens of each query's indexes if they are small enough to be run whole, else 0.
        guess: [B] tokens that may be run along guessed branches.
        leads: [R] the paths that guesses go on from; tail: [R, 3] their last tokens.
    """

    whole: Array
    guess: Array
    leads: Array
    tail: Array
    guide: Guide


def plan_step(paths: Paths, limit: Array, ahead: Ahead, forest: Forest, start_id: int) -> Step:
    """Lay out a step; `limit` [R] forced tokens to run of each path at most."""
    chains = [_Chain.of(paths, np.full(len(paths), -1), limit, forest)]
    guesses = bool((ahead.guess[paths.query] > 0).any())
    if guesses:
        chains[0].follow(ahead.tail, forest)
    branch, child, child_row = [], [], []
    first, leads = 0, ahead.leads
    whole, guess = ahead.whole.copy(), ahead.guess.copy()
    while True:
        last = chains[-1]
        ends = np.flatnonzero(last.done & ~last.member)
        parent, node = forest.children(last.paths.item[ends, NODE])
        parent = ends[parent]
        branch.append(first + parent)
        child.append(node)
        chosen, lower = _next_generation(last, parent, node, whole, forest)
        if guesses:  # other queries than those that are run whole
            guessed, followed = _guessed(last, leads, parent, node, guess, ahead.guide, forest)
            leads = np.repeat([False, True], [len(chosen), len(guessed)])
            if len(guessed):
                lower = followed if not len(chosen) else lower.beside(followed)
            chosen = np.concatenate([chosen, guessed])
        first += len(last.size)
        rows = np.full(len(node), -1)
        rows[chosen] = first + np.arange(len(chosen))
        child_row.append(rows)
        if not len(chosen):
            break
        lower.parent += first - len(last.size)
        chains.append(lower)
    return _lay_out(chains, np.concatenate(branch), np.concatenate(child), np.concatenate(child_row), forest, start_id)


def _guessed(
    above: _Chain, leads: Array, parent: Array, node: Array, left: Array, guide: Guide, forest: Forest
) -> tuple[Array, _Chain]:
    """The children that the query suggests below the leading paths, while their tokens last. Lowers `left`."""
    some = np.flatnonzero(leads[parent] & (left[above.paths.query[parent]] > 0))
    if not len(some) or above.tail is None:
        return some[:0], above
    row = parent[some]
    query = above.paths.query[row]
    depth = above.paths.item[row, DEPTH] + above.size[row]
    suggested = guide.next_ids(query, above.tail[row], depth - 1)
    likely = (suggested == forest.token(forest.span(node[some])[0])[:, None]).any(1)
    chosen, row, query = some[likely], row[likely], query[likely]
    chain = _below(above, row, node[chosen], left[query], forest)
    chain.follow(above.tail[row], forest)
    kept = chain.size > 0
    left -= np.bincount(query, weights=chain.size, minlength=len(left)).astype(np.int64)
    return chosen[kept], chain.pick(kept)


def _below(above: _Chain, parent: Array, node: Array, limit: Array, forest: Forest) -> _Chain:
    """Chains of children whose scores are not known yet."""
    item = above.paths.item[parent]
    item[:, DEPTH] += above.size[parent]
    item[:, NODE], item[:, OFFSET] = node, 0
    paths = Paths(above.paths.query[parent], np.zeros(len(node)), item, np.zeros(len(node), np.uint64))
    return _Chain.of(paths, parent, limit, forest)


def _next_generation(above: _Chain, parent: Array, node: Array, spent: Array, forest: Forest) -> tuple[Array, _Chain]:
    """Children to run before their scores are known, in order while their query's tokens last. Lowers `spent`."""
    none = np.zeros(0, np.int64)
    if not len(node) or not (spent > 0).any():
        return none, above
    query = above.paths.query[parent]
    chain = _below(above, parent, node, np.full(len(node), np.iinfo(np.int64).max), forest)
    order = query.argsort(kind="stable")
    running = np.cumsum(chain.size[order])
    sizes = np.bincount(query, weights=chain.size, minlength=len(spent)).astype(np.int64)
    running -= (np.cumsum(sizes) - sizes)[query[order]]
    chosen = np.sort(order[(running <= spent[query[order]]) & (chain.size[order] > 0)])
    spent -= np.bincount(query[chosen], weights=chain.size[chosen], minlength=len(spent)).astype(np.int64)
    return chosen, chain.pick(chosen)


def _lay_out(
    chains: list[_Chain], branch: Array, child: Array, child_row: Array, forest: Forest, start_id: int
) -> Step:
    paths = _joined([chain.paths for chain in chains])
    size, start, done, member, parent = (
        np.concatenate([getattr(chain, name) for chain in chains])
        for name in ("size", "start", "done", "member", "parent")
    )
    rows = paths.query.argsort(kind="stable")
    row = np.repeat(rows, size[rows])
    column = ragged_range(np.zeros_like(size), size[rows])
    label_offset = paths.item[row, OFFSET] + column
    place = start[row] + label_offset
    token_ids = forest.token(np.maximum(place, 0))
    token_ids[label_offset < 0] = start_id
    has_next = (column < size[row] - 1) | ~(done & ~member)[row]
    forced = np.flatnonzero(has_next)
    return Step(
        paths,
        parent,
        np.cumsum([0, *(len(chain.size) for chain in chains)]).tolist(),
        size,
        done,
        member,
        row,
        column,
        paths.item[row, DEPTH] + column,
        token_ids,
        forced,
        forest.token(place[forced] + 1),
        branch,
        child,
        forest.token(forest.span(child)[0]),
        child_row,
    )


def _joined(parts: list[Paths]) -> Paths:
    if len(parts) == 1:
        return parts[0]
    return Paths(*(np.concatenate([getattr(p, name) for p in parts]) for name in ("query", "bound", "item", "key")))


@dataclass
class Outcome:
    """What a step leads to: members met, and paths to open."""

    members: Paths
    opened: list[Paths]


def outcome(step: Step, gains: Array, path_rows: Array, forest: Forest, keyed: bool) -> Outcome:
    """Scores of everything the step reached.

    Args:
        gains: [F + C] log-probabilities of the forced tokens, then of the children's first tokens.
        path_rows: [R] where the cached path of each row is kept.
        keyed: whether equal texts must be told by their hash, as several tries of a query may hold the same.
    """
    forced, child_gain = gains[: len(step.forced)], gains[len(step.forced) :]
    own = np.bincount(step.row[step.forced], weights=forced, minlength=len(step.size))
    start, key = step.paths.bound.copy(), step.paths.key.copy()
    ahead = np.flatnonzero(step.child_row >= 0)
    to_row, from_row = step.child_row[ahead], step.branch[ahead]
    for first, last in zip(step.generation[1:], step.generation[2:], strict=False):
        some = (to_row >= first) & (to_row < last)
        above = from_row[some]
        start[to_row[some]] = start[above] + own[above] + child_gain[ahead[some]]
        if keyed:
            key[to_row[some]] = _hashed(_chain_keys(step, key)[above], step.child_id[ahead[some]])
    bound = start + own
    item = step.paths.item.copy()
    item[:, OFFSET] += step.size
    item[:, DEPTH] += step.size
    item[:, PATH] = path_rows
    end_key = _chain_keys(step, key) if keyed else (item[:, NODE] + 1).astype(np.uint64)
    ends = Paths(step.paths.query, bound, item, end_key)
    new = np.flatnonzero(step.child_row < 0)
    children = ends.pick(step.branch[new])
    children.item[:, NODE], children.item[:, OFFSET] = step.child[new], 0
    children.bound += child_gain[new]
    children.key = _hashed(children.key, step.child_id[new]) if keyed else (step.child[new] + 1).astype(np.uint64)
    start_at, stop_at = forest.span(step.child[new])
    whole = (stop_at - start_at == 1) & (forest.fan(step.child[new])[1] == 0)  # nothing but eos
    return Outcome(
        _joined([ends.pick(step.done & step.member), children.pick(whole)]),
        [ends.pick(~step.done), children.pick(~whole)],
    )


def _hashed(key: Array, token_ids: Array) -> Array:
    return key * _HASH_BASE + (token_ids + 1).astype(np.uint64)


def _chain_keys(step: Step, key: Array) -> Array:
    """Prefix hashes after each row's forced tokens; token by token, so that they do not depend on how it was cut."""
    out = key.copy()
    row, column = step.row[step.forced], step.column[step.forced]
    for place in range(int(step.size.max())):
        some = np.flatnonzero(column == place)
        out[row[some]] = _hashed(out[row[some]], step.forced_id[some])
    return out
