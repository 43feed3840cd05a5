"""`rewrite.text.normalise` as a column: native where a text is already plain, Python for the rest."""

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.functions import arrow_udf
from pyspark.sql.types import StringType

from rewrite.text import normalise

_PLAIN = r"^[!-~]+(?: [!-~]+)*$"
"""Printable ASCII with single spaces: all that `normalise` does to it is to lower it."""


@arrow_udf(StringType())
def _normalise(texts: pa.Array) -> pa.Array:
    distinct = texts.dictionary_encode()
    values = [text and normalise(text) for text in distinct.dictionary.to_pylist()]
    return pc.take(pa.array(values, pa.string()), distinct.indices)


def is_plain(column: Column) -> Column:
    """Whether a text needs no Python to be normalised; null is plain."""
    return F.coalesce(column.rlike(_PLAIN), F.lit(True))


def normalised(column: Column, plain_only: bool = False) -> Column:
    """`normalise` of a string column of valid UTF-8; null stays null.

    With `plain_only` no Python is started at all, and a text that is not plain comes out as null.
    """
    plain = column.rlike(_PLAIN)
    if plain_only:
        return F.when(plain, F.lower(column))
    return F.when(plain, F.lower(column)).otherwise(_normalise(F.when(~plain, column)))
