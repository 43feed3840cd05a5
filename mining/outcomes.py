"""Self-awareness: what became of the turns that were rewritten, against those held out by chance.

Counting a rewritten turn's feedback for the original text corrupts the learner (Source: Ponnusamy et al. 2022,
Self-aware feedback-based self-learning). Holdout turns, whose rewrite was found but not used, give the unbiased rate.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from mining.bounds import wilson_lower, wilson_upper
from mining.sums import summed

VERDICTS = ("keep", "watch", "withdraw")


def rewrite_outcomes(exposures: DataFrame) -> DataFrame:
    """Win and loss of every pair that was in force, with one-sided 95 % bounds and a verdict.

    keep: wins more often than its holdout, beyond doubt; withdraw: less often, beyond doubt; watch: not known yet.
    """
    pairs = summed(exposures, "source", "target")
    rate, base = _rate("wins", "turns"), _rate("holdout_wins", "holdout_turns")
    low, high = difference_bounds(rate, F.col("turns"), base, F.col("holdout_turns"))
    pairs = pairs.withColumns(
        {
            "losses": F.col("turns") - F.col("wins"),
            "success_rate": F.round(rate, 6),
            "holdout_success_rate": F.round(base, 6),
            "gain_lower": F.round(low, 6),
            "gain_upper": F.round(high, 6),
        }
    )
    verdict = F.when(F.col("gain_lower") > 0, "keep").when(F.col("gain_upper") < 0, "withdraw").otherwise("watch")
    return pairs.withColumn("verdict", verdict).select("past", *COLUMNS)


COLUMNS = (
    *("source", "target", "turns", "wins", "losses", "users", "success_rate", "holdout_turns", "holdout_wins"),
    *("holdout_success_rate", "gain_lower", "gain_upper", "verdict"),
)


def _rate(hits: str, of: str) -> Column:
    return F.when(F.col(of) > 0, F.col(hits) / F.col(of))


def difference_bounds(rate: Column, n: Column, base: Column, base_n: Column) -> tuple[Column, Column]:
    """Bounds of `rate` - `base` by Newcombe's hybrid score method (1998, method 10); null where either is unknown."""
    below = F.sqrt(_square(rate - wilson_lower(rate, n)) + _square(wilson_upper(base, base_n) - base))
    above = F.sqrt(_square(wilson_upper(rate, n) - rate) + _square(base - wilson_lower(base, base_n)))
    return rate - base - below, rate - base + above


def _square(value: Column) -> Column:
    return value * value


def without_withdrawn(rewrites: DataFrame, outcomes: DataFrame) -> DataFrame:
    """`rewrites` less the pairs whose verdict is to withdraw."""
    gone = outcomes.where(F.col("verdict") == "withdraw").select("past", "source", "target")
    return rewrites.join(F.broadcast(gone), ["past", "source", "target"], "left_anti")
