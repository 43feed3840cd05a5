"""Adjacent requests of a session: of what kind the second is, and which kinds are evidence that the first failed."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from mining.sessions import in_user_order

KINDS = ("repetition", "correction", "rewording", "exploration", "continuation", "new")
CORRECTIVE = ("correction", "rewording")
"""Kinds that say how a failed request should have been put. A repetition says only that it failed."""

REWORDED = 0.35
"""Character similarity from which a follow-up to a failed request is one of its wordings."""
MISHEARD = 0.6
"""Character similarity from which it is the same words, heard again."""


def words(text: Column) -> Column:
    """Distinct words of a text."""
    return F.array_distinct(F.split(text, " "))


def with_kind(turns: DataFrame, gap_s: float) -> DataFrame:
    """Add `followup_kind`: null where no turn of the session followed within `gap_s`.

    Whole-term substitution after a turn that worked ("play jazz", "play rock") is exploration, not correction
    (Source: Hassan et al. 2014, Struggling or exploring?).
    """
    failed = F.col("defect_probability") >= 0.5
    similar = F.col("followup.similarity")
    mine, theirs = words(F.col("effective_text")), words(F.col("followup.text"))
    common = F.size(F.array_intersect(mine, theirs))
    same_skeleton = (F.abs(F.size(mine) - F.size(theirs)) <= 1) & (common >= 1) & (F.size(mine) - common <= 2)
    extends = (common == F.size(mine)) | (common == F.size(theirs))
    kind = (
        F.when(F.col("followup.text") == F.col("effective_text"), "repetition")
        .when(failed & (similar >= MISHEARD), "correction")
        .when(failed & ((similar >= REWORDED) | (common * 2 >= F.size(theirs))), "rewording")
        .when(~failed & same_skeleton, "exploration")
        .when(~failed & extends, "continuation")
        .otherwise("new")
    )
    near = F.col("followup").isNotNull() & (F.col("followup.gap_s") <= gap_s)
    return turns.withColumn("followup_kind", F.when(near, kind))


def with_resolution(turns: DataFrame, reach: int = 3) -> DataFrame:
    """Add `resolution`: the first of the next `reach` turns that worked, where every step to it was a retry.

    A struct of interaction_id and text; null where the turn itself worked or nobody found a way.
    """
    user = in_user_order()
    retried = F.col("followup_kind").isin(*CORRECTIVE, "repetition")
    found, still = F.lit(None), (F.col("defect_probability") >= 0.5) & retried
    turns = turns.withColumn("_retried", (F.col("defect_probability") >= 0.5) & retried)
    for step in range(1, reach + 1):
        ahead = F.lead(F.struct("interaction_id", F.col("effective_text").alias("text")), step).over(user)
        works = F.lead("defect_probability", step).over(user) < 0.5
        found = F.coalesce(found, F.when(still & works, ahead))
        still = still & F.lead("_retried", step).over(user)
    return turns.withColumn("resolution", found).drop("_retried")
