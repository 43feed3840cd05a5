"""Cheap random draws, one at a time, from one seeded generator: numpy's own scalar calls cost ten times more."""

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from math import exp, log
from typing import TypeVar

import numpy as np

T = TypeVar("T")
_BLOCK = 1 << 14


class Dice:
    """Scalar draws served from blocks of a generator; the generator is the only source of randomness."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._uniforms: list[float] = []
        self._normals: list[float] = []

    def uniform(self) -> float:
        """A number in [0, 1)."""
        if not self._uniforms:
            self._uniforms = self._rng.random(_BLOCK).tolist()
        return self._uniforms.pop()

    def normal(self) -> float:
        """A standard normal number."""
        if not self._normals:
            self._normals = self._rng.standard_normal(_BLOCK).tolist()
        return self._normals.pop()

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def pick(self, values: Sequence[T]) -> T:
        """One of `values`, all alike likely. Raises IndexError where there are none."""
        return values[int(self.uniform() * len(values))]

    def exponential(self, mean: float) -> float:
        """An exponential number with the given mean."""
        return -mean * log(1.0 - self.uniform())

    def lognormal(self, median: float, sigma: float) -> float:
        """A log-normal number with the given median and log-standard deviation."""
        return median * exp(sigma * self.normal())


class Weighted:
    """A choice among positions with fixed weights, by bisection."""

    def __init__(self, weights: Sequence[float]) -> None:
        if not len(weights):
            raise ValueError("cannot choose among nothing: got no weights")
        self._cumulative = list(accumulate(weights))

    def draw(self, dice: Dice) -> int:
        """A position, with probability in proportion to its weight."""
        position = bisect_right(self._cumulative, dice.uniform() * self._cumulative[-1])
        return min(position, len(self._cumulative) - 1)


def zipf(count: int, exponent: float) -> list[float]:
    """Weights of ranks 1 to `count`, falling as rank to the minus `exponent`."""
    return [(rank + 1) ** -exponent for rank in range(count)]
