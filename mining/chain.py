"""The Markov chain over reformulations: how likely a request ends in which text's success.

States are texts, or the NLU's readings of them; success at a state and failure absorb. With Q the moves between states
and R the successes, N = (I - Q)^-1 and B = N R. Source: Ponnusamy et al. 2019, Feedback-based self-learning in
large-scale conversational AI agents. It differs in how N is found: repeats of a state are solved in closed form
(Q = D + O, N = (I - (I-D)^-1 O)^-1 (I-D)^-1), and the rest by a bounded number of steps in DataFrames, so that no graph
ever reaches the driver.
"""

from collections.abc import Callable
from functools import reduce

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

from mining.bounds import wilson_lower
from mining.sums import summed
from mining.votes import MICRO, READ_AS

EVIDENCE = ("users", "days", "count", "alike")
"""What is carried along a path: of its weakest move, and over several paths of the best."""

Keep = Callable[[DataFrame], DataFrame]

LIFT = 20.0
"""How many times more often than by chance an unlike text must follow a failure to be a way of putting it right."""

SCALE = 1_000_000_000
"""Reach is summed in whole billionths: the same bytes, whatever the order."""


def nodes(parts: DataFrame) -> DataFrame:
    """past, text (the state), votes (user-days), users, source_count (turns), success and repeat (shares of votes)."""
    shares = [(F.col(name) / F.col("votes") / MICRO).alias(name) for name in ("success", "repeat")]
    return summed(parts, "text").select(
        "past", "text", "votes", F.col("askers").alias("users"), "source_count", *shares
    )


def edges(moves: DataFrame, texts: DataFrame, min_users: int, min_days: int, burst_users: int = 1 << 30) -> DataFrame:
    """past, source, target, q, users, days, count, alike: moves to another text that enough users made on enough days.

    `q` is the probability of the move once repeats of the source are over. Texts that are not alike must follow each
    other `LIFT` times as often as chance has it. What `burst_users` or more made on one single day and never again is
    not believed. What the moves that are left out weigh counts as failure.
    """
    joined = summed(moves, "source", "target", maxima=("alike",))
    joined = joined.where((F.col("users") >= min_users) & (F.col("days") >= min_days) & ~is_burst(burst_users))
    source = texts.select("past", F.col("text").alias("source"), "votes", "repeat")
    target = texts.select("past", F.col("text").alias("target"), F.col("votes").alias("target_votes"))
    total = texts.groupBy("past").agg(F.sum("votes").alias("total"))
    joined = joined.join(source, ["past", "source"]).join(target, ["past", "target"]).join(F.broadcast(total), "past")
    by_chance = F.col("target_votes") / F.col("total")
    share = F.col("weight") / MICRO / F.col("votes")
    joined = joined.where(F.col("alike") | (share >= LIFT * by_chance))
    q = share / (1 - F.least("repeat", F.lit(0.999)))
    return joined.select("past", "source", "target", q.alias("q"), "users", "days", "count", "alike")


def is_burst(burst_users: int) -> Column:
    """Whether a pair's evidence is of one day only, yet of many users."""
    return (F.col("users") >= burst_users) & (F.col("days") <= 1)


def step(paths: DataFrame, edges: DataFrame, min_reach: float) -> DataFrame:
    """Paths one move longer: source, target, reach, and the weakest evidence along the best way."""
    on = edges.select(
        "past",
        F.col("source").alias("via"),
        F.col("target").alias("next"),
        "q",
        *(F.col(c).alias(f"e_{c}") for c in EVIDENCE),
    )
    longer = paths.withColumnRenamed("target", "via").join(on, ["past", "via"])
    longer = longer.select(
        "past",
        "source",
        F.col("next").alias("target"),
        F.round(F.col("reach") * F.col("q") * SCALE).cast("long").alias("reach"),
        *(F.least(c, f"e_{c}").alias(c) for c in EVIDENCE),
    )
    return _merged(longer, F.col("reach")).where(F.col("reach") >= min_reach)


def _merged(paths: DataFrame, billionths: Column) -> DataFrame:
    best = (F.max(c).alias(c) for c in EVIDENCE)
    return paths.groupBy("past", "source", "target").agg((F.sum(billionths) / SCALE).alias("reach"), *best)


def reachable(edges: DataFrame, steps: int, min_reach: float, keep: Keep = lambda paths: paths) -> DataFrame:
    """source, target, reach (expected arrivals at the target), users, days, count, by paths of at most `steps` moves.

    Paths thinner than `min_reach` are not followed, so reach is a lower bound of the exact one. `keep` may store each
    step's paths, so that the next step does not compute them again.
    """
    first = edges.select("past", "source", "target", F.col("q").alias("reach"), *EVIDENCE)
    walked = [first.where(F.col("reach") >= min_reach)]
    for _ in range(steps - 1):
        walked.append(keep(step(walked[-1], edges, min_reach)))
    every = reduce(DataFrame.unionByName, walked)
    return _merged(every, F.round(F.col("reach") * SCALE).cast("long"))


def surfaces(members: DataFrame, texts: DataFrame) -> DataFrame:
    """past, state, text, surface: the texts of every reading, and the one that worked for most users, to stand for all.

    A text belongs to the reading that it has most often; ties go to the smaller name.
    """
    own = summed(members, "state", "text").groupBy("past", "text")
    own = own.agg(F.min_by("state", F.struct(-F.col("n"), "state")).alias("state"))
    order = F.struct(-F.col("happy"), -F.col("turns"), "text")
    best = own.join(texts, ["past", "text"]).groupBy("past", "state").agg(F.min_by("text", order).alias("surface"))
    return own.join(best, ["past", "state"]).select("past", "state", "text", "surface")


def spoken(rewrites: DataFrame, surfaces: DataFrame) -> DataFrame:
    """`rewrites` between states as rewrites between texts: of every text of the source to the surface of the target."""
    said = surfaces.select("past", F.col("state").alias("source"), F.col("text").alias("said"))
    meant = surfaces.select("past", F.col("state").alias("target"), "surface").distinct()
    found = rewrites.join(said, ["past", "source"], "left").join(meant, ["past", "target"], "left")
    found = found.withColumns({"source": F.coalesce("said", "source"), "target": F.coalesce("surface", "target")})
    lost = F.col("source").startswith(READ_AS) | F.col("target").startswith(READ_AS)
    found = found.where((F.col("source") != F.col("target")) & ~lost).withColumn("evidence_id", evidence_id())
    every = F.struct(-F.col("worth"), *REWRITES[2:])
    best = found.groupBy("past", "source", "target").agg(F.min_by(F.struct(*REWRITES[2:]), every).alias("b"))
    return best.select("past", "source", "target", "b.*")


def rewrites(reach: DataFrame, texts: DataFrame, per_source: int, min_success: float) -> DataFrame:
    """The table `rewrites`: the `per_source` best targets of every source by worth = reach x success.

    A target that succeeds less often than `min_success`, or no more often than the source, is no way out and is left
    out. lower_bound multiplies the one-sided 95 % bounds of both factors, by the source's votes and the target's users.
    """
    joined = reach.where(F.col("source") != F.col("target")).join(_as_target(texts), ["past", "target"])
    joined = joined.join(_as_source(texts), ["past", "source"])
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
    ranked = joined.groupBy("past", "source").agg(F.slice(best, 1, per_source).alias("best"))
    ranked = ranked.select("past", "source", F.explode("best").alias("b"))
    ranked = ranked.select("past", "source", *(f"b.{c}" for c in columns))
    rounded = {c: F.round(c, 6) for c in ("reach", "success", "source_defect_rate")}
    return ranked.withColumns(rounded).select("past", *REWRITES)


def _as_target(texts: DataFrame) -> DataFrame:
    """target, success (once its repeats are over), target_users."""
    after_repeats = F.col("success") / (1 - F.least("repeat", F.lit(0.999)))
    success = F.least(after_repeats, F.lit(1.0)).alias("success")
    return texts.select("past", F.col("text").alias("target"), success, F.col("users").alias("target_users"))


def _as_source(texts: DataFrame) -> DataFrame:
    """source, votes, source_count, source_defect_rate."""
    defect_rate = (1 - F.col("success")).alias("source_defect_rate")
    return texts.select("past", F.col("text").alias("source"), "votes", "source_count", defect_rate)


REWRITES = (
    *("source", "target", "reach", "success", "worth", "lower_bound", "users", "days", "count", "source_count"),
    *("source_defect_rate", "evidence_id", "rule"),
)


def evidence_id() -> Column:
    """A pair's name: 16 hexadecimal digits that its evidence in `reformulations` carries too."""
    return F.substring(F.sha2(F.concat_ws("\u241f", "source", "target"), 256), 1, 16)
