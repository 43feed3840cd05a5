"""What is wrong with the values of a log that is read without Spark, in one sentence each."""

from collections.abc import Callable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

CONFIDENCES = ("asr_confidence", "nlu_confidence")


def check_values(table: pa.Table, where: str) -> None:
    """Refuse columns of other types than docs/log.md has, times that are none, ids that occur twice, and confidences
    outside 0 to 1.

    Raises:
        ValueError: such a column; `where` is the log that is named.
    """
    for name in table.column_names:
        if (found := _EXPECTED.get(name)) is not None:
            expected, suits = found
            if not suits(_plain(table[name].type)):
                raise ValueError(
                    f"{where}: column {name} has type {table[name].type}; expected {expected}; see docs/log.md"
                )
    _check_times(table["timestamp"], where)
    _check_unique(table["interaction_id"], where)
    for name in CONFIDENCES:
        if name in table.column_names:
            _check_confidences(table[name], f"{where}: column {name}")


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_text(kind: pa.DataType) -> bool:
    return any(of(kind) for of in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view, _is_null))


def _is_null(kind: pa.DataType) -> bool:
    return bool(pa.types.is_null(kind))


def _is_number(kind: pa.DataType) -> bool:
    return any(of(kind) for of in (pa.types.is_floating, pa.types.is_integer, pa.types.is_decimal, _is_null))


def _is_list(of: Callable[[pa.DataType], bool]) -> Callable[[pa.DataType], bool]:
    def suits(kind: pa.DataType) -> bool:
        lists = pa.types.is_list(kind) or pa.types.is_large_list(kind)
        return _is_null(kind) or (lists and (_is_null(kind.value_type) or of(_plain(kind.value_type))))

    return suits


def _is_slot(kind: pa.DataType) -> bool:
    return bool(pa.types.is_struct(kind)) and {"name", "value"} <= {field.name for field in kind}


def _is_rewrite(kind: pa.DataType) -> bool:
    return _is_null(kind) or (bool(pa.types.is_struct(kind)) and "text" in {field.name for field in kind})


def _is_time(kind: pa.DataType) -> bool:
    return bool(pa.types.is_timestamp(kind)) or _is_text(kind)


_TEXTS = ("interaction_id", "user_id", "utterance", "domain", "intent", "device", "locale")

_EXPECTED: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    **dict.fromkeys(_TEXTS, ("string", _is_text)),
    **dict.fromkeys(CONFIDENCES, ("double", _is_number)),
    "timestamp": ("a timestamp in UTC, or its text as ISO 8601", _is_time),
    "asr_nbest": ("a list of strings", _is_list(_is_text)),
    "slots": ("a list of structs with name and value", _is_list(_is_slot)),
    "rewrite": ("a struct with text, source, bundle, propensity and holdout", _is_rewrite),
}
"""What columns may hold, in words and as a test."""


def _check_times(column: pa.ChunkedArray, where: str) -> None:
    if not _is_text(_plain(column.type)) or _parses(column):
        return
    row, value = next((row, value) for row, value in enumerate(column) if not _parses(pa.array([value], column.type)))
    raise ValueError(
        f"{where}: row {row + 1} has the timestamp {value.as_py()!r}; expected ISO 8601, as 2026-01-31T08:00:00Z; "
        "a damaged row?"
    )


def _parses(column: Any) -> bool:
    try:
        pc.cast(column, pa.timestamp("us", tz="UTC"))
    except pa.ArrowInvalid:
        return False
    return True


def _check_unique(ids: pa.ChunkedArray, where: str) -> None:
    counts = pc.value_counts(ids.combine_chunks().drop_null())
    twice = counts.filter(pc.greater(counts.field("counts"), 1))
    if len(twice):
        raise ValueError(
            f"{where}: {len(twice)} interaction ids occur more than once (the first: {twice[0]['values'].as_py()!r}); "
            "expected each once; was the log written, or passed, twice?"
        )


def _check_confidences(column: pa.ChunkedArray, what: str) -> None:
    values = column.cast(pa.float64())
    outside = pc.fill_null(pc.or_(pc.less(values, 0), pc.greater(values, 1)), False)
    if pc.any(outside).as_py():
        found = values.filter(outside)
        raise ValueError(
            f"{what} is {pc.min(found).as_py():g} to {pc.max(found).as_py():g} in {len(found)} of {len(values)} rows; "
            "expected 0 to 1; is it in per cent?"
        )
