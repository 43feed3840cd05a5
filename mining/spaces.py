"""The global space, each user's own space, and what became of every text that enough users asked for."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from mining.bounds import wilson_lower
from mining.chain import evidence_id
from mining.votes import MICRO, READING


def by_user(asks: DataFrame) -> DataFrame:
    """One row per text and user: turns, successes, success (share), success_days, last_success."""
    return asks.groupBy("text", "user_id").agg(
        F.sum("turns").alias("turns"),
        F.sum("successes").alias("successes"),
        (F.sum("success") / F.sum("turns") / MICRO).alias("success"),
        F.collect_set(F.when(F.col("successes") > 0, F.col("day"))).alias("success_days"),
        F.max("last_success").alias("last_success"),
    )


def modal_reading(asks: DataFrame, *keys: str) -> DataFrame:
    """The NLU reading with most successful turns for every `keys`; ties go to the smallest JSON."""
    counts = asks.where(F.col("successes") > 0).groupBy(*keys, *READING).agg(F.sum("successes").alias("n"))
    order = F.struct(-F.col("n"), F.to_json(F.struct(*READING)))
    return counts.groupBy(*keys).agg(F.min_by(F.struct(*READING), order).alias("reading"))


def _reading() -> list[Column]:
    return [F.col(f"reading.{name}").alias(name) for name in READING]


def _per_text(users: DataFrame) -> DataFrame:
    """One voice per user: rates are means over users of each one's own share."""
    rate = F.sum(F.round(F.col("success") * MICRO).cast("long")) / F.count(F.lit(1)) / MICRO
    happy = F.col("successes") > 0
    return users.groupBy("text").agg(
        F.sum(happy.cast("long")).alias("users"),
        F.size(F.array_distinct(F.flatten(F.collect_list("success_days")))).alias("days"),
        F.sum("turns").alias("count"),
        F.count(F.lit(1)).alias("askers"),
        rate.alias("success_rate"),
    )


def utterances(users: DataFrame, asks: DataFrame, min_users: int, min_days: int) -> DataFrame:
    """The global space: texts that succeeded for enough distinct users on enough days."""
    texts = _per_text(users).where((F.col("users") >= min_users) & (F.col("days") >= min_days))
    lower = F.round(wilson_lower(F.col("success_rate"), F.col("askers")), 6).alias("success_lower")
    readings = modal_reading(asks, "text")
    rate = F.round("success_rate", 6).alias("success_rate")
    return texts.join(readings, "text").select("text", *_reading(), "users", "days", "count", rate, lower)


def personal(users: DataFrame, asks: DataFrame) -> DataFrame:
    """Each user's own texts that worked for them at least once."""
    own = users.where(F.col("successes") > 0).join(modal_reading(asks, "user_id", "text"), ["user_id", "text"])
    rate = F.round("success", 6).alias("success_rate")
    names = F.col("user_id").alias("user"), "text", *_reading(), F.col("turns").alias("count")
    return own.select(*names, F.col("last_success").alias("last_used"), rate)


def text_outcomes(users: DataFrame, min_users: int) -> DataFrame:
    """Every text that at least `min_users` users asked for, good or bad: text, users, count, defect_rate."""
    texts = _per_text(users).where(F.col("askers") >= min_users)
    return texts.select(
        "text", F.col("askers").alias("users"), "count", F.round(1 - F.col("success_rate"), 6).alias("defect_rate")
    )


def personal_rewrites(resolutions: DataFrame) -> DataFrame:
    """What a user found for themselves: user, source, target, count, last_used."""
    keys = F.col("user_id").alias("user"), "source", "target"
    return resolutions.groupBy(*keys).agg(F.sum("count").alias("count"), F.max("last_used").alias("last_used"))


def reformulations(pairs: DataFrame, examples: int = 5) -> DataFrame:
    """The evidence for every pair: source, target, kind, users, days, count, examples, similarity, evidence_id."""
    users = pairs.groupBy("source", "target", "kind", "user_id").agg(
        F.sum("count").alias("count"),
        F.collect_set("day").alias("days"),
        F.min("example").alias("example"),
        F.max("similarity").alias("similarity"),
    )
    pairs = users.groupBy("source", "target", "kind").agg(
        F.count(F.lit(1)).alias("users"),
        F.size(F.array_distinct(F.flatten(F.collect_list("days")))).alias("days"),
        F.sum("count").alias("count"),
        F.slice(F.sort_array(F.collect_list("example")), 1, examples).alias("examples"),
        F.max("similarity").alias("similarity"),
    )
    return pairs.withColumn("evidence_id", evidence_id())
