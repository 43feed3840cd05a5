"""The global space, and what became of every text that enough users asked for."""

from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mining.bounds import wilson_lower
from mining.chain import evidence_id
from mining.readings import READING
from mining.sums import summed
from mining.votes import MICRO

_READING_TYPE = "domain string, intent string, slots array<struct<name: string, value: string>>"


def texts(parts: DataFrame) -> DataFrame:
    """past, text, askers, happy, days, turns and success_rate (one voice per user)."""
    return summed(parts, "text").withColumn("success_rate", F.col("rate") / F.col("askers") / MICRO)


def utterances(texts: DataFrame, readings: DataFrame, min_users: int, min_days: int) -> DataFrame:
    """The global space: texts that succeeded for enough distinct users on enough days."""
    found = texts.where((F.col("happy") >= min_users) & (F.col("days") >= min_days))
    known = readings.join(found.select("past", "text"), ["past", "text"], "left_semi")
    rate = F.round("success_rate", 6).alias("success_rate")
    lower = F.round(wilson_lower(F.col("success_rate"), F.col("askers")), 6).alias("success_lower")
    numbers = (F.col("happy").alias("users"), "days", F.col("turns").alias("count"), rate, lower)
    joined = found.join(modal_reading(known), ["past", "text"])
    return joined.select("past", "text", *(f"reading.{name}" for name in READING), *numbers)


def modal_reading(readings: DataFrame) -> DataFrame:
    """The reading with most successful turns of every text; ties go to the smallest JSON."""
    order = F.struct(-F.col("n"), "reading")
    modal = summed(readings, "text", "reading").groupBy("past", "text").agg(F.min_by("reading", order).alias("json"))
    return modal.select("past", "text", F.from_json("json", _READING_TYPE).alias("reading"))


def text_outcomes(texts: DataFrame, least_users: int) -> DataFrame:
    """Every text that at least `least_users` users asked for, good or bad: text, users, count, defect_rate."""
    rate = F.round(1 - F.col("success_rate"), 6).alias("defect_rate")
    found = texts.where(F.col("askers") >= least_users)
    return found.select("past", "text", F.col("askers").alias("users"), F.col("turns").alias("count"), rate)


def reformulations(pairs: DataFrame) -> DataFrame:
    """The evidence for every pair: source, target, kind, users, days, count, examples, similarity, evidence_id."""
    found = summed(pairs, "source", "target", "kind", maxima=("similarity",)).withColumn("evidence_id", evidence_id())
    return found.select("past", *REFORMULATIONS)


REFORMULATIONS = ("source", "target", "kind", "users", "days", "count", "examples", "similarity", "evidence_id")
