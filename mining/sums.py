"""Summing over parts: counts, sets of days and examples that parts found, for all days and for the past at once.

Every table here has a boolean `past`: what is true holds the days before the holdback only.
"""

from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from mining.pairs import EXAMPLES


def summed(parts: DataFrame, *keys: str, maxima: tuple[str, ...] = ()) -> DataFrame:
    """Rows of all parts as one per `past` and `keys`: numbers added, `maxima` kept, days_* counted as `days`."""
    sets = [name for name in parts.columns if name.startswith("days_")]
    numbers = [name for name in parts.columns if name not in ("past", "examples", *keys, *maxima, *sets)]
    merged = [F.sum(name).alias(name) for name in numbers]
    merged += [F.max(name).alias(name) for name in maxima]
    merged += [F.bit_or(name).alias(name) for name in sets]
    if "examples" in parts.columns:
        merged.append(F.slice(F.sort_array(F.flatten(F.collect_list("examples"))), 1, EXAMPLES).alias("examples"))
    result = parts.groupBy("past", *keys).agg(*merged)
    return result.withColumn("days", counted_days(sets)).drop(*sets) if sets else result


def counted_days(sets: list[str]) -> Column:
    """Days in sets of bits."""
    return reduce(Column.__add__, (F.bit_count(name) for name in sets)).cast("int")
