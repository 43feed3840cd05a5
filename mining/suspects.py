"""Who and what looks like an attempt to teach everybody a lesson: listed for the operator, never used for learning."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mining.chain import is_burst
from mining.sums import summed


def suspects(shared: DataFrame, corrections: DataFrame, burst_users: int) -> DataFrame:
    """kind, user, source, target, users, pairs.

    burst: a pair that `burst_users` or more users made on one day only; unshared: a user with many corrections (all of
    `corrections`: those of users who have so many) of which nobody else ever made one.
    """
    lessons = summed(shared, "source", "target")
    bursts = lessons.where(is_burst(burst_users))
    alone = _unshared(lessons, corrections)
    text, one = F.lit(None).cast("string"), F.lit(1).cast("long")
    of_pairs = ("past", F.lit("burst").alias("kind"), text.alias("user"), "source", "target", "users")
    of_users = ("past", F.lit("unshared").alias("kind"), "user", text.alias("source"), text.alias("target"))
    found = bursts.select(*of_pairs, one.alias("pairs"))
    return found.unionByName(alone.select(*of_users, one.alias("users"), "pairs"))


def _unshared(lessons: DataFrame, corrections: DataFrame) -> DataFrame:
    """past, user, pairs: users none of whose corrections anybody else made."""
    sole = lessons.select("past", "source", "target", (F.col("correctors") == 1).alias("sole"))
    own = corrections.join(sole, ["past", "source", "target"])
    found = own.groupBy("past", "user").agg(F.count(F.lit(1)).alias("pairs"), F.every("sole").alias("alone"))
    return found.where("alone").drop("alone")
