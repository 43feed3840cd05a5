"""Bad rows: each gets one reason, and duplicates lose to the first of their id."""

from functools import reduce

from pyspark.sql import Column, DataFrame, Window
from pyspark.sql import functions as F

from mining.texts import is_plain, normalised
from rewrite.text import MAX_CHARS, USER_SEPARATOR

ODD = "not plain text"
"""A reason that never reaches a table: such rows are judged again, with Python."""

DUPLICATE = "duplicate interaction_id"

OUTSIDE = {name: f"{name} outside 0 to 1: is it in per cent?" for name in ("asr_confidence", "nlu_confidence")}
"""Reasons of confidences that are none."""

_LONE_SURROGATE = r"\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB][0-9a-fA-F]{2})\\u[dD][c-fC-F]"
"""A JSON escape of half a character: Java would turn it into a question mark without a word."""

_STRINGS = ("interaction_id", "user_id", "utterance", "response", "status", "domain", "intent", "device", "locale")


def judged(rows: DataFrame, plain_only: bool = False) -> DataFrame:
    """`rows` with `text` (normalised) and `reason` (null: a good row).

    With `plain_only` rows of other than plain text get the reason ODD: a first look that starts no Python.
    `rows` has the log's columns; `_raw`, the line of JSON, and `_malformed` where the input was JSON.
    """
    early = _early_reason("_raw" in rows.columns, _valid_utf8())
    rows = rows.withColumn("_early", early)
    good = F.col("_early").isNull()
    rows = rows.withColumn("text", normalised(F.when(good, F.col("utterance")), plain_only))
    odd = F.when(F.col("text").isNull() | ~is_plain(F.col("rewrite.text")), ODD) if plain_only else F.lit(None)
    rows = rows.withColumn("reason", F.coalesce("_early", F.when(good, F.coalesce(odd, _text_reason(F.col("text"))))))
    return rows.drop("_early", "_malformed")


def glanced_at(rows: DataFrame) -> DataFrame:
    """`rows` with `reason` as far as it shows without reading any text: bytes and texts are judged by whoever does."""
    return rows.withColumn("reason", _early_reason("_raw" in rows.columns, F.lit(True)))


def doubtful(rows: DataFrame) -> DataFrame:
    """The rows that may be bad, and few others: Python need not judge the rest."""
    text = normalised(F.col("utterance"), plain_only=True)
    early = _early_reason("_raw" in rows.columns, _valid_utf8())
    return rows.where(early.isNotNull() | text.isNull() | _text_reason(text).isNotNull())


def blanked(rows: DataFrame) -> DataFrame:
    """Judged rows without what bad ones hold, which may be no text at all."""
    keep = F.col("reason").isNull()
    return rows.select(*(c if c == "reason" else F.when(keep, F.col(c)).alias(c) for c in rows.columns))


def _early_reason(from_json: bool, valid: Column) -> Column:
    """What is wrong before any text is looked into: these rows must not reach Python. `valid`: whether it is UTF-8."""
    reason = F.when(F.lit(False), F.lit(""))
    if from_json:
        reason = reason.when(~F.is_valid_utf8("_raw"), "invalid UTF-8")
        reason = reason.when(F.col("_malformed").isNotNull(), "not a JSON object of the log's columns")
        reason = reason.when(F.col("_raw").rlike(_LONE_SURROGATE), "lone surrogate")
    blank = {name: F.col(name).isNull() | (F.trim(F.col(name)) == "") for name in ("interaction_id", "user_id")}
    control = F.col("user_id").rlike(f"[\\x00-\\x1f\\x7f{USER_SEPARATOR}]")
    return (
        reason.when(~valid, "invalid UTF-8")
        .when(blank["interaction_id"], "missing interaction_id")
        .when(blank["user_id"], "missing user_id")
        .when(control, "control character in user_id")
        .when(F.col("timestamp").isNull() | (F.year("timestamp") < 1990), "missing or unparsable timestamp")
        .when(F.col("utterance").isNull(), "empty utterance")
        .when(F.contains("utterance", F.lit("\ufffd")), "invalid UTF-8")
        .when(_outside("asr_confidence"), OUTSIDE["asr_confidence"])
        .when(_outside("nlu_confidence"), OUTSIDE["nlu_confidence"])
    )


def _outside(name: str) -> Column:
    """Whether a confidence is no share; NaN, which Spark orders above all numbers, is as good as none."""
    return (F.col(name) < 0) | ((F.col(name) > 1) & ~F.isnan(name))


def _valid_utf8() -> Column:
    """Whether every string of the row is UTF-8: parquet promises it and nothing enforces it."""
    lists = (F.array_join(name, "") for name in ("asr_nbest", "slots.name", "slots.value"))
    return reduce(
        Column.__and__, (F.coalesce(F.is_valid_utf8(c), F.lit(True)) for c in (*_STRINGS, *lists, "rewrite.text"))
    )


def _text_reason(text: Column) -> Column:
    long = F.concat(F.lit("utterance of "), F.char_length(text).cast("string"), F.lit(f" characters, over {MAX_CHARS}"))
    return F.when(text == "", "empty utterance").when(F.char_length(text) > MAX_CHARS, long)


def looked_at(rows: DataFrame) -> DataFrame:
    """One row per kind of reason (null: good): rows, first and last (microseconds), twice (ids seen more than once).

    Eight bytes of an id travel instead of the row; a collision of hashes only makes a few rows be looked at again.
    """
    # a length in the reason would make every over-long row a kind of its own
    kind = F.regexp_replace("reason", r"of \d+ characters", "of too many characters").alias("kind")
    id_hash = F.when(F.col("reason").isNull(), F.xxhash64("interaction_id")).alias("id_hash")
    per_id = rows.groupBy(kind, id_hash).agg(
        F.count(F.lit(1)).alias("rows"), F.min("timestamp").alias("first"), F.max("timestamp").alias("last")
    )
    return per_id.groupBy("kind").agg(
        F.sum("rows").alias("rows"),
        F.unix_micros(F.min("first")).alias("first"),
        F.unix_micros(F.max("last")).alias("last"),
        F.sum((F.col("id_hash").isNotNull() & (F.col("rows") > 1)).cast("long")).alias("twice"),
    )


def id_hashes_seen_twice(rows: DataFrame) -> DataFrame:
    """Hashes of the interaction ids that occur more than once among good rows: none in a sound log."""
    good = rows.where(F.col("reason").isNull())
    counted = good.groupBy(F.xxhash64("interaction_id").alias("id_hash")).agg(F.count(F.lit(1)).alias("rows"))
    return counted.where("rows > 1").select("id_hash")


def without_duplicates(rows: DataFrame, id_hashes: DataFrame) -> DataFrame:
    """`rows` in which of each id only its first row (by time, user, then content) stays good."""
    suspect = rows.withColumn("id_hash", F.when(F.col("reason").isNull(), F.xxhash64("interaction_id")))
    sound = suspect.join(F.broadcast(id_hashes), "id_hash", "left_anti").drop("id_hash")
    doubtful = suspect.join(F.broadcast(id_hashes), "id_hash", "left_semi").drop("id_hash")
    content = F.to_json(F.struct(*(c for c in rows.columns if not c.startswith("_"))))
    first = Window.partitionBy("interaction_id").orderBy("timestamp", "user_id", "_content")
    ranked = doubtful.withColumn("_content", content).withColumn("_rank", F.row_number().over(first))
    ranked = ranked.withColumn("reason", F.when(F.col("_rank") > 1, F.lit(DUPLICATE)))
    return sound.unionByName(ranked.drop("_content", "_rank"))


def quarantined(rows: DataFrame) -> DataFrame:
    """`raw` (the line of JSON, or the row as JSON) and `reason` of every bad row."""
    whole = F.to_json(F.struct(*(c for c in rows.columns if c not in ("reason", "text") and not c.startswith("_"))))
    raw = F.coalesce("_raw", whole) if "_raw" in rows.columns else whole
    return rows.where(F.col("reason").isNotNull()).select(F.make_valid_utf8(raw).alias("raw"), "reason")
