"""The tries of one search as tensors beside the model, numbered as in `Forest`."""

import weakref
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from rewrite.forest import Forest, Segment
from rewrite.trie_build import Array

_RESIDENT: dict[tuple[int, str], Tensor] = {}
"""Copies of arrays too large to send for every search, for as long as the array itself lives."""


@dataclass(frozen=True)
class _Part:
    """The columns of a segment; see `Segment`."""

    node_start: int
    label_start: int
    labels: Tensor
    starts: Tensor
    stops: Tensor
    first: Tensor
    last: Tensor
    dead: Tensor | None


class DeviceForest:
    """What `Forest` answers with arrays, answered with tensors of any shape; numbers out of range give any answer.

    Nothing here waits for the device.
    """

    def __init__(self, forest: Forest, device: torch.device) -> None:
        self._parts = [_part(segment, device) for segment in forest.segments]

    def span(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """Where the labels of `nodes` begin and end."""
        return self._look_up("starts", nodes), self._look_up("stops", nodes)

    def fan(self, nodes: Tensor) -> tuple[Tensor, Tensor]:
        """First child of each node and how many it has; 0 for members."""
        first = self._look_up("first", nodes)
        return first, self._look_up("last", nodes) - first

    def token(self, places: Tensor) -> Tensor:
        """Token ids at label positions."""
        return self._look_up("labels", places)

    def alive(self, nodes: Tensor) -> Tensor:
        """False where a node was cut out."""
        alive = torch.ones_like(nodes, dtype=torch.bool)
        for part in self._parts:
            if part.dead is not None:
                row = nodes - part.node_start
                inside = (row >= 0) & (row < len(part.dead))
                alive &= ~(inside & part.dead[row.clamp(0, len(part.dead) - 1)])
        return alive

    def _look_up(self, name: str, rows: Tensor) -> Tensor:
        found = None
        for part in self._parts:
            column: Tensor = getattr(part, name)
            row = rows - (part.label_start if name == "labels" else part.node_start)
            value = column[row.clamp(0, len(column) - 1)].long()
            if name in ("starts", "stops"):
                value += part.label_start
            elif name in ("first", "last"):
                value += part.node_start
            # Segments ascend: what lies before this one keeps the answer of an earlier one.
            found = value if found is None else torch.where(row >= 0, value, found)
        assert found is not None
        return found


def _part(segment: Segment, device: torch.device) -> _Part:
    """The columns on the device; those of a large index as copies that stay there."""
    if segment.whole is None:
        labels, starts, stops, first, last = (
            _sent(column, device)
            for column in (segment.labels, segment.starts, segment.stops, segment.first, segment.last)
        )
    else:
        labels = _resident(segment.whole.labels, device)
        starts, first = (_resident(x, device) for x in (segment.whole.label_start, segment.whole.first_child))
        starts, stops, first, last = starts[:-1], starts[1:], first[:-1], first[1:]
    dead = None if segment.dead is None else _resident(segment.dead, device)
    return _Part(segment.node_start, segment.label_start, labels, starts, stops, first, last, dead)


def _resident(array: Array, device: torch.device) -> Tensor:
    key = (id(array), str(device))
    if key not in _RESIDENT:
        _RESIDENT[key] = _sent(array, device)
        weakref.finalize(array, _RESIDENT.pop, key, None)
    return _RESIDENT[key]


def _sent(array: Array, device: torch.device) -> Tensor:
    """A copy on the device, in the smallest type that tensors can be indexed in."""
    if array.dtype.kind == "u" and array.dtype != np.uint8:
        array = array.astype(np.int32 if not len(array) or array.max() < 2**31 else np.int64)
    return torch.from_numpy(np.ascontiguousarray(array)).to(device)
