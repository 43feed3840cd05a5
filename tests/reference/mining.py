"""Mining in plain Python: slow, obvious, row by row. The oracle for what Spark computes."""

import hashlib
import re
import unicodedata
from collections import Counter, defaultdict
from datetime import datetime
from typing import Any

import numpy as np

Row = dict[str, Any]


def edit_distance(a: str, b: str) -> int:
    """Levenshtein's table, cell by cell."""
    table = [[i + j if i * j == 0 else 0 for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            same = table[i - 1][j - 1] + (a[i - 1] != b[j - 1])
            table[i][j] = min(table[i - 1][j] + 1, table[i][j - 1] + 1, same)
    return table[len(a)][len(b)]


def similarity(a: str, b: str) -> float:
    """1 - distance / longer length, four places."""
    return round(1 - edit_distance(a, b) / max(len(a), len(b)), 4)


def normalise(text: str) -> str:
    """Lower case and single spaces: enough for the texts in tests."""
    return " ".join(unicodedata.normalize("NFKC", text).lower().split())


def seconds(a: datetime, b: datetime) -> float:
    """Seconds from `a` to `b`."""
    return (b - a).total_seconds()


def sessions(rows: list[Row], session_gap_s: float, followup_gap_s: float, split: datetime | None) -> list[Row]:
    """Rows of all users in order, with what sessions.py adds."""
    users: dict[str, list[Row]] = defaultdict(list)
    for row in rows:
        users[row["user_id"]].append(dict(row))
    done = []
    for user in sorted(users):
        turns = sorted(users[user], key=lambda r: (r["timestamp"], r["interaction_id"]))
        _number(turns, session_gap_s, split)
        for turn, after in zip(turns, [*turns[1:], None], strict=True):
            turn["last"] = after is None or after["session_id"] != turn["session_id"]
            turn["next_gap_s"] = seconds(turn["timestamp"], after["timestamp"]) if after else None
            near = after is not None and not turn["last"] and turn["next_gap_s"] <= followup_gap_s
            turn["next"] = after if near else None
            turn["similarity"] = similarity(turn["text"], after["text"]) if near else None
        done += turns
    return done


def _number(turns: list[Row], session_gap_s: float, split: datetime | None) -> None:
    before: Row | None = None
    ranks: Counter[Any] = Counter()
    for turn in turns:
        turn["text"] = normalise(turn["utterance"])
        acted = turn.get("rewrite") and turn["rewrite"]["text"] and not turn["rewrite"]["holdout"]
        turn["effective_text"] = normalise(turn["rewrite"]["text"]) if acted else turn["text"]
        turn["gap_s"] = seconds(before["timestamp"], turn["timestamp"]) if before else None
        crossed = bool(split and before and (before["timestamp"] < split <= turn["timestamp"]))
        if before is None or turn["gap_s"] > session_gap_s or crossed:
            turn["session_id"], turn["turn_index"] = turn["interaction_id"], 0
        else:
            turn["session_id"], turn["turn_index"] = before["session_id"], before["turn_index"] + 1
        ranks[turn["timestamp"].date()] += 1
        turn["user_day_rank"] = ranks[turn["timestamp"].date()]
        before = turn


def signals(turns: list[Row], scales: Any, medians: dict[str, float]) -> None:
    """Add the levels that signals.py adds."""
    previous = None
    for turn in turns:
        usual = medians.get(turn["intent"], scales.dwell_median_s)
        dwell = turn["dwell_s"] / usual if turn["dwell_s"] is not None and usual else None
        turn["signal_status"] = 0 if turn["status"] is None else 1 if turn["status"] == "ok" else 2
        turn["signal_interrupted"] = 0 if turn["interrupted"] is None else 2 if turn["interrupted"] else 1
        turn["signal_dwell"] = 0 if dwell is None else 1 + sum(dwell >= e for e in (0.05, 0.1, 0.2, 0.4, 0.8))
        step = sum(turn["similarity"] >= e for e in (0.3, 0.5, 0.7, 0.9999)) if turn["next"] else 0
        turn["signal_followup"] = 0 if not turn["next"] else step + (1 if turn["next_gap_s"] <= 45 else 6)
        for name, edges in (("asr", scales.asr_edges), ("nlu", scales.nlu_edges)):
            value = turn[f"{name}_confidence"]
            turn[f"signal_{name}"] = 0 if value is None else 1 + sum(value >= e for e in edges)
        opening = (
            r"(no|nope|wrong|stop|cancel|i said|i meant|i mean|not that|that's not|that is not|that's wrong|actually)\b"
        )
        turn["signal_words"] = int(bool(turn["next"] and re.match(opening, turn["next"]["text"])))
        same_user = previous is not None and previous["user_id"] == turn["user_id"]
        before = previous["signal_followup"] if same_user else 0
        turn["signal_again"] = 2 if before == 5 else 1 if before in (3, 4) else 0
        back = turn["next_gap_s"] is not None and turn["next_gap_s"] <= 8 * 3600
        turn["signal_abandoned"] = 0 if not turn["last"] else 1 if back else 2
        previous = turn


def score(turns: list[Row], model: Any) -> None:
    """Add defect_probability by Bayes' rule, factor by factor."""
    for turn in turns:
        good, bad = 1 - model.defect_rate, model.defect_rate
        for name, table in model.tables.items():
            good, bad = good * table[0][turn[name]], bad * table[1][turn[name]]
        turn["defect_probability"] = bad / (good + bad)


def kinds(turns: list[Row], pair_gap_s: float) -> None:
    """Add followup_kind."""
    for turn in turns:
        turn["followup_kind"] = _kind(turn) if turn["next"] and turn["next_gap_s"] <= pair_gap_s else None


def _kind(turn: Row) -> str:
    mine, theirs = set(turn["effective_text"].split(" ")), set(turn["next"]["text"].split(" "))
    common, failed = len(mine & theirs), turn["defect_probability"] >= 0.5
    if turn["next"]["text"] == turn["effective_text"]:
        return "repetition"
    if failed and turn["similarity"] >= 0.6:
        return "correction"
    if failed and (turn["similarity"] >= 0.35 or common * 2 >= len(theirs)):
        return "rewording"
    if not failed and abs(len(mine) - len(theirs)) <= 1 and common >= 1 and len(mine) - common <= 2:
        return "exploration"
    if not failed and common in (len(mine), len(theirs)):
        return "continuation"
    return "new"


RETRIES = ("correction", "rewording", "repetition")


def resolutions(turns: list[Row], reach: int = 3) -> None:
    """Add resolution: the first of the next turns that worked, every step to it a retry."""
    for at, turn in enumerate(turns):
        turn["resolution"] = None
        for step in range(reach):
            current = turns[at + step]
            if current["defect_probability"] < 0.5 or current["followup_kind"] not in RETRIES:
                break
            if turns[at + step + 1]["defect_probability"] < 0.5:
                turn["resolution"] = turns[at + step + 1]
                break


def wilson_lower(rate: float, n: float, z: float = 1.645) -> float:
    """Lower end of Wilson's interval."""
    if n == 0:
        return 0.0
    half = z * (rate * (1 - rate) / n + z * z / (4 * n * n)) ** 0.5
    return max((rate + z * z / (2 * n) - half) / (1 + z * z / n), 0.0)


def as_said(turn: Row) -> bool:
    """Whether the assistant acted on what the user said: else the turn is evidence for its rewrite only."""
    return bool(turn["text"] == turn["effective_text"])


def spaces(turns: list[Row], min_users: int, min_days: int, pair_users: int) -> dict[str, list[Row]]:
    """utterances, personal and text_outcomes."""
    by_text: dict[str, dict[str, list[Row]]] = defaultdict(lambda: defaultdict(list))
    for turn in filter(as_said, turns):
        by_text[turn["text"]][turn["user_id"]].append(turn)
    tables: dict[str, list[Row]] = {"utterances": [], "personal": [], "text_outcomes": []}
    for text, users in by_text.items():
        rates = {user: np.mean([1 - t["defect_probability"] for t in own]) for user, own in users.items()}
        worked = {user: [t for t in own if t["defect_probability"] < 0.5] for user, own in users.items()}
        days = {t["timestamp"].date() for own in worked.values() for t in own}
        rate, count = float(np.mean(list(rates.values()))), sum(map(len, users.values()))
        happy = [user for user in users if worked[user]]
        if len(happy) >= min_users and len(days) >= min_days:
            reading = _modal([t for own in worked.values() for t in own])
            numbers = {"users": len(happy), "days": len(days), "count": count, "success_rate": rate}
            lower = wilson_lower(rate, len(users))
            tables["utterances"].append({"text": text, **reading, **numbers, "success_lower": lower})
        if len(users) >= pair_users:
            tables["text_outcomes"].append({"text": text, "users": len(users), "count": count, "defect_rate": 1 - rate})
        for user in happy:
            last = max(t["timestamp"] for t in worked[user])
            numbers = {"count": len(users[user]), "last_used": last, "success_rate": float(rates[user])}
            tables["personal"].append({"user": user, "text": text, **_modal(worked[user]), **numbers})
    return tables


def _modal(turns: list[Row]) -> Row:
    counts: Counter[Any] = Counter()
    for t in turns:
        slots = None if t["slots"] is None else tuple((s["name"], s["value"]) for s in t["slots"])
        counts[(t["domain"], t["intent"], slots)] += 1
    (domain, intent, slots), _ = min(counts.items(), key=lambda kv: (-kv[1], str(kv[0])))
    return {"domain": domain, "intent": intent, "slots": slots}


def reformulations(turns: list[Row]) -> list[Row]:
    """The evidence table, a row per source, target and kind."""
    found: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for turn in filter(as_said, turns):
        if turn["followup_kind"] and as_said(turn["next"]):
            found[(turn["text"], turn["next"]["text"], turn["followup_kind"])].append(turn)
    return [
        {
            "source": source,
            "target": target,
            "kind": kind,
            "users": len({t["user_id"] for t in own}),
            "days": len({t["timestamp"].date() for t in own}),
            "count": len(own),
            "similarity": max(t["similarity"] for t in own),
        }
        for (source, target, kind), own in found.items()
    ]


def votes(turns: list[Row]) -> tuple[dict[str, Row], dict[tuple[str, str], Row]]:
    """Nodes and edges of the chain before any floor: one vote per user, text and day, exact in floating point."""
    groups: dict[tuple[str, str, Any], list[Row]] = defaultdict(list)
    for turn in filter(as_said, turns):
        groups[(turn["text"], turn["user_id"], turn["timestamp"].date())].append(turn)
    nodes: dict[str, Row] = defaultdict(lambda: {"votes": 0, "success": 0.0, "repeat": 0.0, "users": set(), "count": 0})
    edges: dict[tuple[str, str], Row] = defaultdict(lambda: {"weight": 0.0, "users": set(), "alike": False})
    for (text, user, _), own in groups.items():
        node = nodes[text]
        node["votes"] += 1
        node["users"].add(user)
        node["count"] += len(own)
        for turn in own:
            p = turn["defect_probability"]
            node["success"] += (1 - p) / len(own)
            alike = turn["followup_kind"] in RETRIES
            if not (alike or (turn["followup_kind"] and p >= 0.5 and turn["next_gap_s"] <= 45)):
                continue
            if not as_said(turn["next"]):
                continue
            target = turn["next"]["text"]
            if target == text:
                node["repeat"] += p / len(own)
            else:
                edge = edges[(text, target)]
                edge["weight"] += p / len(own)
                edge["users"].add(user)
                edge["alike"] |= alike
    return dict(nodes), dict(edges)


def absorbed(q: np.ndarray, r: np.ndarray) -> np.ndarray:
    """B[s, t]: probability that a walk from s ends in t's success; Q (N, N) with repeats on its diagonal, R (N,)."""
    visits = np.linalg.inv(np.eye(len(q)) - q)
    return visits * r[None, :]


def shard(user: str, shards: int) -> int:
    """A user's shard."""
    return int(hashlib.sha256(user.encode()).hexdigest()[:8], 16) % shards
