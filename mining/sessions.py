"""Turns in their order: sessions, gaps and the follow-up, by window functions over one sorted partition per user."""

from pyspark.sql import Column, DataFrame, Window, WindowSpec
from pyspark.sql import functions as F

from mining.texts import normalised


def in_user_order() -> WindowSpec:
    """The one window of mining: Spark shuffles and sorts once, whatever is computed over it."""
    return Window.partitionBy("user_id").orderBy("timestamp", "interaction_id")


def _so_far() -> WindowSpec:
    return in_user_order().rowsBetween(Window.unboundedPreceding, Window.currentRow)


def seconds(timestamp: Column) -> Column:
    """Seconds since 1970 with microseconds, double."""
    return F.unix_micros(timestamp) / F.lit(1e6)


def with_effective_text(rows: DataFrame, plain_only: bool = False) -> DataFrame:
    """Add `effective_text`: the text that the assistant acted on, so the one that the turn's outcome belongs to.

    `plain_only` says that no rewrite holds anything but plain text (see `mining.texts`).
    """
    acted = F.col("rewrite.text").isNotNull() & ~F.coalesce(F.col("rewrite.holdout"), F.lit(False))
    rewritten = normalised(F.when(acted, F.col("rewrite.text")), plain_only)
    return rows.withColumn("effective_text", F.when(F.length(rewritten) > 0, rewritten).otherwise(F.col("text")))


def with_sessions(rows: DataFrame, gap_s: float, split_at: str | None = None) -> DataFrame:
    """Add session_id, turn_index, gap_s, next_gap_s, user_day_rank (1-based) and `_last` (of its session).

    A session ends after `gap_s` of silence, and at `split_at` (ISO time): what came before the split then
    never sees what came after it.
    """
    user, so_far = in_user_order(), _so_far()
    now = F.col("timestamp")
    side = (now >= F.lit(split_at).cast("timestamp")) if split_at else F.lit(True)
    rows = rows.withColumn("_side", side).withColumn("_day", F.to_date(now)).withColumn("_n", F.row_number().over(user))
    rows = rows.withColumn("gap_s", seconds(now) - seconds(F.lag(now).over(user)))
    rows = rows.withColumn("next_gap_s", seconds(F.lead(now).over(user)) - seconds(now))
    starts = F.col("gap_s").isNull() | (F.col("gap_s") > gap_s) | (F.lag("_side").over(user) != F.col("_side"))
    rows = rows.withColumn("_start", starts).withColumn("_dawn", ~F.lag("_day").over(user).eqNullSafe(F.col("_day")))
    first_n = F.last(F.when(F.col("_start"), F.col("_n")), True).over(so_far)
    dawn_n = F.last(F.when(F.col("_dawn"), F.col("_n")), True).over(so_far)
    session = F.last(F.when(F.col("_start"), F.col("interaction_id")), True).over(so_far)
    rows = rows.withColumn("session_id", session).withColumn("turn_index", (F.col("_n") - first_n).cast("int"))
    rows = rows.withColumn("user_day_rank", F.col("_n") - dawn_n + 1)
    rows = rows.withColumn("_last", F.coalesce(F.lead("_start").over(user), F.lit(True)))
    return rows.drop("_side", "_day", "_n", "_start", "_dawn")


def with_followup(rows: DataFrame, gap_s: float) -> DataFrame:
    """Add `followup`: the next turn of the session where it came within `gap_s`, null otherwise.

    A struct of interaction_id, text (the user's own words), effective_text, gap_s and similarity in [0, 1].
    """
    user = in_user_order()
    near = ~F.col("_last") & (F.col("next_gap_s") <= gap_s)
    names = ("interaction_id", "text", "effective_text", "intent")
    following = [F.lead(name).over(user).alias(name) for name in names]
    rows = rows.withColumn("_next", F.struct(*following))
    similar = similarity(F.col("text"), F.col("_next.text")).alias("similarity")
    followup = F.struct(*(F.col(f"_next.{name}") for name in names), F.col("next_gap_s").alias("gap_s"), similar)
    return rows.withColumn("followup", F.when(near, followup)).drop("_next")


def similarity(left: Column, right: Column) -> Column:
    """1 - edit distance / longer length, by characters: 1 for equal texts, rounded to four places."""
    longer = F.greatest(F.char_length(left), F.char_length(right))
    return F.round(1 - F.levenshtein(left, right) / longer, 4)
