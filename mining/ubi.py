"""OpenSearch User Behavior Insights (UBI 1.x): queries and events of a search box as an interaction log.

| log | UBI |
|---|---|
| interaction_id | query_id |
| user_id | client_id |
| timestamp | timestamp of the query |
| utterance | user_query |
| status | `no_match` where query_response_hit_ids is an empty list, else `ok` |
| interrupted | an event whose action_name is among `ABANDONING` |
| dwell_s | seconds from the first click-like event to the last event of the query; 0 where results were never touched |
| domain | application |
| device | nothing in UBI says it |

A search that nobody clicked on has dwell 0: the defect model learns from the log itself how much that means there.
session_id is not used: sessions are cut by silence, as everywhere. Events of unknown queries are ignored.
"""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

from mining.schema import LOG, parse_time

CLICKS = ("click", "item_click", "product_hover", "add_to_cart", "purchase", "watch", "view", "play", "download")
"""action_name values that use a result. Case does not matter."""

ABANDONING = ("cancel", "stop", "close", "dismiss", "clear_search")
"""action_name values that turn away from the results."""

QUERIES = T.StructType(
    [
        T.StructField("query_id", T.StringType()),
        T.StructField("client_id", T.StringType()),
        T.StructField("session_id", T.StringType()),
        T.StructField("application", T.StringType()),
        T.StructField("user_query", T.StringType()),
        T.StructField("query_response_hit_ids", T.ArrayType(T.StringType())),
        T.StructField("timestamp", T.StringType()),
    ]
)

EVENTS = T.StructType(
    [
        T.StructField("query_id", T.StringType()),
        T.StructField("client_id", T.StringType()),
        T.StructField("session_id", T.StringType()),
        T.StructField("action_name", T.StringType()),
        T.StructField("timestamp", T.StringType()),
    ]
)


def interactions(queries: DataFrame, events: DataFrame) -> DataFrame:
    """The interaction log of `queries` and `events`, which have the columns of QUERIES and EVENTS."""
    asked = queries.withColumn("asked", ubi_time(F.col("timestamp")))
    joined = asked.join(_per_query(events), "query_id", "left")
    known = {
        "interaction_id": F.col("query_id"),
        "user_id": F.col("client_id"),
        "timestamp": F.col("asked"),
        "utterance": F.col("user_query"),
        "status": F.when(F.size("query_response_hit_ids") == 0, "no_match").otherwise("ok"),
        "interrupted": F.coalesce(F.col("turned_away"), F.lit(False)),
        "dwell_s": F.coalesce(F.greatest(F.col("last_s") - F.col("first_s"), F.lit(0.0)), F.lit(0.0)),
        "domain": F.col("application"),
    }
    return joined.select(*(_or_null(known, field) for field in LOG))


def _or_null(known: dict[str, Column], field: T.StructField) -> Column:
    return known.get(field.name, F.lit(None)).cast(field.dataType).alias(field.name)


def _per_query(events: DataFrame) -> DataFrame:
    """query_id, first_s (of a click), last_s (of any event), turned_away."""
    action = F.lower("action_name")
    when = F.unix_micros(ubi_time(F.col("timestamp"))) / 1e6
    return events.groupBy("query_id").agg(
        F.min(F.when(action.isin(*CLICKS), when)).alias("first_s"),
        F.max(when).alias("last_s"),
        F.max(action.isin(*ABANDONING)).alias("turned_away"),
    )


def ubi_time(column: Column) -> Column:
    """ISO 8601 text, or the milliseconds since 1970 that some collectors write, as a timestamp."""
    text = column.cast("string")
    millis = F.when(text.rlike(r"^\d{12,14}$"), F.timestamp_millis(text.cast("long")))
    return F.coalesce(millis, parse_time(text))
