"""Scoring of rewrites, slow and obvious: one turn after the other, rows as plain dicts."""

from collections.abc import Mapping, Sequence
from typing import Any

COMMANDS = {"iot", "audio", "alarm", "play", "music", "lists", "calendar", "datetime", "weather", "transport"}

Row = Mapping[str, Any]


def does(text: str, oracle: Mapping[str, Row], want: Row) -> bool:
    """Whether the assistant, given `text`, does what the turn's user wanted."""
    did = oracle.get(text)
    if did is None or did["intent"] != want["intent"]:
        return False
    wanted = [(s["name"], s["value"]) for s in want["slots"]]
    done = [(s["name"], s["value"]) for s in did["slots"]]
    if wanted:
        return all(slot in done for slot in wanted)
    if want["domain"] in COMMANDS:
        return True
    words = want["intended"].split()
    return len([w for w in words if w in text.split()]) >= len(words) / 2


def score(queries: Sequence[str], made: Sequence[str | None], truth: Sequence[Row], oracle: Mapping[str, Row]) -> Row:
    """Every metric as a plain ratio; zero where there is nothing to divide by."""
    rewritten = right = fixed = broken = 0
    for query, text, want in zip(queries, made, truth, strict=True):
        if text is None or text == query:
            continue
        rewritten += 1
        if does(text, oracle, want):
            right += 1
            if want["defect"] and want["cause"] == "misunderstood":
                fixed += 1
        elif not want["defect"]:
            broken += 1
    turns, bad = len(truth), sum(want["defect"] for want in truth)
    return {
        "trigger_rate": rewritten / turns,
        "precision": right / max(rewritten, 1),
        "fixed": fixed / max(bad, 1),
        "harm": broken / max(turns - bad, 1),
        "cpdr_before": bad / turns,
        "cpdr_after": (bad - fixed + broken) / turns,
        "cpdr_change": (broken - fixed) / max(bad, 1),
    }
