"""Rows of labelled request pairs as files have them: what every column must hold, and what its absence means."""

import math
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

LABELS = ("new_command", "command_correction", "asr_correction")
"""`mining.kinds.CLASSES`, here without what that module loads."""

COLUMNS = ("first", "response", "second", "executed", "gap_s", "label")

HELP = (
    "Labelled pairs, parquet or JSON lines (.jsonl), in order of time: first, second (texts); response (text or null); "
    "executed (boolean, or a probability from 0 to 1; null: not known); gap_s (seconds; null: not known); label "
    f"({', '.join(LABELS)}). See docs/mining.md."
)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Every row of a file, in its order, with COLUMNS; null where a line of JSON lacks one.

    Raises:
        ValueError: there is no such file, or it has no rows, or lacks a column, or a value is not of the form.
    """
    from jobs.nlu_rows import read_table

    if path.is_dir():
        raise ValueError(f"{path}: a folder; expected one file of labelled pairs, parquet or JSON lines")
    rows = read_table(path)
    names = list(dict.fromkeys(name for row in rows for name in row))
    if not rows:
        raise ValueError(f"{path}: no rows; expected labelled pairs with {', '.join(COLUMNS)}; did its export fail?")
    if missing := [name for name in COLUMNS if name not in names]:
        raise ValueError(
            f"{path}: missing {', '.join(missing)}; got {', '.join(names[:12])}; expected {', '.join(COLUMNS)}; "
            "another file?"
        )
    rows = [{name: row.get(name) for name in COLUMNS} for row in rows]
    for column, (holds, expected) in _FORM.items():
        _refuse_others(path, column, [row[column] for row in rows], holds, expected)
    return rows


def _refuse_others(path: Path, column: str, values: list[Any], holds: Callable[[Any], bool], expected: str) -> None:
    others = [number for number, value in enumerate(values, 1) if not holds(value)]
    if others:
        more = f" (and of {len(others) - 1} more of {len(values)} rows)" if len(others) > 1 else ""
        raise ValueError(
            f"{path}: {column} of row {others[0]}{more} is not of the form; got {values[others[0] - 1]!r:.60}; "
            f"expected {expected}; rows are counted from 1"
        )


def number(value: Any, unknown: float) -> float:
    """A cell as a number: `unknown` where it is null, NaN or below 0, which is how logs write what they do not know."""
    return float(value) if value is not None and value >= 0 else unknown


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float | Decimal) and not isinstance(value, bool) and not math.isinf(value)


_FORM: dict[str, tuple[Callable[[Any], bool], str]] = {
    "first": (_is_text, "the text of a request, not blank; leave rows without one out"),
    "second": (_is_text, "the text of the next request, not blank; leave rows without one out"),
    "response": (lambda v: v is None or isinstance(v, str), "the assistant's reply as text, or null"),
    "executed": (
        lambda v: v is None or isinstance(v, bool) or (_is_number(v) and (math.isnan(v) or 0 <= v <= 1)),
        "true, false, a probability from 0 to 1, or null where it is not known",
    ),
    "gap_s": (lambda v: v is None or _is_number(v), "seconds as a number, or null where they are not known"),
    "label": (lambda v: v in LABELS, f"one of {', '.join(LABELS)}"),
}
"""What a value must be, column by column, in the order in which they are looked at."""
