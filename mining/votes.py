"""What one user's day says about a text: the unit of all evidence, so that nobody can shout."""

from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F

from mining.reformulations import CORRECTIVE
from mining.signals import SOON_S

MICRO = 1_000_000
"""Shares are summed as whole millionths: integer sums do not depend on the order of rows."""

READING = ("domain", "intent", "slots")


def counted(turns: DataFrame, max_per_user_day: int) -> DataFrame:
    """The turns that may be evidence, with `day` and `p`, the defect probability in millionths."""
    p = F.round(F.col("defect_probability") * MICRO).cast("long")
    return (
        turns.where(F.col("user_day_rank") <= max_per_user_day)
        .withColumn("day", F.to_date("timestamp"))
        .withColumn("p", p)
    )


def without_gaps(turns: DataFrame, gap: str) -> DataFrame:
    """Counted turns whose texts are whole: what was scrubbed (pattern `gap`) is nobody's rewrite and no evidence."""
    turns = turns.where(~F.col("effective_text").rlike(gap))
    whole = F.coalesce(~F.col("followup.effective_text").rlike(gap), F.lit(True))
    solved = F.coalesce(~F.col("resolution.text").rlike(gap), F.lit(True))
    turns = turns.withColumn("followup_kind", F.when(whole, F.col("followup_kind")))
    return turns.withColumn("resolution", F.when(solved, F.col("resolution")))


def newest_days(moves: DataFrame, days: int) -> DataFrame:
    """`moves` of at most `days` days, the newest, for every source and user."""
    newest = Window.partitionBy("source", "user_id").orderBy(F.col("day").desc())
    return moves.withColumn("_n", F.row_number().over(newest)).where(F.col("_n") <= days).drop("_n")


def asks(turns: DataFrame) -> DataFrame:
    """One row per text, user, day and NLU reading: turns, successes, success (millionths, summed), last_success."""
    worked = F.col("defect_probability") < 0.5
    keys = [F.col("effective_text").alias("text"), "user_id", "day", *READING]
    return turns.groupBy(*keys).agg(
        F.count(F.lit(1)).alias("turns"),
        F.sum(worked.cast("long")).alias("successes"),
        F.sum(MICRO - F.col("p")).alias("success"),
        F.max(F.when(worked, F.col("timestamp"))).alias("last_success"),
    )


def moves(turns: DataFrame) -> DataFrame:
    """One row per source, user and day: turns, success and moves, an array of (target, p, alike).

    A turn moves where its follow-up retried it; a repetition moves to the text itself. What came soon after a failure
    without being alike moves too, with `alike` false: only many users together can make that a reformulation.
    """
    alike = F.col("followup_kind").isin(*CORRECTIVE, "repetition")
    soon = (F.col("defect_probability") >= 0.5) & (F.col("followup.gap_s") <= SOON_S)
    moved = alike | (soon & F.col("followup_kind").isNotNull())
    move = F.struct(F.col("followup.effective_text").alias("target"), "p", alike.alias("alike"))
    keys = [F.col("effective_text").alias("source"), "user_id", "day"]
    return turns.groupBy(*keys).agg(
        F.count(F.lit(1)).alias("turns"),
        F.sum(MICRO - F.col("p")).alias("success"),
        F.collect_list(F.when(moved, move)).alias("moves"),
    )


def pairs(turns: DataFrame) -> DataFrame:
    """One row per source, target, kind, user and day of the user's own follow-ups: count, success, example.

    A follow-up that was itself rewritten is the rewriter's pair, not the user's, and is left out.
    """
    own = F.col("followup.text") == F.col("followup.effective_text")
    near = turns.where(F.col("followup_kind").isNotNull() & own)
    keys = {"source": F.col("effective_text"), "target": F.col("followup.text"), "kind": F.col("followup_kind")}
    return near.groupBy(*(c.alias(n) for n, c in keys.items()), "user_id", "day").agg(
        F.count(F.lit(1)).alias("count"),
        F.min(F.concat_ws(">", "interaction_id", "followup.interaction_id")).alias("example"),
        F.max("followup.similarity").alias("similarity"),
    )


def resolutions(turns: DataFrame) -> DataFrame:
    """One row per user, source, target and day where the user's own retries ended well: count, last_used."""
    solved = turns.where(F.col("resolution").isNotNull() & (F.col("resolution.text") != F.col("effective_text")))
    return solved.groupBy(
        "user_id", F.col("effective_text").alias("source"), F.col("resolution.text").alias("target"), "day"
    ).agg(F.count(F.lit(1)).alias("count"), F.max("timestamp").alias("last_used"))
