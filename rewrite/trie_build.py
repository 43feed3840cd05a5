"""Build the flat arrays of a token trie from token-id sequences, in numpy.

The trie is path-compressed: a node is a branching point or a member, and the chain of forced tokens that leads to it is
its label. Nodes are in level order, so the children of a node are one contiguous range and need no ids of their own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]

MAX_TOKEN_ID = 2**31 - 1
WIDEST = 256  # nodes with most children that are remembered
_CHUNK_ROWS = 1 << 20  # rows handled at once: bounds the index arrays while building
_KEY_BYTES = 48  # sorted by these first; longer sequences that agree so far are sorted again in full


@dataclass(frozen=True)
class TrieArrays:
    """A path-compressed trie of N nodes in level order; node 0 is the root, whose label may be empty.

    Without members there are no nodes.

    Attributes:
        labels: [L] token ids of all labels, one after the other; the smallest unsigned type that holds them.
        label_start: [N + 1] where the label of a node begins in `labels`.
        first_child: [N + 1] children of node i are first_child[i] ... first_child[i + 1] - 1; a member has none.
        shortest, longest: [N] tokens from the end of the node's label to the nearest and the farthest end of a member.
    """

    labels: Array
    label_start: Array
    first_child: Array
    shortest: Array
    longest: Array

    @property
    def node_count(self) -> int:
        return len(self.shortest)

    def parent(self, nodes: Array) -> Array:
        """[N] the parent of each node; 0 for the root. Cost: logarithmic, first children ascend in level order."""
        # In the array's own type: searchsorted would otherwise convert the whole array at every call.
        wanted = np.asarray(nodes).astype(self.first_child.dtype)
        above: Array = np.searchsorted(self.first_child, wanted, "right") - 1
        return np.maximum(above, 0)

    @cached_property
    def largest_id(self) -> int:
        """The largest token id of any label; 0 without labels."""
        return int(self.labels.max()) if len(self.labels) else 0

    @cached_property
    def widest_fans(self) -> Array:
        """How many children the `WIDEST` nodes with most have, most first."""
        fans = np.diff(self.first_child).astype(np.int64)
        widest: Array = -np.sort(-(fans if len(fans) <= WIDEST else np.partition(fans, -WIDEST)[-WIDEST:]))
        return widest

    @property
    def nbytes(self) -> int:
        return sum(a.nbytes for a in (self.labels, self.label_start, self.first_child, self.shortest, self.longest))


def smallest_unsigned(largest: int) -> np.dtype[Any]:
    """The smallest unsigned integer type that holds `largest`."""
    return np.dtype(np.min_scalar_type(max(int(largest), 0)))


@dataclass(frozen=True)
class Ragged:
    """Sequences laid end to end: `flat` holds the token ids, `lengths` [N] how many belong to each."""

    flat: Array
    lengths: Array

    @classmethod
    def of(cls, sequences: "Iterable[Sequence[int] | Array] | Array | Ragged") -> "Ragged":
        """Lay out sequences.

        Args:
            sequences: token-id sequences; or an integer array [N, T], rows padded with -1; or a `Ragged`.

        Raises:
            ValueError: a sequence is empty, or an id is no integer, negative, or not below 2**31.
        """
        if isinstance(sequences, Ragged):
            ragged = sequences
        elif isinstance(sequences, np.ndarray) and sequences.ndim == 2:
            ragged = _from_padded(sequences)
        else:
            ragged = _from_rows(sequences)
        if len(ragged.lengths) and ragged.lengths.min() == 0:
            raise ValueError(f"sequence {int(ragged.lengths.argmin())} is empty; expected token ids ending in eos")
        return cls(_checked_ids(ragged.flat), ragged.lengths)

    @property
    def start(self) -> Array:
        """[N] where each sequence begins in `flat`."""
        starts: Array = np.cumsum(self.lengths) - self.lengths
        return starts

    def rows(self) -> list[list[int]]:
        """The sequences as lists."""
        return [part.tolist() for part in np.split(self.flat, np.cumsum(self.lengths)[:-1])] if len(self) else []

    def __len__(self) -> int:
        return len(self.lengths)


def _from_rows(sequences: Iterable[Sequence[int] | Array]) -> Ragged:
    rows = sequences if isinstance(sequences, list) else list(sequences)
    lengths = np.fromiter(map(len, rows), np.int64, len(rows))
    if not len(rows):
        return Ragged(np.zeros(0, np.uint8), lengths)
    if isinstance(rows[0], np.ndarray):
        return Ragged(np.concatenate(rows), lengths)
    return Ragged(np.fromiter(chain.from_iterable(rows), np.int64, int(lengths.sum())), lengths)


def _from_padded(rows: Array) -> Ragged:
    inside = rows >= 0
    if bool((inside[:, 1:] & ~inside[:, :-1]).any()):
        raise ValueError("a row has an id after its padding (-1); expected the padding at the end of each row only")
    return Ragged(rows[inside], inside.sum(1))


def _checked_ids(flat: Array) -> Array:
    if not len(flat):
        return np.zeros(0, np.uint8)
    if flat.dtype.kind not in "iu":
        raise ValueError(f"token ids must be integers, got {flat.dtype}")
    low, high = int(flat.min()), int(flat.max())
    if low < 0 or high > MAX_TOKEN_ID:
        raise ValueError(
            f"token ids must be in 0 ... 2**31 - 1, got {low} ... {high}; "
            "likely padding or ignore marks (-100) left in the sequences"
        )
    return flat.astype(smallest_unsigned(high), copy=False)


def eos_of(sequences: Ragged) -> int:
    """The id that every sequence ends in and none holds elsewhere.

    Raises:
        ValueError: the sequences end in different ids, or eos occurs inside one.
    """
    last = sequences.flat[np.cumsum(sequences.lengths) - 1]
    eos_id = int(last[0])
    if (last != eos_id).any():
        row = int((last != eos_id).argmax())
        raise ValueError(
            f"sequence {row} ends in id {int(last[row])}, sequence 0 in {eos_id}; every sequence must end in eos"
        )
    if np.count_nonzero(sequences.flat == eos_id) > len(last):
        raise ValueError(f"a sequence holds eos ({eos_id}) before its end; expected eos once, as the last id")
    return eos_id


def build_arrays(sequences: Ragged) -> TrieArrays:
    """Build the trie of the distinct sequences; each ends in the same eos, found nowhere else in it.

    Cost: one sort, then time and memory linear in the tokens.
    """
    if not len(sequences):
        none = np.zeros(0, np.uint8)
        return TrieArrays(none, np.zeros(1, np.uint8), np.zeros(1, np.uint8), none, none)
    start, lengths, common = _sort_distinct(sequences)
    return _assemble(sequences.flat, start, _levels(common, lengths))


def _sort_distinct(sequences: Ragged) -> tuple[Array, Array, Array]:
    """Start and length of the distinct sequences in order, and the prefix each shares with the one before."""
    start, lengths = sequences.start, sequences.lengths
    width = max(1, _KEY_BYTES // sequences.flat.itemsize)
    keys = _keys(sequences.flat, start, lengths, width)
    order = keys.argsort()
    keys = keys[order]
    tied = np.zeros(len(order), bool)
    tied[1:] = keys[1:] == keys[:-1]
    tied[:-1] |= tied[1:]
    tied &= lengths[order] > width  # rows within the key are equal where the keys are: ties need no order
    if tied.any():
        some = order[tied]
        whole = _keys(sequences.flat, start[some], lengths[some], int(lengths[some].max()))
        order[tied] = some[whole.argsort()]
    start, lengths = start[order], lengths[order]
    common = _common_prefix(sequences.flat, start, lengths)
    keep = common < lengths
    return start[keep], lengths[keep], common[keep]


def _padded(flat: Array, start: Array, lengths: Array, width: int) -> Array:
    """[N, width] the first tokens of each sequence, zero after its end."""
    rows = np.empty((len(start), width), flat.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(np.append(flat, np.zeros(width, flat.dtype)), width)
    for low in range(0, len(start), _CHUNK_ROWS):
        part = slice(low, low + _CHUNK_ROWS)
        np.multiply(windows[start[part]], np.arange(width) < lengths[part, None], out=rows[part])
    return rows


def ragged_range(start: Array, size: Array) -> Array:
    """start[0] ... start[0] + size[0] - 1, start[1] ..., as one array."""
    offset = np.cumsum(size) - size
    positions: Array = np.arange(int(size.sum())) + np.repeat(start - offset, size)
    return positions


def _keys(flat: Array, start: Array, lengths: Array, width: int) -> Array:
    """One bytes key per sequence that sorts as its first tokens do: big-endian ids."""
    rows = _padded(flat, start, lengths, width)
    big = rows.astype(rows.dtype.newbyteorder(">"), copy=False)
    return big.view(f"S{width * big.itemsize}").ravel()


def _common_prefix(flat: Array, start: Array, lengths: Array) -> Array:
    """[N] length of the prefix that a sequence shares with the one before it, -1 for the first; its length if equal."""
    width = max(1, _KEY_BYTES // flat.itemsize)
    common = np.full(len(start), -1, np.int32)
    for low in range(1, len(start), _CHUNK_ROWS):
        rows = np.arange(low, min(low + _CHUNK_ROWS, len(start)))
        common[rows] = _shared(flat, start, lengths, rows, width)
    beyond = np.flatnonzero(common == width)
    if len(beyond):
        common[beyond] = _shared(flat, start, lengths, beyond, int(lengths[beyond].max()))
    return np.minimum(common, lengths)


def _shared(flat: Array, start: Array, lengths: Array, rows: Array, width: int) -> Array:
    """How many of the first `width` tokens each of `rows` shares with the row before it; `width` where all."""
    differs = np.ones((len(rows), width + 1), bool)
    before = _padded(flat, start[rows - 1], lengths[rows - 1], width)
    np.not_equal(_padded(flat, start[rows], lengths[rows], width), before, out=differs[:, :width])
    shared: Array = differs.argmax(1)
    return shared


@dataclass
class _Level:
    """Nodes of one level: rows `left` ... `right` - 1 share the first `depth` tokens; the label begins at `begin`."""

    left: Array
    right: Array
    begin: Array
    depth: Array
    children: Array  # [n] how many; 0 for a member


def _levels(common: Array, lengths: Array) -> list[_Level]:
    left, right = np.zeros(1, np.int64), np.full(1, len(lengths), np.int64)
    begin = np.zeros(1, np.int32)
    levels = []
    while len(left):
        level, left, right, begin = _split(left, right, begin, common, lengths)
        levels.append(level)
    return levels


def _split(
    left: Array, right: Array, begin: Array, common: Array, lengths: Array
) -> tuple[_Level, Array, Array, Array]:
    """One level and the intervals of the next: an interval splits where its rows share least."""
    depth = lengths[left].astype(np.int32)
    children = np.zeros(len(left), np.int64)
    level = _Level(left, right, begin, depth, children)
    inner = np.flatnonzero(right - left > 1)
    if not len(inner):
        return level, left[:0], left[:0], begin[:0]
    inner_left, size = left[inner], (right - left)[inner]
    offset = np.cumsum(size) - size
    rows = np.arange(int(size.sum())) + np.repeat(inner_left - offset, size)
    shared = common[rows]
    shared[offset] = np.iinfo(np.int32).max  # a row against the row before its interval does not count
    depth[inner] = shared_depth = np.minimum.reduceat(shared, offset)
    shared[offset] = shared_depth
    starts = shared == np.repeat(shared_depth, size)
    next_left = rows[starts]
    children[inner] = counts = np.add.reduceat(starts, offset, dtype=np.int64)
    next_right = np.empty_like(next_left)
    next_right[:-1] = next_left[1:]
    next_right[np.cumsum(counts) - 1] = right[inner]
    return level, next_left, next_right, np.repeat(shared_depth, counts)


def _assemble(flat: Array, start: Array, levels: list[_Level]) -> TrieArrays:
    children = np.concatenate([level.children for level in levels])
    begin = np.concatenate([level.begin for level in levels])
    depth = np.concatenate([level.depth for level in levels])
    row = np.concatenate([level.left for level in levels])
    shortest, longest = _completions(levels)
    label_start = np.zeros(len(row) + 1, np.int64)
    np.cumsum(depth - begin, out=label_start[1:])
    first_child = np.ones(len(row) + 1, np.int64)
    first_child[1:] += np.cumsum(children)
    return TrieArrays(
        labels=_copy_labels(flat, start[row] + begin, label_start),
        label_start=label_start.astype(smallest_unsigned(int(label_start[-1]))),
        first_child=first_child.astype(smallest_unsigned(int(first_child[-1]))),
        shortest=shortest,
        longest=longest,
    )


def _completions(levels: list[_Level]) -> tuple[Array, Array]:
    """Per node, tokens from the end of its label to the nearest and farthest member: children first."""
    nearest = np.zeros(0, np.int64)
    farthest = nearest
    parts: list[tuple[Array, Array]] = []
    below: _Level | None = None
    for level in reversed(levels):
        near, far = np.zeros((2, len(level.left)), np.int64)
        inner = np.flatnonzero(level.children)
        if below is not None and len(inner):
            offset = np.cumsum(level.children[inner]) - level.children[inner]
            size = below.depth - below.begin
            near[inner] = np.minimum.reduceat(nearest + size, offset)
            far[inner] = np.maximum.reduceat(farthest + size, offset)
        nearest, farthest, below = near, far, level
        parts.append((near, far))
    shortest = np.concatenate([near for near, _ in reversed(parts)])
    longest = np.concatenate([far for _, far in reversed(parts)])
    kind = smallest_unsigned(int(longest.max()))
    return shortest.astype(kind), longest.astype(kind)


def _copy_labels(flat: Array, source: Array, label_start: Array) -> Array:
    """Gather the labels; `source` [N] is where each begins in `flat`."""
    labels = np.empty(int(label_start[-1]), flat.dtype)
    for start in range(0, len(source), _CHUNK_ROWS):
        stop = min(start + _CHUNK_ROWS, len(source))
        size = np.diff(label_start[start : stop + 1])
        labels[int(label_start[start]) : int(label_start[stop])] = flat[ragged_range(source[start:stop], size)]
    return labels
