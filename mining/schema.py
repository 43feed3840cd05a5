"""The interaction log's columns and their types, and bringing any log of that form to exactly these."""

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F
from pyspark.sql import types as T

SLOTS = T.ArrayType(T.StructType([T.StructField("name", T.StringType()), T.StructField("value", T.StringType())]))

REWRITE = T.StructType(
    [
        T.StructField("text", T.StringType()),
        T.StructField("source", T.StringType()),
        T.StructField("bundle", T.StringType()),
        T.StructField("propensity", T.DoubleType()),
        T.StructField("holdout", T.BooleanType()),
    ]
)

LOG = T.StructType(
    [
        T.StructField("interaction_id", T.StringType()),
        T.StructField("user_id", T.StringType()),
        T.StructField("timestamp", T.TimestampType()),
        T.StructField("utterance", T.StringType()),
        T.StructField("asr_confidence", T.DoubleType()),
        T.StructField("asr_nbest", T.ArrayType(T.StringType())),
        T.StructField("response", T.StringType()),
        T.StructField("status", T.StringType()),
        T.StructField("interrupted", T.BooleanType()),
        T.StructField("dwell_s", T.DoubleType()),
        T.StructField("domain", T.StringType()),
        T.StructField("intent", T.StringType()),
        T.StructField("slots", SLOTS),
        T.StructField("nlu_confidence", T.DoubleType()),
        T.StructField("device", T.StringType()),
        T.StructField("locale", T.StringType()),
        T.StructField("rewrite", REWRITE),
    ]
)
"""One row per user turn, in the order that tables keep."""

REQUIRED = ("interaction_id", "user_id", "timestamp", "utterance")

JSON_LOG = T.StructType(
    [T.StructField(f.name, T.StringType() if f.name == "timestamp" else f.dataType) for f in LOG]
    + [T.StructField("_malformed", T.StringType())]
)
"""What a line of JSON is parsed to: the time stays text until quarantine has judged it."""

_NUMBERS = (T.ByteType, T.ShortType, T.IntegerType, T.LongType, T.FloatType, T.DoubleType, T.DecimalType)


def check_columns(names: list[str], where: str) -> None:
    """Raise ValueError where a required column is absent from `names`."""
    missing = [name for name in REQUIRED if name not in names]
    if missing:
        raise ValueError(
            f"{where}: missing the required column{'s' * (len(missing) > 1)} {', '.join(missing)}; got "
            f"{', '.join(names) or 'none'}. Is it an interaction log? Where other tables lie beside the log, "
            "pass its files alone"
        )


def conform(frame: DataFrame, where: str) -> DataFrame:
    """`frame` with exactly the log's columns and types; columns that the site lacks are null.

    Raises:
        ValueError: a required column is absent, or a column's type cannot be the log's.
    """
    check_columns(frame.columns, where)
    have = {field.name: field.dataType for field in frame.schema}
    return frame.select(*(_column(field, have.get(field.name), where) for field in LOG))


def _column(field: T.StructField, got: T.DataType | None, where: str) -> Column:
    if got is None or isinstance(got, T.NullType):
        return F.lit(None).cast(field.dataType).alias(field.name)
    if field.name == "timestamp":
        return _timestamp(got, where).alias("timestamp")
    if field.name == "rewrite" and isinstance(got, T.StructType):
        return _struct(F.col("rewrite"), got, REWRITE, where).alias("rewrite")
    if not _castable(got, field.dataType):
        raise ValueError(
            f"{where}: column {field.name} has type {got.simpleString()}; expected {field.dataType.simpleString()}"
        )
    return F.col(field.name).cast(field.dataType).alias(field.name)


def _castable(got: T.DataType, want: T.DataType) -> bool:
    if isinstance(want, T.DoubleType):
        return isinstance(got, _NUMBERS)
    if isinstance(want, T.ArrayType):
        return isinstance(got, T.ArrayType) and _castable(got.elementType, want.elementType)
    if isinstance(want, T.StructType):
        return isinstance(got, T.StructType) and [f.name for f in got] == [f.name for f in want]
    return isinstance(got, (type(want), T.NullType))


def _struct(column: Column, got: T.StructType, want: T.StructType, where: str) -> Column:
    """`column` with the fields of `want`: absent ones null, others cast."""
    have = {f.name: f.dataType for f in got}
    for f in want:
        if f.name in have and not _castable(have[f.name], f.dataType):
            raise ValueError(
                f"{where}: field {f.name} has type {have[f.name].simpleString()}; expected {f.dataType.simpleString()}"
            )
    fields = [
        (column[f.name].cast(f.dataType) if f.name in have else F.lit(None).cast(f.dataType)).alias(f.name)
        for f in want
    ]
    return F.when(column.isNotNull(), F.struct(*fields))


def _timestamp(got: T.DataType, where: str) -> Column:
    column = F.col("timestamp")
    if isinstance(got, T.TimestampType):
        return column
    if isinstance(got, T.TimestampNTZType):
        return column.cast("timestamp")
    if isinstance(got, T.StringType):
        return parse_time(column)
    if isinstance(got, T.LongType):
        return F.expr("timestamp_micros(timestamp div 1000)")  # parquet nanoseconds, see mining.spark.SETTINGS
    raise ValueError(f"{where}: column timestamp has type {got.simpleString()}; expected timestamp (UTC)")


def parse_time(column: Column) -> Column:
    """ISO 8601 text as a UTC timestamp; null where it is not a full date and time."""
    return F.when(column.rlike(r"^\s*\d{4}-\d{2}-\d{2}[T ]\d"), F.try_to_timestamp(column))
