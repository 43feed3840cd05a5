"""Paired tests and intervals over seeds."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

MOST_EXACT = 14
"""Up to this many pairs all sign patterns are counted; beyond, a seeded sample of them."""


def sign_flip_p(differences: Sequence[float], draws: int = 20_000, seed: int = 0) -> float:
    """One-sided p-value that the mean of paired differences is below 0, by flipping signs.

    The share of sign patterns whose sum is at most the observed one; exact for up to 14 pairs, so 10 pairs give
    1/1024 at best. NaN where there is no pair.

    Source: Fisher's permutation test for paired data.
    """
    values = np.asarray(differences, dtype=float)
    if not len(values):
        return math.nan
    if len(values) <= MOST_EXACT:
        signs = np.array(list(itertools.product((1.0, -1.0), repeat=len(values))))
    else:
        drawn = np.random.default_rng(seed).choice([1.0, -1.0], size=(draws, len(values)))
        signs = np.vstack([np.ones(len(values)), drawn])
    return float(np.mean(signs @ np.abs(values) <= values.sum() + 1e-12))


def mean_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and its 95 % interval by Student's t; the interval is infinite for fewer than two values."""
    v = np.asarray(values, dtype=float)
    if len(v) < 2:
        return (float(v.mean()) if len(v) else math.nan), -math.inf, math.inf
    half = student_t(len(v) - 1) * float(v.std(ddof=1)) / math.sqrt(len(v))
    return float(v.mean()), float(v.mean()) - half, float(v.mean()) + half


_T = (12.706, 4.303, 3.182, 2.776, 2.571, 2.447, 2.365, 2.306, 2.262, 2.228, 2.201, 2.179, 2.160, 2.145, 2.131)


def student_t(freedom: int) -> float:
    """97.5 % point of Student's t.

    Source: the usual table up to 15 degrees of freedom, then Cornish and Fisher's expansion (error below .001).
    """
    if freedom <= len(_T):
        return _T[freedom - 1]
    z = 1.959964
    return z + (z**3 + z) / (4 * freedom) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * freedom**2)
