"""Signals of a defect: each one a column of small integers, level 0 meaning that the log does not say."""

from collections.abc import Sequence
from dataclasses import dataclass

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from mining.sessions import in_user_order

SOON_S = 45.0
"""A follow-up within this many seconds is a reaction; later ones are mostly new requests."""

AWAY_S = 8 * 3600.0
"""Silence after which a user counts as having left, seconds."""

SIMILAR = (0.3, 0.5, 0.7, 0.9999)
"""Edges between the levels of similarity to the follow-up; the last level is the same text."""

DWELL_SHARES = (0.05, 0.1, 0.2, 0.4, 0.8)
"""Edges between the levels of dwell over the intent's median."""

CONFIDENCE_QUANTILES = (0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75)
"""Quantiles of the log's own confidences that become edges: recognisers disagree about scale, not about order."""

CORRECTING = (
    r"^(no|nope|wrong|stop|cancel|i said|i meant|i mean|not that|that's not|that is not|that's wrong|actually)\b"
)
"""English openings that take back what was just done."""

LEVELS = {
    "signal_status": ("unknown", "ok", "not understood or error"),
    "signal_interrupted": ("unknown", "no", "yes"),
    "signal_dwell": ("unknown", "<5%", "<10%", "<20%", "<40%", "<80%", ">=80%"),
    "signal_followup": (
        "none soon",
        *(f"{when}, {how}" for when in ("soon", "later") for how in ("unlike", "related", "similar", "close", "same")),
    ),
    "signal_asr": ("unknown", *(f"below q{q:g}" for q in CONFIDENCE_QUANTILES), "above"),
    "signal_nlu": ("unknown", *(f"below q{q:g}" for q in CONFIDENCE_QUANTILES), "above"),
    "signal_again": ("no", "reworded", "same"),
    "signal_words": ("no", "yes"),
    "signal_abandoned": ("went on", "left, back within hours", "left for long"),
}
"""Every signal with the names of its levels, in the order of their numbers."""


@dataclass(frozen=True)
class Scales:
    """What a log's raw values are compared with: read off the fitting sample once, then constants."""

    asr_edges: tuple[float, ...] = ()
    nlu_edges: tuple[float, ...] = ()
    dwell_median_s: float | None = None
    """Usual dwell where the intent has none of its own, seconds."""


def scales_of(sample: DataFrame) -> DataFrame:
    """One row: asr_edges, nlu_edges (arrays of double), dwell_median_s. Exact, so independent of partitioning."""
    shares = F.array(*(F.lit(q) for q in CONFIDENCE_QUANTILES))
    return sample.agg(
        F.percentile("asr_confidence", shares).alias("asr_edges"),
        F.percentile("nlu_confidence", shares).alias("nlu_edges"),
        F.percentile("dwell_s", F.lit(0.5)).alias("dwell_median_s"),
    )


def dwell_medians(sample: DataFrame, min_turns: int = 20) -> DataFrame:
    """intent, usual_dwell_s: the median dwell of every intent that was used at least `min_turns` times."""
    used = sample.where(F.col("dwell_s").isNotNull() & F.col("intent").isNotNull())
    medians = used.groupBy("intent").agg(
        F.percentile("dwell_s", F.lit(0.5)).alias("usual_dwell_s"), F.count("*").alias("n")
    )
    return medians.where(F.col("n") >= min_turns).select("intent", "usual_dwell_s")


def _step(value: Column, edges: Sequence[float]) -> Column:
    """Number of `edges` that are at or below `value`."""
    return sum(((value >= edge).cast("int") for edge in edges), F.lit(0))


def with_signals(turns: DataFrame, scales: Scales, medians: DataFrame) -> DataFrame:
    """Add one integer column per signal; `turns` has sessions and follow-ups."""
    usual = F.coalesce("usual_dwell_s", F.lit(scales.dwell_median_s).cast("double"))
    turns = turns.join(F.broadcast(medians), "intent", "left").withColumn("_dwell", F.col("dwell_s") / usual)
    turns = turns.withColumns(
        {
            "signal_status": _status(),
            "signal_interrupted": F.when(F.col("interrupted").isNull(), 0).when(F.col("interrupted"), 2).otherwise(1),
            "signal_dwell": F.when(F.col("_dwell").isNull(), 0).otherwise(1 + _step(F.col("_dwell"), DWELL_SHARES)),
            "signal_followup": _followup(),
            "signal_asr": _confidence("asr_confidence", scales.asr_edges),
            "signal_nlu": _confidence("nlu_confidence", scales.nlu_edges),
            "signal_words": F.coalesce(F.col("followup.text").rlike(CORRECTING), F.lit(False)).cast("int"),
        }
    ).drop("_dwell", "usual_dwell_s")
    before = F.lag("signal_followup").over(in_user_order())
    turns = turns.withColumn("signal_again", F.coalesce(F.when(before == 5, 2).when(before.isin(3, 4), 1), F.lit(0)))
    return turns.withColumn("signal_abandoned", _abandoned())


def _abandoned() -> Column:
    """How the session ended, if this turn ended it. (Not "after a retry": that would count signal_again twice.)"""
    back = F.coalesce(F.col("next_gap_s") <= AWAY_S, F.lit(False))
    return F.when(~F.col("_last"), 0).when(back, 1).otherwise(2)


def _status() -> Column:
    return F.when(F.col("status").isNull(), 0).when(F.col("status") == "ok", 1).otherwise(2)


def _followup() -> Column:
    step = _step(F.col("followup.similarity"), SIMILAR)
    soon = F.col("followup.gap_s") <= SOON_S
    return F.when(F.col("followup").isNull(), 0).when(soon, 1 + step).otherwise(6 + step)


def _confidence(name: str, edges: Sequence[float]) -> Column:
    return F.when(F.col(name).isNull(), 0).otherwise(1 + _step(F.col(name), edges))


def patterns(turns: DataFrame) -> DataFrame:
    """How often each combination of levels occurs: all that the model needs to be fitted, a few thousand rows."""
    return turns.groupBy(*LEVELS).agg(F.count(F.lit(1)).alias("turns"))
