"""A tiny mined world: users who are misheard, say it again, and have a few texts of their own."""

import json
from collections import Counter, defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rewrite.generator import Generator, GeneratorConfig

START = datetime(2024, 3, 1, 8, tzinfo=UTC)
SINCE = datetime(2024, 3, 9, tzinfo=UTC)
USERS = 60
TINY = GeneratorConfig(d_model=16, encoder_layers=1, decoder_layers=1, heads=2, ffn_dim=32)

SONGS = {
    "play ancient bridges": "play alien bridges",
    "play silver river": "play silly river",
    "play golden morning": "play bolden mourning",
    "turn on the kitchen light": "turn on the chicken light",
}
"""What is meant, and how it is misheard."""

SLOTS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
TIME = pa.timestamp("us", tz="UTC")
READING = {"domain": pa.string(), "intent": pa.string(), "slots": SLOTS}

SCHEMAS = {
    "turns": {
        "interaction_id": pa.string(),
        "user_id": pa.string(),
        "timestamp": TIME,
        "utterance": pa.string(),
        "asr_confidence": pa.float64(),
        **READING,
        "text": pa.string(),
        "defect_probability": pa.float64(),
    },
    "reformulations": {
        "source": pa.string(),
        "target": pa.string(),
        "kind": pa.string(),
        "users": pa.int64(),
        "days": pa.int64(),
        "count": pa.int64(),
    },
    "utterances": {
        "text": pa.string(),
        **READING,
        "users": pa.int64(),
        "days": pa.int64(),
        "count": pa.int64(),
        "success_rate": pa.float64(),
        "success_lower": pa.float64(),
    },
    "rewrites": {
        "source": pa.string(),
        "target": pa.string(),
        "worth": pa.float64(),
        "lower_bound": pa.float64(),
        "users": pa.int64(),
        "days": pa.int64(),
        "count": pa.int64(),
        "source_count": pa.int64(),
        "source_defect_rate": pa.float64(),
        "evidence_id": pa.string(),
    },
    "text_outcomes": {
        "text": pa.string(),
        "users": pa.int64(),
        "count": pa.int64(),
        "defect_rate": pa.float64(),
    },
    "rewrite_outcomes": {
        "source": pa.string(),
        "target": pa.string(),
        "turns": pa.int64(),
        "wins": pa.int64(),
        "users": pa.int64(),
        "success_rate": pa.float64(),
        "holdout_turns": pa.int64(),
        "holdout_success_rate": pa.float64(),
        "gain_lower": pa.float64(),
        "verdict": pa.string(),
    },
    "personal": {
        "user": pa.string(),
        "text": pa.string(),
        **READING,
        "count": pa.int64(),
        "last_used": TIME,
        "success_rate": pa.float64(),
    },
    "personal_rewrites": {"user": pa.string(), "source": pa.string(), "target": pa.string(), "count": pa.int64()},
}


def table(name: str, rows: list[dict[str, Any]]) -> pa.Table:
    """One of mining's tables from rows."""
    return pa.Table.from_pylist(rows, pa.schema(list(SCHEMAS[name].items())))


def reading(text: str) -> dict[str, Any]:
    """How the NLU reads a text: its first word is the intent, the rest the slot."""
    first, _, rest = text.partition(" ")
    return {"domain": "music", "intent": first, "slots": [{"name": "what", "value": rest}] if rest else []}


def turn_row(number: int, user: str, at: datetime, text: str, fails: bool) -> dict[str, Any]:
    """One row of `turns`."""
    return {
        "interaction_id": f"i{number:05d}",
        "user_id": user,
        "timestamp": at,
        "utterance": text.title(),
        "asr_confidence": 0.4 if fails else 0.9,
        **reading(text),
        "text": text,
        "defect_probability": 0.95 if fails else 0.03,
    }


def turn_rows(users: int = USERS) -> list[dict[str, Any]]:
    """On three days each user is misheard and says it again, then stops it; one text is nobody else's."""
    rows: list[dict[str, Any]] = []
    songs = list(SONGS.items())
    for day in (0, 3, 9):
        for user in range(users):
            meant, heard = songs[(user + day) % len(songs)]
            at = START + timedelta(days=day, minutes=7 * user)
            spoken = [(0, heard, True), (12, meant, False), (400, "stop", False), (900, f"call friend {user}", False)]
            for seconds, text, fails in spoken:
                rows.append(turn_row(len(rows), f"u{user:02d}", at + timedelta(seconds=seconds), text, fails))
    return rows


def tables_of(rows: list[dict[str, Any]], least_users: int = 5) -> dict[str, pa.Table]:
    """Mining's tables of the world, counted in the plainest way."""
    asked: dict[str, list[dict[str, Any]]] = defaultdict(list)
    own: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows:
        asked[row["text"]].append(row)
        if row["defect_probability"] < 0.5:
            own[row["user_id"], row["text"]].append(row)
    pairs = Counter((heard, meant) for meant, heard in SONGS.items() for _ in asked[heard])
    enough = {t: {r["user_id"] for r in found} for t, found in asked.items()}
    made: dict[str, list[dict[str, Any]]] = {name: [] for name in SCHEMAS}
    for text, found in sorted(asked.items()):
        users, defects = len(enough[text]), sum(r["defect_probability"] > 0.5 for r in found)
        if users < least_users:
            continue
        made["text_outcomes"].append(
            {"text": text, "users": users, "count": len(found), "defect_rate": defects / len(found)}
        )
        if not defects:
            counts = {"users": users, "days": 3, "count": len(found), "success_rate": 1.0, "success_lower": 0.8}
            made["utterances"].append({"text": text, **reading(text), **counts})
    for (source, target), count in sorted(pairs.items()):
        evidence = {"users": len(enough[source]), "days": 3, "count": count}
        made["reformulations"].append({"source": source, "target": target, "kind": "correction", **evidence})
        chain = {
            "worth": 0.9,
            "lower_bound": 0.7,
            "source_count": count,
            "source_defect_rate": 0.95,
            "evidence_id": "e",
        }
        made["rewrites"].append({"source": source, "target": target, **evidence, **chain})
    for (user, text), found in sorted(own.items()):
        last = max(r["timestamp"] for r in found)
        use = {"count": len(found), "last_used": last, "success_rate": 1.0}
        made["personal"].append({"user": user, "text": text, **reading(text), **use})
    first = rows[0] if rows else None
    if first is not None:
        pair = {"source": "ring my friend", "target": "call friend 0", "count": 2}
        made["personal_rewrites"].append({"user": first["user_id"], **pair})
    made["turns"] = rows
    return {name: table(name, made[name]) for name in SCHEMAS}


def write_mined(folder: Path, rows: list[dict[str, Any]], **replaced: pa.Table) -> Path:
    """Write what `reprise mine` writes, as far as learning reads it."""
    past = tables_of([r for r in rows if r["timestamp"] < SINCE])
    for where, tables in ((folder, {**tables_of(rows), **replaced}), (folder / "past", past)):
        for name, made in tables.items():
            (where / name).mkdir(parents=True)
            pq.write_table(made, where / name / "part-0.parquet")
    window = {"first": START.isoformat(), "last": SINCE.isoformat()}
    manifest = {"version": 1, "window": window, "holdback_from": SINCE.isoformat()}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    (folder / "_SUCCESS").touch()
    return folder


def tiny_generator(seed: int = 0) -> Generator:
    """A random byte-level generator of the smallest shape."""
    return Generator.build(TINY, seed)
