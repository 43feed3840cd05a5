"""Logs on disk to `Turn` objects: decision-time columns only, with the session before each turn."""

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq

from jobs.acted import acted_on
from jobs.log_checks import check_values
from jobs.log_files import check_formats
from rewrite.text import normalise
from rewrite.turn import Reading, Turn

REQUIRED = ("interaction_id", "user_id", "timestamp", "utterance")
DECISION_COLUMNS = (
    *REQUIRED,
    "asr_confidence",
    "asr_nbest",
    "domain",
    "intent",
    "slots",
    "nlu_confidence",
    "device",
    "locale",
)

CONTEXT_TURNS = 3
CONTEXT_GAP_S = 120.0
"""Earlier turns belong to the context while each gap between them is at most this long."""


def read_log(path: Path) -> pa.Table:
    """Read the decision-time columns of a log, parquet or JSON lines.

    Raises:
        FileNotFoundError: nothing is there. ValueError: not a log, a required column is missing, or values are none
        of docs/log.md.
    """
    if not path.exists():
        raise FileNotFoundError(
            f"no log at {path}; expected a parquet or JSON-lines file or a folder of parquet; is the path right?"
        )
    check_formats(path)
    try:
        table = _read(path)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OSError) as error:
        raise ValueError(
            f"cannot read {path} as a log: {error}; expected parquet or JSON lines; is the file complete?"
        ) from error
    missing = [name for name in REQUIRED if name not in table.column_names]
    if missing:
        got = ", ".join(table.column_names[:12])
        raise ValueError(
            f"{path} is not an interaction log: column {', '.join(missing)} is missing; got {got}; "
            "rename the columns to the log contract (see docs/log.md)"
        )
    # what became of an earlier turn's text is known; the turn's own is decided anew
    table = table.select([name for name in (*DECISION_COLUMNS, "rewrite") if name in table.column_names])
    check_values(table, str(path))
    return table


def _read(path: Path) -> pa.Table:
    names = path.name.removesuffix(".gz")
    if names.endswith((".jsonl", ".json", ".ndjson")):
        return pj.read_json(path)
    return pq.read_table(path)


def turns_of(table: pa.Table) -> list[Turn]:
    """Turns in the order of the table; earlier turns of each are found by user and time, not by row order."""
    columns = {name: table[name].to_pylist() for name in table.column_names if name != "timestamp"}
    seconds = _seconds(table["timestamp"])
    earlier, gaps = _context(columns["user_id"], seconds, acted_on(table)[0], columns["interaction_id"])
    return [_turn(columns, row, seconds[row], earlier[row], gaps[row]) for row in range(table.num_rows)]


def _turn(columns: dict[str, list[Any]], row: int, second: float, earlier: tuple[str, ...], gap: float | None) -> Turn:
    def at(name: str) -> Any:
        return columns[name][row] if name in columns else None

    return Turn(
        utterance=at("utterance") or "",
        interaction_id=at("interaction_id"),
        user_id=at("user_id"),
        timestamp_s=None if np.isnan(second) else second,
        asr_confidence=at("asr_confidence"),
        asr_nbest=tuple(normalise(t) for t in at("asr_nbest") or ()),
        reading=Reading.of(at("domain"), at("intent"), at("slots")),
        nlu_confidence=at("nlu_confidence"),
        device=at("device"),
        locale=at("locale"),
        turns=earlier,
        gap_s=gap,
    )


def _seconds(column: pa.ChunkedArray) -> np.ndarray:
    """Unix time in seconds, float64; NaN for null. Strings are read as ISO 8601."""
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        column = pc.cast(column, pa.timestamp("us", tz="UTC"))
    if not pa.types.is_timestamp(column.type):
        raise ValueError(
            f"column timestamp holds {column.type}; expected timestamps in UTC or ISO 8601 strings; "
            "convert it before (see docs/log.md)"
        )
    micros = pc.cast(pc.cast(column, pa.timestamp("us", tz=column.type.tz)), pa.int64())
    return np.asarray(pc.divide(pc.cast(micros, pa.float64()), 1e6).to_numpy(zero_copy_only=False), dtype=np.float64)


def _context(
    users: Sequence[str], seconds: np.ndarray, texts: Sequence[str], ids: Sequence[str | None]
) -> tuple[list[tuple[str, ...]], list[float | None]]:
    """Each turn's earlier texts of the same user, as they were acted on, newest last, and the gap to the newest,
    seconds.
    """
    earlier: list[tuple[str, ...]] = [()] * len(users)
    gaps: list[float | None] = [None] * len(users)
    order = sorted(range(len(users)), key=lambda r: (users[r] or "", np.isnan(seconds[r]), seconds[r], ids[r] or ""))
    for before, row in pairwise(order):
        gap = float(seconds[row] - seconds[before])
        if users[before] == users[row] and gap <= CONTEXT_GAP_S:
            earlier[row] = (*earlier[before], texts[before])[-CONTEXT_TURNS:]
            gaps[row] = gap
    return earlier, gaps
