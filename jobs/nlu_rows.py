"""Labelled rows for the NLU: parquet or JSON lines with text, domain, intent, slots."""

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rewrite.text import normalise
from selection.examples import Slot, Utterance, words

ANY_DOMAIN = "any"
"""The domain of every row of a file without a domain column."""

TEXT_COLUMNS = ("text", "utterance", "recognised", "spoken")


def read_rows(
    path: Path, text_column: str | None = None, without: str | None = None, only: str | None = None
) -> list[Utterance]:
    """The labelled rows of a file.

    Args:
        text_column: where the text is; None takes the first of text, utterance, recognised, spoken.
        without: a boolean column; rows where it is true are left out. only: ... where it is false.

    Raises:
        ValueError: unreadable, no rows, or a column that is missing.
    """
    rows = read_table(path)
    if not rows:
        raise ValueError(f"{path} holds no rows; expected labelled rows; an empty export?")
    names = list(rows[0])
    column = text_column or next((name for name in TEXT_COLUMNS if name in names), "text")
    for needed in (column, "intent", *([without] if without else []), *([only] if only else [])):
        if needed not in names:
            raise ValueError(f"{path} has no column {needed}; got {', '.join(names)}; another file?")
    kept = (row for row in rows if not (without and row[without]) and (not only or row[only]))
    return [utterance(row[column], row) for row in kept]


def read_table(path: Path) -> list[dict[str, Any]]:
    """Every row as a dict.

    Raises:
        ValueError: missing, or neither parquet nor JSON lines.
    """
    if not path.exists():
        raise ValueError(f"{path}: no such file; expected parquet or JSON lines; is the path right?")
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if path.suffix in (".jsonl", ".json", ".ndjson"):
            lines = path.read_text(encoding="utf-8").splitlines()
            return [dict(json.loads(line)) for line in lines if line.strip()]
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError, ValueError, TypeError) as error:
        raise ValueError(f"{path} cannot be read ({error}); expected parquet, or JSON lines named .jsonl") from error
    return found


def utterance(text: Any, row: Mapping[str, Any], prefix: str = "") -> Utterance:
    """One row as an utterance; the labels are the columns `prefix`domain, `prefix`intent and `prefix`slots."""
    domain = row.get(f"{prefix}domain") if f"{prefix}domain" in row else ANY_DOMAIN
    slots = row.get(f"{prefix}slots")
    return Utterance(
        normalise(str(text or "")), str(domain or ""), str(row.get(f"{prefix}intent") or ""), canonical(slots or [])
    )


def canonical(slots: Iterable[Mapping[str, Any]]) -> tuple[Slot, ...]:
    """Slots with their values as the model reads them: words joined by spaces."""
    return tuple((str(slot["name"]), " ".join(words(str(slot["value"])))) for slot in slots)


def hold_out(rows: Sequence[Utterance], share: float, seed: int) -> tuple[list[Utterance], list[Utterance]]:
    """Rows to train on and rows held out, at random; the first row of every intent, domain and slot is trained on."""
    import numpy as np

    chosen = np.random.default_rng(seed).random(len(rows)) < share
    seen: set[str] = set()
    train: list[Utterance] = []
    held: list[Utterance] = []
    for row, out in zip(rows, chosen, strict=True):
        labels = {f"d {row.domain}", f"i {row.intent}", *(f"s {name}" for name, _ in row.slots)}
        (held if out and labels <= seen else train).append(row)
        seen |= labels
    return train, held
