"""What a log looks like in a few numbers, and how far one log's look is from another's."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

PROFILED = ("asr_confidence", "domain", "intent", "nlu_confidence", "status", "interrupted", "dwell_s", "device")
"""Columns whose share of nulls is watched."""

LENGTHS = (1, 2, 3, 4, 5, 6, 8, 10, 15, 20)
"""Upper ends of the length classes, words."""

VOCABULARY = 500
"""Most frequent words that are remembered; only those that `LEAST_USERS` users have said."""

LEAST_USERS = 5
_FLOOR = 1e-4


def profile(mined: Path) -> dict[str, Any]:
    """Rows, users, null shares, shares of lengths, words and intents, pairs, and the greatest share of one user."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    have = pq.read_schema(next((mined / "turns").glob("*.parquet"))).names
    wanted = ["user_id", "text", *(name for name in PROFILED if name in have)]
    turns = pq.read_table(mined / "turns", columns=wanted)
    rows = max(1, turns.num_rows)
    users = turns.group_by("user_id").aggregate([([], "count_all")])
    pairs = pq.read_table(mined / "rewrites", columns=["source", "target"])
    return {
        "rows": turns.num_rows,
        "users": users.num_rows,
        "greatest_user_share": round((pc.max(users["count_all"]).as_py() or 0) / rows, 6),
        "null_share": {n: round(turns[n].null_count / rows, 6) for n in wanted[2:]},
        "lengths": _lengths(turns["text"]),
        "words": _words(turns),
        "intents": _shares(turns["intent"].drop_null().to_pylist()) if "intent" in wanted else {},
        "pairs": pairs.num_rows,
    }


def drift(now: Mapping[str, float], before: Mapping[str, float]) -> float:
    """Population stability index of two distributions: sum of (p - q) ln(p / q), each share at least 0.0001.

    Under 0.1 is usually called no change, over 0.25 a great one.
    """
    found = 0.0
    for name in now.keys() | before.keys():
        p, q = max(now.get(name, 0.0), _FLOOR), max(before.get(name, 0.0), _FLOOR)
        found += (p - q) * math.log(p / q)
    return found


def unseen(now: Mapping[str, float], before: Mapping[str, float]) -> float:
    """Share of what is said now that is said in words not frequent before."""
    total = sum(now.values())
    return sum(share for word, share in now.items() if word not in before) / total if total else 0.0


def _lengths(texts: Any) -> dict[str, float]:
    import numpy as np
    import pyarrow.compute as pc

    words = np.asarray(pc.add(pc.count_substring(texts, " "), 1))
    counts = np.bincount(np.searchsorted(LENGTHS, words), minlength=len(LENGTHS) + 1)
    names = [*(f"<= {most}" for most in LENGTHS), "more"]
    return {name: round(float(n) / max(1, len(words)), 6) for name, n in zip(names, counts, strict=True)}


def _words(turns: Any) -> dict[str, float]:
    from collections import Counter, defaultdict

    counts: Counter[str] = Counter()
    users: dict[str, set[str]] = defaultdict(set)
    for text, user in zip(turns["text"].to_pylist(), turns["user_id"].to_pylist(), strict=True):
        for word in text.split():
            counts[word] += 1
            if len(users[word]) < LEAST_USERS:
                users[word].add(user)
    total = max(1, counts.total())
    known = [(word, n) for word, n in counts.items() if len(users[word]) >= LEAST_USERS]
    known.sort(key=lambda pair: (-pair[1], pair[0]))
    return {word: round(n / total, 6) for word, n in known[:VOCABULARY]}


def _shares(values: list[str]) -> dict[str, float]:
    from collections import Counter

    return {name: round(n / len(values), 6) for name, n in sorted(Counter(values).items())}
