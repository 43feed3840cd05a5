"""The tries of one search as tensors: many indexes behind one numbering of nodes and labels."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewrite.trie import TriePart, spell
from rewrite.trie_build import Array

_SMALL_NODES = 1 << 16  # parts up to this size are copied side by side; larger ones stay where they are
_AS_SIGNED = {"uint16": np.int16, "uint32": np.int32}
_MASK = {"uint16": 0xFFFF, "uint32": 0xFFFFFFFF}


class _Column:
    """An unsigned array as a tensor: torch indexes the signed types only, so wide ones are reinterpreted."""

    def __init__(self, array: Array, device: torch.device) -> None:
        name = array.dtype.name
        self.mask = _MASK.get(name)
        signed = np.ascontiguousarray(array).view(_AS_SIGNED[name]) if name in _AS_SIGNED else array
        self.values = torch.from_numpy(signed).to(device)

    def __getitem__(self, rows: Tensor) -> Tensor:
        taken = self.values[rows].long()
        return taken if self.mask is None else taken & self.mask


@dataclass
class _Segment:
    """Arrays searched together; `node_start` and `label_start` number them within the forest."""

    node_start: int
    label_start: int
    node_count: int
    label_count: int
    labels: _Column
    starts: _Column
    stops: _Column
    first: _Column
    last: _Column
    dead: Tensor | None


class Forest:
    """All indexes of one search. Node ids and label positions count through the parts, in order of `parts`."""

    def __init__(self, parts: Sequence[TriePart], device: torch.device) -> None:
        self.device = device
        small = [p for p, part in enumerate(parts) if part.arrays.node_count <= _SMALL_NODES]
        large = [p for p in range(len(parts)) if p not in set(small)]
        groups = ([small] if small else []) + [[p] for p in large]
        self.root = np.zeros(len(parts), np.int64)
        self.segments: list[_Segment] = []
        self._parts = parts
        node, label = 0, 0
        for group in groups:
            for p in group:
                self.root[p] = node
                node += parts[p].arrays.node_count
            self.segments.append(self._segment([parts[p] for p in group], int(self.root[group[0]]), label))
            label += self.segments[-1].label_count
        self.any_dead = any(segment.dead is not None for segment in self.segments)

    def _segment(self, parts: list[TriePart], node_start: int, label_start: int) -> _Segment:
        arrays = [part.arrays for part in parts]
        nodes = [a.node_count for a in arrays]
        labels = [len(a.labels) for a in arrays]
        if len(parts) == 1:
            a = arrays[0]
            columns = [a.labels, a.label_start[:-1], a.label_start[1:], a.first_child[:-1], a.first_child[1:]]
        else:
            node_at, label_at = np.cumsum([0, *nodes[:-1]]), np.cumsum([0, *labels[:-1]])
            at_label = list(zip(arrays, label_at, strict=True))
            at_node = list(zip(arrays, node_at, strict=True))
            columns = [
                np.concatenate([a.labels.astype(np.int64) for a in arrays]),
                np.concatenate([a.label_start[:-1].astype(np.int64) + at for a, at in at_label]),
                np.concatenate([a.label_start[1:].astype(np.int64) + at for a, at in at_label]),
                np.concatenate([a.first_child[:-1].astype(np.int64) + at for a, at in at_node]),
                np.concatenate([a.first_child[1:].astype(np.int64) + at for a, at in at_node]),
            ]
        dead = None
        if any(part.dead is not None for part in parts):
            marks = [np.zeros(n, bool) if p.dead is None else p.dead for p, n in zip(parts, nodes, strict=True)]
            dead = torch.from_numpy(np.concatenate(marks)).to(self.device)
        of_label, starts, stops, first, last = (_Column(column, self.device) for column in columns)
        return _Segment(node_start, label_start, sum(nodes), sum(labels), of_label, starts, stops, first, last, dead)

    def _look_up(self, name: str, rows: Tensor, by_label: bool = False) -> Tensor:
        """Values of one column; `rows` are node ids or, `by_label`, label positions of the forest."""
        if len(self.segments) == 1:
            found: Tensor = getattr(self.segments[0], name)[rows]
            return found
        out = torch.zeros_like(rows)
        for segment in self.segments:  # without a host synchronisation: out-of-segment rows read place 0
            start = segment.label_start if by_label else segment.node_start
            count = segment.label_count if by_label else segment.node_count
            inside = (rows >= start) & (rows < start + count)
            column = getattr(segment, name)
            value = column[torch.where(inside, rows - start, 0)]
            if name in ("starts", "stops"):
                value = value + segment.label_start
            elif name in ("first", "last"):
                value = value + segment.node_start
            out = torch.where(inside, value, out)
        return out

    def span(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Where the labels of `nodes` begin and end."""
        return self._look_up("starts", nodes), self._look_up("stops", nodes)

    def fan(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """First child of each node and how many it has; 0 for members."""
        first = self._look_up("first", nodes)
        return first, self._look_up("last", nodes) - first

    def token(self, places: Tensor) -> Tensor:
        """Token ids at label positions."""
        return self._look_up("labels", places, by_label=True)

    def alive(self, nodes: Tensor) -> Tensor:
        """[N] false where a node was cut out."""
        alive = torch.ones_like(nodes, dtype=torch.bool)
        for segment in self.segments:
            if segment.dead is not None:
                inside = (nodes >= segment.node_start) & (nodes < segment.node_start + segment.node_count)
                alive &= ~(inside & segment.dead[torch.where(inside, nodes - segment.node_start, 0)])
        return alive

    def locate(self, nodes: Array) -> tuple[Array, Array]:
        """Part and node within it of each node id."""
        order = np.argsort(self.root, kind="stable")
        part = order[np.searchsorted(self.root[order], nodes, "right") - 1]
        return part, nodes - self.root[part]

    def spell(self, nodes: Array) -> list[list[int]]:
        """Token ids of members."""
        part, node = self.locate(nodes)
        out: list[list[int]] = [[]] * len(nodes)
        for p in np.unique(part):
            rows = np.flatnonzero(part == p)
            for row, ids in zip(rows, spell(self._parts[p].arrays, node[rows]).rows(), strict=True):
                out[row] = ids
        return out
