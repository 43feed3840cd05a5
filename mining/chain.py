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

EVIDENCE = ("users", "days", "count", "alike")
"""What is carried along a path: of its weakest move, and over several paths of the best."""

Keep = Callable[[DataFrame], DataFrame]

LIFT = 20.0
"""How many times more often than by chance an unlike text must follow a failure to be a way of putting it right."""

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


def edges(moves: DataFrame, texts: DataFrame, min_users: int, burst_users: int = 1 << 30) -> DataFrame:
    """source, target, q, users, days, count, alike: moves to another text that at least `min_users` users made.

    `q` is the probability of the move once repeats of the source are over. Texts that are not alike must follow each
    other `LIFT` times as often as chance has it. What `burst_users` or more made on one single day and never again is
    not believed. What the moves that are left out weigh counts as failure.
    """
    joined = _per_pair(moves).where((F.col("users") >= min_users) & ~is_burst(burst_users))
    source = texts.select(F.col("text").alias("source"), "votes", "repeat")
    target = texts.select(F.col("text").alias("target"), F.col("votes").alias("target_votes"))
    total = texts.agg(F.sum("votes").alias("total"))
    joined = joined.join(source, "source").join(target, "target").crossJoin(F.broadcast(total))
    by_chance = F.col("target_votes") / F.col("total")
    share = F.col("weight") / MICRO / F.col("votes")
    joined = joined.where(F.col("alike") | (share >= LIFT * by_chance))
    q = share / (1 - F.least("repeat", F.lit(0.999)))
    return joined.select("source", "target", q.alias("q"), "users", "days", "count", "alike")


def is_burst(burst_users: int) -> Column:
    """Whether a pair's evidence is of one day only, yet of many users."""
    return (F.col("users") >= burst_users) & (F.col("days") <= 1)


def _per_pair(moves: DataFrame) -> DataFrame:
    """Evidence of every move: weight (millionths of votes), count, users, days, alike."""
    away = F.explode(F.filter("moves", lambda m: m["target"] != F.col("source"))).alias("m")
    each = moves.select("source", "user_id", "day", "turns", away)
    target, weight = F.col("m.target").alias("target"), (F.col("m.p") / F.col("turns")).cast("long")
    each = each.groupBy("source", target, "user_id", "day").agg(
        F.sum(weight).alias("weight"), F.count(F.lit(1)).alias("count"), F.max("m.alike").alias("alike")
    )
    each = each.groupBy("source", "target", "user_id").agg(
        F.sum("weight").alias("weight"),
        F.sum("count").alias("count"),
        F.collect_set("day").alias("days"),
        F.max("alike").alias("alike"),
    )
    return each.groupBy("source", "target").agg(
        F.sum("weight").alias("weight"),
        F.sum("count").alias("count"),
        F.count(F.lit(1)).alias("users"),
        F.size(F.array_distinct(F.flatten(F.collect_list("days")))).alias("days"),
        F.max("alike").alias("alike"),
    )


def step(paths: DataFrame, edges: DataFrame, min_reach: float) -> DataFrame:
    """Paths one move longer: source, target, reach, and the weakest evidence along the best way."""
    on = edges.select(
        F.col("source").alias("via"),
        F.col("target").alias("next"),
        "q",
        *(F.col(c).alias(f"e_{c}") for c in EVIDENCE),
    )
    longer = paths.withColumnRenamed("target", "via").join(on, "via")
    longer = longer.select(
        "source",
        F.col("next").alias("target"),
        F.round(F.col("reach") * F.col("q") * SCALE).cast("long").alias("reach"),
        *(F.least(c, f"e_{c}").alias(c) for c in EVIDENCE),
    )
    return _merged(longer, F.col("reach")).where(F.col("reach") >= min_reach)


def _merged(paths: DataFrame, billionths: Column) -> DataFrame:
    best = (F.max(c).alias(c) for c in EVIDENCE)
    return paths.groupBy("source", "target").agg((F.sum(billionths) / SCALE).alias("reach"), *best)


def reachable(edges: DataFrame, steps: int, min_reach: float, keep: Keep = lambda paths: paths) -> DataFrame:
    """source, target, reach (expected arrivals at the target), users, days, count, by paths of at most `steps` moves.

    Paths thinner than `min_reach` are not followed, so reach is a lower bound of the exact one. `keep` may store each
    step's paths, so that the next step does not compute them again.
    """
    first = edges.select("source", "target", F.col("q").alias("reach"), *EVIDENCE)
    walked = [first.where(F.col("reach") >= min_reach)]
    for _ in range(steps - 1):
        walked.append(keep(step(walked[-1], edges, min_reach)))
    every = reduce(DataFrame.unionByName, walked)
    return _merged(every, F.round(F.col("reach") * SCALE).cast("long"))


def rewrites(reach: DataFrame, texts: DataFrame, per_source: int, min_success: float) -> DataFrame:
    """The table `rewrites`: the `per_source` best targets of every source by worth = reach x success.

    A target that succeeds less often than `min_success`, or no more often than the source, is no way out and is left
    out. lower_bound multiplies the one-sided 95 % bounds of both factors, by the source's votes and the target's users.
    """
    joined = reach.where(F.col("source") != F.col("target")).join(_as_target(texts), "target")
    joined = joined.join(_as_source(texts), "source")
    joined = joined.where(F.col("success") >= F.greatest(F.lit(min_success), 1 - F.col("source_defect_rate")))
    arrives = wilson_lower(F.least("reach", F.lit(1.0)), F.col("votes"))
    joined = joined.withColumns(
        {
            "worth": F.round(F.col("reach") * F.col("success"), 6),
            "lower_bound": F.round(arrives * wilson_lower(F.col("success"), F.col("target_users")), 6),
            "evidence_id": evidence_id(),
            "rule": F.when(F.col("alike"), "similar").otherwise("association"),
        }
    )
    columns = REWRITES[1:]
    best = F.sort_array(F.collect_list(F.struct((-F.col("worth")).alias("order"), *columns)))
    ranked = joined.groupBy("source").agg(F.slice(best, 1, per_source).alias("best"))
    ranked = ranked.select("source", F.explode("best").alias("b")).select("source", *(f"b.{c}" for c in columns))
    return ranked.withColumns({c: F.round(c, 6) for c in ("reach", "success", "source_defect_rate")}).select(*REWRITES)


def _as_target(texts: DataFrame) -> DataFrame:
    """target, success (once its repeats are over), target_users."""
    after_repeats = F.col("success") / (1 - F.least("repeat", F.lit(0.999)))
    success = F.least(after_repeats, F.lit(1.0)).alias("success")
    return texts.select(F.col("text").alias("target"), success, F.col("users").alias("target_users"))


def _as_source(texts: DataFrame) -> DataFrame:
    """source, votes, source_count, source_defect_rate."""
    defect_rate = (1 - F.col("success")).alias("source_defect_rate")
    return texts.select(F.col("text").alias("source"), "votes", "source_count", defect_rate)


REWRITES = (
    *("source", "target", "reach", "success", "worth", "lower_bound", "users", "days", "count", "source_count"),
    *("source_defect_rate", "evidence_id", "rule"),
)


def evidence_id() -> Column:
    """A pair's name: 16 hexadecimal digits that its evidence in `reformulations` carries too."""
    return F.substring(F.sha2(F.concat_ws("\u241f", "source", "target"), 256), 1, 16)
