"""Mining's turns to the table of sequels: what users went on to succeed with after a text had failed them."""

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from jobs.acted import as_said
from rewrite.sequels import SCHEMA
from rewrite.turn import Reading

Key = tuple[Any, ...]
"""Text, intent and slots, as far as they are told apart."""

LATER_TURNS = 3
GAP_S = 120.0
"""A sequel is among the next three turns, each within two minutes of the one before."""


def sequels(turns: pa.Table, least_users: int) -> pa.Table:
    """The first success after each failure: distinct users per failed text and what it was read as.

    Less than `least_users` are not told of. What was rewritten is left out. Null stands for any slots, intent or text;
    of any text, every user counts once per text.

    Returns:
        A table of `rewrite.sequels.SCHEMA`, sorted.
    """
    users: dict[Key, set[str]] = defaultdict(set)
    for user, text, reading in _moves(as_said(turns)):
        for key in ((text,), (text, reading.intent), (text, reading.intent, tuple(sorted(reading.slots)))):
            users[key].add(user)
    common: Counter[Any] = Counter()
    for key, found in users.items():
        if len(key) == 2:
            common[key[1]] += len(found)
    kept = {key: len(found) for key, found in users.items() if len(key) > 1 and len(found) >= least_users}
    kept |= {key: len(users[key]) for key in {key[:1] for key in kept}}
    rows = [_row((None, intent), count) for intent, count in sorted(common.items())]
    rows += [_row(key, count) for key, count in sorted(kept.items())]
    return pa.Table.from_pylist(rows, SCHEMA)


def _row(key: Key, users: int) -> dict[str, Any]:
    text, intent, slots = (*key, None, None)[:3]
    pairs = None if slots is None else [{"name": name, "value": value} for name, value in slots]
    return {"text": text, "intent": intent, "slots": pairs, "users": users}


def _moves(turns: pa.Table) -> Iterator[tuple[str, str, Reading]]:
    """User, failed text, and how the first success after it was read."""
    if "intent" not in turns.column_names:
        return
    ordered = turns.sort_by([("user_id", "ascending"), ("timestamp", "ascending"), ("interaction_id", "ascending")])
    users, texts, intents = (ordered[name].to_pylist() for name in ("user_id", "text", "intent"))
    slots = ordered["slots"].to_pylist() if "slots" in ordered.column_names else [None] * len(texts)
    fails = pc.greater(ordered["defect_probability"], 0.5).to_pylist()
    seconds = pc.divide(pc.cast(ordered["timestamp"], pa.int64()), 1e6).to_pylist()
    for row in (row for row, failed in enumerate(fails) if failed):
        for later in range(row + 1, min(row + 1 + LATER_TURNS, len(users))):
            if users[later] != users[row] or seconds[later] - seconds[later - 1] > GAP_S:
                break
            if not fails[later] and texts[later] != texts[row]:
                if intents[later] is not None:
                    yield users[row], texts[row], Reading.of(None, intents[later], slots[later])
                break
