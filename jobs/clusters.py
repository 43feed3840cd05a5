"""Ratios over turns whose errors come in clusters: the turns of one user go together. Pure arithmetic on arrays."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit


@dataclass(frozen=True)
class Interval:
    """A value with the bounds of its interval, its standard error, and how many clusters stand behind it."""

    value: float
    low: float
    high: float
    error: float
    clusters: int


def ratio(
    top: NDArray[np.float64], bottom: NDArray[np.float64], cluster: NDArray[np.int64], level: float = 0.95
) -> Interval:
    """sum(top) / sum(bottom) with a cluster-robust interval.

    Args:
        top: shape (N,), what is counted. bottom: shape (N,), in what; all ones for a mean.
        cluster: shape (N,), row of each one's cluster.
        level: of the interval, in (0, 1).

    The variance is that of the linearised ratio, summed per cluster, with G / (G - 1) for G clusters, and the bounds
    are Student's with G - 1 degrees of freedom. Source: Woodruff, JASA 66 (1971); Cameron & Miller, J. Human Resources
    50 (2015). All NaN where nothing is counted, infinitely wide for a single cluster.
    """
    total = float(bottom.sum())
    if not len(top) or total == 0:
        return Interval(np.nan, np.nan, np.nan, np.nan, 0)
    value = float(top.sum()) / total
    _, row = np.unique(cluster, return_inverse=True)
    groups = int(row.max()) + 1
    if groups < 2:
        return Interval(value, -np.inf, np.inf, np.inf, groups)
    residuals = np.bincount(row, weights=top - value * bottom)
    error = float(np.sqrt(groups / (groups - 1) * (residuals**2).sum())) / abs(total)
    reach = float(stdtrit(groups - 1, 0.5 + level / 2)) * error
    return Interval(value, value - reach, value + reach, error, groups)


def difference(one: Interval, other: Interval, level: float = 0.95) -> Interval:
    """`one` minus `other` for two groups that share no cluster (Welch's degrees of freedom)."""
    value = one.value - other.value
    error = float(np.hypot(one.error, other.error))
    clusters = one.clusters + other.clusters
    if not np.isfinite(error) or error == 0:
        reach = error if error == 0 else np.inf
        return Interval(value, value - reach, value + reach, error, clusters)
    parts = [e.error**4 / (e.clusters - 1) for e in (one, other)]
    freedom = error**4 / sum(parts)
    reach = float(stdtrit(freedom, 0.5 + level / 2)) * error
    return Interval(value, value - reach, value + reach, error, clusters)
