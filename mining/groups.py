"""Rows grouped by whole-number keys: the one aggregation of mining's arrays."""

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_LIMIT = 1 << 62


def packed(*keys: Ints) -> Ints:
    """One key (N,) that orders rows as the tuple of `keys`, each (N,) and at least 0, would."""
    result = keys[0].astype(np.int64)
    top = int(result.max(initial=0)) + 1
    for key in keys[1:]:
        size = int(key.max(initial=0)) + 1
        if top * size >= _LIMIT:  # rare: number the distinct ones, which are at most N
            distinct, result = np.unique(result, return_inverse=True)
            top = len(distinct)
        result, top = result * size + key, top * size
    return result


class Groups:
    """Groups of rows with equal keys, in the order of the keys; every result has one entry per group (G,)."""

    def __init__(self, *keys: Ints) -> None:
        """`keys`: one or more arrays (N,) of whole numbers from 0; the first one is the major one."""
        key = packed(*keys)
        self.order = np.argsort(key, kind="stable")
        ordered = key[self.order]
        fresh = np.ones(len(key), dtype=bool)
        np.not_equal(ordered[1:], ordered[:-1], out=fresh[1:])
        self.starts = np.flatnonzero(fresh)

    def __len__(self) -> int:
        return len(self.starts)

    def first(self, values: NDArray) -> NDArray:  # type: ignore[type-arg]
        """The value of every group's first row: of a key, the group's."""
        return values[self.order[self.starts]]

    def count(self) -> Ints:
        """Rows of every group."""
        return np.diff(np.append(self.starts, len(self.order)))

    def sum(self, values: Ints | Bools) -> Ints:
        """Sums of whole numbers, or how many are true: exact, so in no order."""
        return self._reduced(np.add, values.astype(np.int64))

    def max(self, values: NDArray) -> NDArray:  # type: ignore[type-arg]
        """Largest value of every group."""
        return self._reduced(np.maximum, values)

    def min(self, values: NDArray) -> NDArray:  # type: ignore[type-arg]
        """Smallest value of every group."""
        return self._reduced(np.minimum, values)

    def bits(self, values: Ints) -> Ints:
        """Bits that any row of the group has."""
        return self._reduced(np.bitwise_or, values)

    def spread(self, values: NDArray) -> NDArray:  # type: ignore[type-arg]
        """`values` (G,) given to every row of their group: (N,), in the order of rows."""
        result = np.empty(len(self.order), dtype=values.dtype)
        result[self.order] = np.repeat(values, self.count())
        return result

    def best(self, *order: NDArray) -> Ints:  # type: ignore[type-arg]
        """Row numbers of every group's smallest row by the tuple `order`; ties go to the first row."""
        number = np.empty(len(self.order), dtype=np.int64)
        number[self.order] = np.repeat(np.arange(len(self)), self.count())
        rows = np.lexsort((*order[::-1], number))
        return rows[self.starts]

    def _reduced(self, ufunc: np.ufunc, values: NDArray) -> NDArray:  # type: ignore[type-arg]
        if not len(self.starts):
            return values[:0]
        return ufunc.reduceat(values[self.order], self.starts)


def within(groups: Groups) -> Ints:
    """(N,) each row's place in its group, from 0, in the order of rows."""
    place = np.empty(len(groups.order), dtype=np.int64)
    place[groups.order] = np.arange(len(groups.order)) - np.repeat(groups.starts, groups.count())
    return place
