"""Who and what looks like an attempt to teach everybody a lesson: listed for the operator, never used for learning."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mining.chain import is_burst
from mining.reformulations import CORRECTIVE


def suspects(pairs: DataFrame, burst_users: int, unshared_pairs: int) -> DataFrame:
    """kind, user, source, target, users, pairs.

    burst: a pair that `burst_users` or more users made on one day only; unshared: a user with at least
    `unshared_pairs` reformulations of which nobody else ever made one.
    """
    own = pairs.where(F.col("kind").isin(*CORRECTIVE, "new"))
    own = own.groupBy("source", "target", "user_id").agg(F.collect_set("day").alias("days"))
    shared = own.groupBy("source", "target").agg(
        F.count(F.lit(1)).alias("users"),
        F.size(F.array_distinct(F.flatten(F.collect_list("days")))).alias("days"),
        F.min("user_id").alias("user_id"),
    )
    bursts = shared.where(is_burst(burst_users))
    alone = _unshared(pairs, unshared_pairs)
    nobody, nothing = F.lit(None).cast("string"), F.lit(None).cast("string")
    count = F.lit(1).cast("long")
    found = bursts.select(
        F.lit("burst").alias("kind"), nobody.alias("user"), "source", "target", "users", count.alias("pairs")
    )
    return found.unionByName(
        alone.select(
            F.lit("unshared").alias("kind"),
            F.col("user_id").alias("user"),
            nothing.alias("source"),
            nothing.alias("target"),
            count.alias("users"),
            "pairs",
        )
    )


def _unshared(pairs: DataFrame, at_least: int) -> DataFrame:
    """user_id, pairs: users with many corrections, none of which anybody else made."""
    own = pairs.where(F.col("kind").isin(*CORRECTIVE)).select("source", "target", "user_id").distinct()
    common = own.groupBy("source", "target").agg(F.count(F.lit(1)).alias("users"), F.min("user_id").alias("user_id"))
    sole = common.where("users = 1").groupBy("user_id").agg(F.count(F.lit(1)).alias("sole"))
    every = own.groupBy("user_id").agg(F.count(F.lit(1)).alias("pairs"))
    return sole.join(every, "user_id").where((F.col("sole") == F.col("pairs")) & (F.col("pairs") >= at_least))
