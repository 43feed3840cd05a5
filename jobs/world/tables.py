"""The simulator's turns as tables: the interaction log, its truth, and the assistant's readings."""

from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.world.assistant import interpret
from jobs.world.grammar import Slots
from jobs.world.simulator import START, Turn

SLOTS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
REWRITE = pa.struct(
    [
        ("text", pa.string()),
        ("source", pa.string()),
        ("bundle", pa.string()),
        ("propensity", pa.float64()),
        ("holdout", pa.bool_()),
    ]
)
LOG_SCHEMA = pa.schema(
    [
        ("interaction_id", pa.string()),
        ("user_id", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("utterance", pa.string()),
        ("asr_confidence", pa.float64()),
        ("asr_nbest", pa.list_(pa.string())),
        ("response", pa.string()),
        ("status", pa.string()),
        ("interrupted", pa.bool_()),
        ("dwell_s", pa.float64()),
        ("domain", pa.string()),
        ("intent", pa.string()),
        ("slots", SLOTS),
        ("nlu_confidence", pa.float64()),
        ("device", pa.string()),
        ("locale", pa.string()),
        ("rewrite", REWRITE),
    ]
)
TRUTH_SCHEMA = pa.schema(
    [
        ("interaction_id", pa.string()),
        ("intended", pa.string()),
        ("domain", pa.string()),
        ("intent", pa.string()),
        ("slots", SLOTS),
        ("defect", pa.bool_()),
        ("cause", pa.string()),
        ("reformulates", pa.string()),
    ]
)
ORACLE_SCHEMA = pa.schema([("text", pa.string()), ("domain", pa.string()), ("intent", pa.string()), ("slots", SLOTS)])
RECOGNITION_SCHEMA = pa.schema(
    [
        ("text", pa.string()),
        ("voice", pa.string()),
        ("take", pa.int8()),
        ("stretch", pa.float32()),
        ("snr_db", pa.float32()),
        ("recognised", pa.string()),
        ("confidence", pa.float32()),
        ("nbest", pa.list_(pa.string())),
    ]
)
_CHUNK_ROWS = 1 << 16
_START_US = int(START.timestamp()) * 1_000_000


def interaction_id(row: int) -> str:
    """Id of the turn at this position of the log."""
    return f"t{row:08d}"


def _pairs(slots: Slots) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in slots]


def response(turn: Turn) -> str:
    """What the assistant says to a turn."""
    if turn.status == "no_match":
        return "sorry, i didn't understand that"
    what = " ".join(value for _, value in turn.read.slots)
    if turn.status == "error":
        return f"i can't find {what}" if not turn.read.known else "something went wrong, please try again later"
    return f"{(turn.read.intent or '').replace('_', ' ')}: {what}" if what else "okay"


def _log_row(turn: Turn) -> dict[str, Any]:
    asked, read = turn.asked, turn.read
    rewrite = None if turn.rewrite is None else {"text": turn.rewrite, "propensity": 1.0, "holdout": False}
    return {
        "interaction_id": interaction_id(turn.row),
        "user_id": asked.user_id,
        "timestamp": _START_US + round(asked.seconds * 1e6),
        "utterance": asked.utterance,
        "asr_confidence": asked.asr_confidence,
        "asr_nbest": None if asked.heard is None else list(asked.heard.nbest),
        "response": response(turn),
        "status": turn.status,
        "interrupted": turn.interrupted,
        "dwell_s": turn.dwell_s,
        "domain": read.domain,
        "intent": read.intent,
        "slots": _pairs(read.slots),
        "nlu_confidence": round(turn.nlu_confidence, 4),
        "device": turn.device,
        "locale": turn.locale,
        "rewrite": rewrite,
    }


def _truth_row(turn: Turn) -> dict[str, Any]:
    before = turn.reformulates
    return {
        "interaction_id": interaction_id(turn.row),
        "intended": turn.intended,
        "domain": turn.request.domain,
        "intent": turn.request.intent,
        "slots": _pairs(turn.request.slots),
        "defect": turn.defect,
        "cause": turn.cause,
        "reformulates": None if before is None else interaction_id(before.row),
    }


def _table(rows: Iterable[dict[str, Any]], schema: pa.Schema) -> pa.Table:
    """Rows as a table, a chunk at a time: the dicts of a million turns would not fit a small machine."""
    stream = iter(rows)
    parts = [schema.empty_table()]
    while chunk := list(islice(stream, _CHUNK_ROWS)):
        columns = {field.name: pa.array((row.get(field.name) for row in chunk), field.type) for field in schema}
        parts.append(pa.table(columns, schema=schema))
    return pa.concat_tables(parts)


def log_table(turns: Sequence[Turn]) -> pa.Table:
    """The interaction log of the turns, one row each, in their order."""
    return _table(map(_log_row, turns), LOG_SCHEMA)


def truth_table(turns: Sequence[Turn]) -> pa.Table:
    """What is true of each turn, for evaluation only."""
    return _table(map(_truth_row, turns), TRUTH_SCHEMA)


def oracle_table(texts: Iterable[str]) -> pa.Table:
    """What the assistant does with each distinct text, in the order of the texts' spelling."""
    rows = []
    for text in sorted(set(texts)):
        read = interpret(text)
        rows.append({"text": text, "domain": read.domain, "intent": read.intent, "slots": _pairs(read.slots)})
    return _table(rows, ORACLE_SCHEMA)


def write(table: pa.Table, path: Path) -> None:
    """Write one table: zstd, the same bytes for the same rows."""
    pq.write_table(table, path, compression="zstd", compression_level=15, row_group_size=1 << 17)


def slots_of(row: dict[str, Any]) -> frozenset[tuple[str, str]]:
    """Slots of a table row as a set of (name, value)."""
    return frozenset((slot["name"], slot["value"]) for slot in row["slots"] or ())
