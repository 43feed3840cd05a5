"""`rewrite.text.normalise` over whole columns: natively where a text is already plain, in Python for the rest."""

import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import Column
from pyspark.sql import functions as F
from pyspark.sql.functions import arrow_udf
from pyspark.sql.types import StringType

from rewrite.text import normalise

_PLAIN = r"^[!-~]+(?: [!-~]+)*$"
"""Printable ASCII with single spaces: all that `normalise` does to it is to lower it."""


def normalised_array(texts: pa.Array) -> pa.Array:
    """`normalise` of an array (N,) of strings; null stays null."""
    distinct = texts.dictionary_encode()
    values = distinct.dictionary
    plain = pc.match_substring_regex(values, _PLAIN)
    odd = [normalise(text) for text in values.filter(pc.invert(plain)).to_pylist()]
    lowered = pc.ascii_lower(values)
    if odd:
        lowered = pc.replace_with_mask(lowered, pc.invert(plain), pa.array(odd, pa.string()))
    return lowered.take(distinct.indices)


@arrow_udf(StringType())
def _normalise(texts: pa.Array) -> pa.Array:
    return normalised_array(texts)


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
