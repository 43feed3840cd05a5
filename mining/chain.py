"""The Markov chain over reformulations: how likely a request ends in which text's success.

States are texts; success at a text and failure absorb. With Q the moves between texts and R the successes,
N = (I - Q)^-1 and B = N R. Source: Ponnusamy et al. 2019, Feedback-based self-learning in large-scale conversational
AI agents. It differs in how N is found: repeats of a text are solved in closed form (Q = D + O, N = (I - (I-D)^-1 O)^-1
(I-D)^-1), and the rest by a bounded number of steps in DataFrames, so that no graph ever reaches the driver.
"""

from collections.abc import Callable
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from mining.bounds import wilson_lower
from mining.votes import MICRO

Keep = Callable[[DataFrame], DataFrame]

SCALE = 1_000_000_000
"""Reach is summed in whole billionths: the same bytes, whatever the order."""


def nodes(moves: DataFrame) -> DataFrame:
    """text, votes (user-days), users, source_count (turns), success (share of votes), repeat (share)."""
    repeats = F.filter("moves", lambda m: m["target"] == F.col("source"))
    repeated = F.aggregate(repeats, F.lit(0).cast("long"), lambda total, m: total + m["p"])
    shares = moves.select(
        "source",
        "user_id",
        "turns",
        (F.col("success") / F.col("turns")).cast("long").alias("success"),
        (repeated / F.col("turns")).cast("long").alias("repeat"),
    )
    per_user = shares.groupBy("source", "user_id").agg(
        F.sum("turns").alias("turns"),
        F.count(F.lit(1)).alias("votes"),
        F.sum("success").alias("success"),
        F.sum("repeat").alias("repeat"),
    )
    return per_user.groupBy(F.col("source").alias("text")).agg(
        F.sum("votes").alias("votes"),
        F.count(F.lit(1)).alias("users"),
        F.sum("turns").alias("source_count"),
        (F.sum("success") / F.sum("votes") / MICRO).alias("success"),
        (F.sum("repeat") / F.sum("votes") / MICRO).alias("repeat"),
    )


def edges(moves: DataFrame, texts: DataFrame, min_users: int) -> DataFrame:
    """source, target, q, users, days, count: moves to another text that at least `min_users` users made.

    `q` is the probability of the move once repeats of the source are over. The moves of too few users leave the chain:
    what they weigh counts as failure.
    """
    each = moves.select(
        "source",
        "user_id",
        "day",
        "turns",
        F.explode(F.filter("moves", lambda m: m["target"] != F.col("source"))).alias("m"),
    )
    each = each.groupBy("source", F.col("m.target").alias("target"), "user_id", "day").agg(
        F.sum((F.col("m.p") / F.col("turns")).cast("long")).alias("weight"), F.count(F.lit(1)).alias("count")
    )
    each = each.groupBy("source", "target", "user_id").agg(
        F.sum("weight").alias("weight"), F.sum("count").alias("count"), F.collect_set("day").alias("days")
    )
    joined = each.groupBy("source", "target").agg(
        F.sum("weight").alias("weight"),
        F.sum("count").alias("count"),
        F.count(F.lit(1)).alias("users"),
        F.size(F.array_distinct(F.flatten(F.collect_list("days")))).alias("days"),
    )
    joined = joined.where(F.col("users") >= min_users)
    source = texts.select(F.col("text").alias("source"), "votes", "repeat")
    q = F.col("weight") / MICRO / F.col("votes") / (1 - F.least("repeat", F.lit(0.999)))
    return joined.join(source, "source").select("source", "target", q.alias("q"), "users", "days", "count")


def step(paths: DataFrame, edges: DataFrame, min_reach: float) -> DataFrame:
    """Paths one move longer: source, target, reach, and the weakest evidence along the best way."""
    on = edges.select(
        F.col("source").alias("via"),
        F.col("target").alias("next"),
        "q",
        *(F.col(c).alias(f"e_{c}") for c in ("users", "days", "count")),
    )
    longer = paths.withColumnRenamed("target", "via").join(on, "via")
    longer = longer.select(
        "source",
        F.col("next").alias("target"),
        F.round(F.col("reach") * F.col("q") * SCALE).cast("long").alias("reach"),
        *(F.least(c, f"e_{c}").alias(c) for c in ("users", "days", "count")),
    )
    return _merged(longer, F.col("reach")).where(F.col("reach") >= min_reach)


def _merged(paths: DataFrame, billionths: Column) -> DataFrame:
    best = (F.max(c).alias(c) for c in ("users", "days", "count"))
    return paths.groupBy("source", "target").agg((F.sum(billionths) / SCALE).alias("reach"), *best)


def reachable(edges: DataFrame, steps: int, min_reach: float, keep: Keep = lambda paths: paths) -> DataFrame:
    """source, target, reach (expected arrivals at the target), users, days, count, by paths of at most `steps` moves.

    Paths thinner than `min_reach` are not followed, so reach is a lower bound of the exact one. `keep` may store each
    step's paths, so that the next step does not compute them again.
    """
    first = edges.select("source", "target", F.col("q").alias("reach"), "users", "days", "count")
    walked = [first.where(F.col("reach") >= min_reach)]
    for _ in range(steps - 1):
        walked.append(keep(step(walked[-1], edges, min_reach)))
    every = reduce(DataFrame.unionByName, walked)
    return _merged(every, F.round(F.col("reach") * SCALE).cast("long"))


def rewrites(reach: DataFrame, texts: DataFrame, per_source: int) -> DataFrame:
    """The table `rewrites`: the `per_source` best targets of every source by worth = reach x success.

    lower_bound multiplies the one-sided 95 % bounds of both factors, by the source's votes and the target's users.
    """
    target = texts.select(
        F.col("text").alias("target"),
        F.least(F.col("success") / (1 - F.least("repeat", F.lit(0.999))), F.lit(1.0)).alias("success"),
        F.col("users").alias("target_users"),
    )
    source = texts.select(
        F.col("text").alias("source"), "votes", "source_count", (1 - F.col("success")).alias("source_defect_rate")
    )
    joined = reach.where(F.col("source") != F.col("target")).join(target, "target").join(source, "source")
    bound = wilson_lower(F.least("reach", F.lit(1.0)), F.col("votes")) * wilson_lower(
        F.col("success"), F.col("target_users")
    )
    joined = joined.withColumn("worth", F.round(F.col("reach") * F.col("success"), 6))
    joined = joined.withColumn("lower_bound", F.round(bound, 6)).withColumn("evidence_id", evidence_id())
    best = F.sort_array(F.collect_list(F.struct((-F.col("worth")).alias("order"), *REWRITES[1:])))
    ranked = joined.select("source", *REWRITES[1:]).groupBy("source").agg(F.slice(best, 1, per_source).alias("best"))
    ranked = ranked.select("source", F.explode("best").alias("b")).select("source", *(f"b.{c}" for c in REWRITES[1:]))
    rounded = {c: F.round(c, 6) for c in ("reach", "success", "source_defect_rate")}
    return ranked.withColumns(rounded).select(*REWRITES)


REWRITES = (
    "source",
    "target",
    "reach",
    "success",
    "worth",
    "lower_bound",
    "users",
    "days",
    "count",
    "source_count",
    "source_defect_rate",
    "evidence_id",
)


def evidence_id() -> Column:
    """A pair's name: 16 hexadecimal digits that its evidence in `reformulations` carries too."""
    return F.substring(F.sha2(F.concat_ws("\u241f", "source", "target"), 256), 1, 16)
