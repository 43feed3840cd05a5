"""The tries of one search behind one numbering of nodes and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rewrite.trie import TriePart, spell
from rewrite.trie_build import Array, TrieArrays, ragged_range

_SMALL_NODES = 1 << 16  # parts up to this size are copied side by side; larger ones stay where they are


@dataclass(frozen=True)
class Segment:
    """Arrays searched together; `node_start` and `label_start` number them within the forest.

    Attributes:
        labels: [L]. starts, stops: [N] where labels begin and end. first, last: [N] where children begin and end.
        dead: [N] nodes cut out, or None. whole: the index that this segment is, if it is one.
    """

    node_start: int
    label_start: int
    node_count: int
    label_count: int
    labels: Array
    starts: Array
    stops: Array
    first: Array
    last: Array
    dead: Array | None
    whole: TrieArrays | None = None


class Forest:
    """All indexes of one search. Node ids and label positions count through its segments; `root` [parts]."""

    def __init__(self, parts: Sequence[TriePart]) -> None:
        small = [p for p, part in enumerate(parts) if part.arrays.node_count <= _SMALL_NODES]
        large = [p for p, part in enumerate(parts) if part.arrays.node_count > _SMALL_NODES]
        groups = ([small] if small else []) + [[p] for p in large]
        self._parts = parts
        self.root = np.zeros(len(parts), np.int64)
        self.segments: list[Segment] = []
        node, label = 0, 0
        for group in groups:
            for p in group:
                self.root[p] = node
                node += parts[p].arrays.node_count
            self.segments.append(_segment([parts[p] for p in group], int(self.root[group[0]]), label))
            label += self.segments[-1].label_count
        self.any_dead = any(segment.dead is not None for segment in self.segments)

    def _look_up(self, name: str, rows: Array, by_label: bool = False) -> Array:
        """Values of one column; `rows` are node ids or, `by_label`, label positions of the forest."""
        if len(self.segments) == 1:
            found: Array = getattr(self.segments[0], name)[rows].astype(np.int64)
            return found
        out = np.zeros(len(rows), np.int64)
        shift = {"starts": "label_start", "stops": "label_start", "first": "node_start", "last": "node_start"}.get(name)
        for segment in self.segments:
            start = segment.label_start if by_label else segment.node_start
            count = segment.label_count if by_label else segment.node_count
            inside = np.flatnonzero((rows >= start) & (rows < start + count))
            value = getattr(segment, name)[rows[inside] - start].astype(np.int64)
            out[inside] = value + getattr(segment, shift) if shift else value
        return out

    def widest(self, count: int) -> int:
        """The most children that `count` nodes have together."""
        fans = np.concatenate([part.arrays.widest_fans[:count] for part in self._parts])
        return max(int(np.sort(fans)[-count:].sum()), 1)

    def span(self, nodes: Array) -> tuple[Array, Array]:
        """Where the labels of `nodes` begin and end."""
        return self._look_up("starts", nodes), self._look_up("stops", nodes)

    def fan(self, nodes: Array) -> tuple[Array, Array]:
        """First child of each node and how many it has; 0 for members."""
        first = self._look_up("first", nodes)
        return first, self._look_up("last", nodes) - first

    def children(self, nodes: Array) -> tuple[Array, Array]:
        """Living children of N nodes: for each, which of the N is its parent, and its node id."""
        first, count = self.fan(nodes)
        parent, child = np.repeat(np.arange(len(nodes)), count), ragged_range(first, count)
        if self.any_dead:
            alive = self.alive(child)
            parent, child = parent[alive], child[alive]
        return parent, child

    def token(self, places: Array) -> Array:
        """Token ids at label positions."""
        return self._look_up("labels", places, by_label=True)

    def alive(self, nodes: Array) -> Array:
        """[N] false where a node was cut out."""
        alive = np.ones(len(nodes), bool)
        for segment in self.segments:
            if segment.dead is not None:
                inside = np.flatnonzero(
                    (nodes >= segment.node_start) & (nodes < segment.node_start + segment.node_count)
                )
                alive[inside] = ~segment.dead[nodes[inside] - segment.node_start]
        return alive

    def spell(self, nodes: Array) -> list[list[int]]:
        """Token ids of members."""
        order = np.argsort(self.root, kind="stable")
        part = order[np.searchsorted(self.root[order], nodes, "right") - 1]
        out: list[list[int]] = [[]] * len(nodes)
        for p in np.unique(part):
            rows = np.flatnonzero(part == p)
            spelled = spell(self._parts[p].arrays, nodes[rows] - self.root[p]).rows()
            for row, token_ids in zip(rows, spelled, strict=True):
                out[row] = token_ids
        return out


def _segment(parts: list[TriePart], node_start: int, label_start: int) -> Segment:
    arrays = [part.arrays for part in parts]
    nodes, labels = [a.node_count for a in arrays], [len(a.labels) for a in arrays]
    dead = None
    if any(part.dead is not None for part in parts):
        marks = [np.zeros(n, bool) if p.dead is None else p.dead for p, n in zip(parts, nodes, strict=True)]
        dead = np.concatenate(marks)
    if len(parts) == 1:
        a = arrays[0]
        columns = (a.labels, a.label_start[:-1], a.label_start[1:], a.first_child[:-1], a.first_child[1:])
        return Segment(node_start, label_start, nodes[0], labels[0], *columns, dead, a)
    at_label, at_node = np.cumsum([0, *labels[:-1]]), np.cumsum([0, *nodes[:-1]])
    columns = (
        np.concatenate([a.labels for a in arrays]),
        np.concatenate([a.label_start[:-1] + at for a, at in zip(arrays, at_label, strict=True)]),
        np.concatenate([a.label_start[1:] + at for a, at in zip(arrays, at_label, strict=True)]),
        np.concatenate([a.first_child[:-1] + at for a, at in zip(arrays, at_node, strict=True)]),
        np.concatenate([a.first_child[1:] + at for a, at in zip(arrays, at_node, strict=True)]),
    )
    return Segment(node_start, label_start, sum(nodes), sum(labels), *columns, dead)
