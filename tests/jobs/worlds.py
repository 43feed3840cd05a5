"""A small made-up world for the tests of evaluation: turns, truth and oracle as rows and as files."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

MONDAY = datetime(2026, 3, 2, 8, tzinfo=UTC)
SLOTS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))

WANTS = {
    "play jazz": ("music", "play_music", {"genre": "jazz"}),
    "play some jazz": ("music", "play_music", {"genre": "jazz"}),
    "play jazz in the kitchen": ("music", "play_music", {"genre": "jazz", "room": "kitchen"}),
    "play rock": ("music", "play_music", {"genre": "rock"}),
    "stop": ("audio", "stop", {}),
    "who wrote hamlet": ("qa", "ask", {}),
    "how tall is the eiffel tower": ("qa", "ask", {}),
}
GARBLED = {"play jas": "play jazz", "clay rock": "play rock", "stob": "stop", "who rode hamlet": "who wrote hamlet"}


def slots(values: dict[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "value": value} for name, value in values.items()]


def oracle_rows() -> list[dict[str, Any]]:
    known = [{"text": t, "domain": d, "intent": i, "slots": slots(s)} for t, (d, i, s) in WANTS.items()]
    return [*known, *({"text": t, "domain": None, "intent": None, "slots": []} for t in GARBLED)]


def truth_row(interaction_id: str, intended: str, defect: bool, cause: str | None) -> dict[str, Any]:
    domain, intent, values = WANTS[intended]
    return {
        "interaction_id": interaction_id,
        "intended": intended,
        "domain": domain,
        "intent": intent,
        "slots": slots(values),
        "defect": defect,
        "cause": cause,
    }


def turn_row(number: int, user_id: str, utterance: str, gap_s: float = 3600.0, **more: Any) -> dict[str, Any]:
    at = MONDAY + timedelta(seconds=number * gap_s)
    return {"interaction_id": f"i{number:04d}", "user_id": user_id, "timestamp": at, "utterance": utterance, **more}


def random_world(seed: int, turns: int) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str | None]]:
    """Turns, their truth, and random rewrites of them."""
    rng = np.random.default_rng(seed)
    texts = [*WANTS, *GARBLED]
    logged, truth, made = [], [], []
    for number in range(turns):
        said = texts[rng.integers(len(texts))]
        other = rng.random() < 0.1
        defect = said in GARBLED or other
        logged.append(turn_row(number, f"u{rng.integers(7)}", said))
        cause = ("misunderstood" if said in GARBLED else "other") if defect else None
        truth.append(truth_row(f"i{number:04d}", GARBLED.get(said, said), defect, cause))
        made.append(texts[rng.integers(len(texts))] if rng.random() < 0.5 else None)
    return logged, truth, made


def write(path: Path, rows: Sequence[dict[str, Any]], **types: pa.DataType) -> Path:
    table = pa.Table.from_pylist(list(rows))
    for name, kind in types.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    pq.write_table(table, path)
    return path


def write_decisions(path: Path, made: Sequence[str | None]) -> Path:
    """Decisions for turns numbered from 0, surer of the earlier ones."""
    rows = [{"interaction_id": f"i{n:04d}", "rewrite": t, "confidence": 1 / (n + 2)} for n, t in enumerate(made)]
    return write(path, rows, rewrite=pa.string())


def write_world(folder: Path, seed: int = 0, turns: int = 60) -> Path:
    """turns.parquet, truth.parquet, oracle.parquet and decisions.parquet in `folder`."""
    logged, truth, made = random_world(seed, turns)
    write(folder / "turns.parquet", logged)
    write(folder / "truth.parquet", truth, slots=SLOTS, cause=pa.string())
    write(folder / "oracle.parquet", oracle_rows(), slots=SLOTS)
    write_decisions(folder / "decisions.parquet", made)
    return folder


def write_mined(folder: Path) -> Path:
    """The tables of a mining run that evaluation reads."""
    folder.mkdir()
    turns = [
        turn_row(n, f"u{n % 3}", "stop", text=text, status=status, interrupted=False)
        for n, (text, status) in enumerate([("play jas", "no_match"), ("stop", "ok"), ("play jazz", "ok")])
    ]
    write(folder / "turns", turns)
    write(folder / "utterances", [{"text": t, "users": 9, "days": 4, "count": 20, "success_rate": 0.95} for t in WANTS])
    write(folder / "personal", [{"user": "u0", "text": "play jazz"}, {"user": "u1", "text": "stop"}])
    pair = {"source": "play jas", "target": "play jazz", "users": 2, "days": 2, "count": 3, "examples": ["i1>i2"]}
    write(folder / "reformulations", [pair])
    return folder
