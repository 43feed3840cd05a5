"""Tiny logs for tests: seeded, with repeats, retries, several users and days."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

START = datetime(2026, 3, 2, 8, tzinfo=UTC)

TEXTS = (
    "play alien bridges",
    "play alien ridges",
    "play Jazz",
    "play rock",
    "turn on the  light",
    "turn on the lights",
    "what's the weather",
    "set a timer for ten minutes",
    "no not that",
)

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

SCHEMA = pa.schema(
    [
        ("interaction_id", pa.string()),
        ("user_id", pa.string()),
        ("timestamp", pa.timestamp("us", tz="UTC")),
        ("utterance", pa.string()),
        ("asr_confidence", pa.float64()),
        ("response", pa.string()),
        ("status", pa.string()),
        ("interrupted", pa.bool_()),
        ("dwell_s", pa.float64()),
        ("domain", pa.string()),
        ("intent", pa.string()),
        ("slots", SLOTS),
        ("nlu_confidence", pa.float64()),
        ("rewrite", REWRITE),
    ]
)

Row = dict[str, Any]


def turn(number: int, **values: Any) -> Row:
    """One good turn of user u0, a minute after the one before; `values` win."""
    row: Row = dict.fromkeys(SCHEMA.names)
    row.update(
        interaction_id=f"i{number:04d}",
        user_id="u0",
        timestamp=START + timedelta(minutes=number),
        utterance="play jazz",
        status="ok",
        interrupted=False,
        slots=[],
    )
    return {**row, **values}


def random_log(seed: int, turns: int = 160, users: int = 5, days: int = 4) -> list[Row]:
    """Turns of a few users over a few days, whose gaps and texts make every kind of follow-up happen."""
    rng = np.random.default_rng(seed)
    clocks = {f"u{n}": START + timedelta(minutes=int(rng.integers(600))) for n in range(users)}
    rows = []
    for number in range(turns):
        user = f"u{rng.integers(users)}"
        gaps = [5, 12, 30, 70, 200, 2500, 86400 * days / 12]
        clocks[user] += timedelta(seconds=float(rng.choice(gaps)) + float(rng.random()))
        failed = rng.random() < 0.35
        rewrite = None
        if rng.random() < 0.08:
            holdout = bool(rng.random() < 0.5)
            text = str(rng.choice(TEXTS))
            rewrite = {"text": text, "source": "global", "bundle": "b", "propensity": 0.5, "holdout": holdout}
        rows.append(
            turn(
                number,
                user_id=user,
                timestamp=clocks[user],
                utterance=str(rng.choice(TEXTS)),
                asr_confidence=round(float(rng.beta(4, 2) if failed else rng.beta(9, 1)), 3),
                status="no_match" if failed and rng.random() < 0.5 else "ok",
                interrupted=bool(rng.random() < (0.6 if failed else 0.05)),
                dwell_s=None if rng.random() < 0.5 else round(float(rng.exponential(3 if failed else 60)), 2),
                domain="music",
                intent=str(rng.choice(["play", "query"])),
                slots=[{"name": "what", "value": str(rng.choice(["jazz", "rock"]))}] if rng.random() < 0.5 else [],
                nlu_confidence=None if rng.random() < 0.1 else round(float(rng.random()), 3),
                rewrite=rewrite,
            )
        )
    return rows


def write(rows: list[Row], path: Path) -> Path:
    """Write rows as a parquet log."""
    pq.write_table(pa.Table.from_pylist(rows, SCHEMA), path)
    return path
