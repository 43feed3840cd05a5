"""Confidence bounds as native columns."""

from pyspark.sql import Column
from pyspark.sql import functions as F

Z = 1.645
"""Normal quantile of a one-sided 95 % bound."""


def wilson_lower(rate: Column, n: Column) -> Column:
    """Lower end of Wilson's interval for a share `rate` in [0, 1] seen `n` times; 0 where n is 0.

    Source: Wilson 1927. `rate` may be a mean of shares: its variance is then at most that of a proportion.
    """
    n = n.cast("double")
    middle = rate + Z * Z / (2 * n)
    half = Z * F.sqrt(F.greatest(rate * (1 - rate), F.lit(0.0)) / n + Z * Z / (4 * n * n))
    return F.when(n > 0, F.greatest((middle - half) / (1 + Z * Z / n), F.lit(0.0))).otherwise(F.lit(0.0))


def wilson_upper(rate: Column, n: Column) -> Column:
    """Upper end of Wilson's interval; 1 where `n` is 0."""
    return F.when(n.cast("double") > 0, 1 - wilson_lower(1 - rate, n)).otherwise(F.lit(1.0))
