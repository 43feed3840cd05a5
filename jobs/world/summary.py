"""Figures of a simulated log, to see whether it is a fair world: `python -m jobs.world.summary FOLDER [--card FILE]`.

The last quarter of the days is the future, what lies before is history. A text is shared when at least three users got
what they wanted from it, on at least two days of history.
"""

import argparse
from collections import Counter, defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rapidfuzz import fuzz, process

from jobs.world.ellipsis import elliptical_texts
from jobs.world.tables import slots_of

Wish = tuple[str, frozenset[tuple[str, str]]]
MARKER = "<!-- figures: written by python -m jobs.world.summary -->"


@dataclass(frozen=True)
class Log:
    """Rows of logs.parquet joined with their truth, split in time; readings by text."""

    history: list[dict[str, Any]]
    future: list[dict[str, Any]]
    readings: dict[str, Wish]


def load(folder: Path) -> Log:
    """Read logs, truth and oracle of one folder. Raises OSError where one is missing."""
    columns = ["interaction_id", "user_id", "timestamp", "utterance", "asr_confidence", "status", "interrupted"]
    logs = pq.read_table(folder / "logs.parquet", columns=columns).to_pylist()
    truth = pq.read_table(folder / "truth.parquet").to_pylist()
    oracle = pq.read_table(folder / "oracle.parquet").to_pylist()
    rows = [{**turn, **known} for turn, known in zip(logs, truth, strict=True)]
    first = rows[0]["timestamp"].replace(hour=0, minute=0, second=0, microsecond=0)
    for row in rows:
        row["day"] = (row["timestamp"] - first).days
        row["wish"] = (row["intent"], slots_of(row))
    days = rows[-1]["day"] + 1
    cut = days - days // 4
    readings = {row["text"]: (row["intent"] or "", slots_of(row)) for row in oracle}
    return Log([r for r in rows if r["day"] < cut], [r for r in rows if r["day"] >= cut], readings)


def cures(reading: Wish | None, wish: Wish) -> bool:
    """Whether doing what was read satisfies the wish."""
    return reading is not None and reading[0] == wish[0] and wish[1] <= reading[1]


def shared_texts(log: Log) -> list[str]:
    """Texts that three users succeeded with over two days of history, sorted."""
    users: dict[str, set[str]] = defaultdict(set)
    days: dict[str, set[int]] = defaultdict(set)
    for row in log.history:
        if not row["defect"]:
            users[row["utterance"]].add(row["user_id"])
            days[row["utterance"]].add(row["day"])
    return sorted(text for text, who in users.items() if len(who) >= 3 and len(days[text]) >= 2)


def figures(log: Log) -> dict[str, float]:
    """The figures by name; shares in [0, 1]."""
    return {**_counts(log), **_behaviour(log), **_future(log)}


def _counts(log: Log) -> dict[str, float]:
    rows = log.history + log.future
    bad = [row for row in rows if row["defect"]]
    causes = Counter(row["cause"] for row in bad)
    elliptical = set(elliptical_texts())
    meant: dict[str, set[Wish]] = defaultdict(set)
    for row in rows:
        meant[row["utterance"]].add(row["wish"])
    return {
        "turns": len(rows),
        "users": len({row["user_id"] for row in rows}),
        "distinct texts": len({row["utterance"] for row in rows}),
        "distinct requests wanted": len({row["wish"] for row in rows}),
        "typed share": _share([row["asr_confidence"] is None for row in rows]),
        "defect rate": len(bad) / len(rows),
        "misheard texts": len({row["utterance"] for row in bad if row["cause"] == "misunderstood"}),
        "texts that stood for different wishes": sum(len(wishes) > 1 for wishes in meant.values()),
        "turns that only the session explains, share": _share([row["intended"] in elliptical for row in rows]),
        "defects of other cause, share": causes["other"] / max(len(bad), 1),
        "defects that were not understood (no_match), share": _share([row["status"] == "no_match" for row in bad]),
        "defects with status ok, share": _share([row["status"] == "ok" for row in bad]),
        "good turns interrupted, share": _share([row["interrupted"] for row in rows if not row["defect"]]),
    }


def _behaviour(log: Log) -> dict[str, float]:
    rows = log.history + log.future
    times = {row["interaction_id"]: row["timestamp"] for row in rows}
    said = {row["interaction_id"]: row["intended"] for row in rows}
    again = [row for row in rows if row["reformulates"]]
    gaps_s = [(row["timestamp"] - times[row["reformulates"]]).total_seconds() for row in again]
    defects = sum(row["defect"] for row in rows)
    return {
        "defects followed by a reformulation, share": len(again) / max(defects, 1),
        "reformulations in other words, share": _share([row["intended"] != said[row["reformulates"]] for row in again]),
        "reformulations that succeed, share": _share([not row["defect"] for row in again]),
        "gap to a reformulation, median s": float(np.median(gaps_s)) if gaps_s else 0.0,
        "gap to any other next turn of a session, median s": _other_gap_s(rows),
    }


def _other_gap_s(rows: list[dict[str, Any]]) -> float:
    last: dict[str, Any] = {}
    gaps_s = []
    for row in rows:
        gap_s = (row["timestamp"] - last[row["user_id"]]).total_seconds() if row["user_id"] in last else 0.0
        if 0 < gap_s < 1800 and not row["reformulates"]:
            gaps_s.append(gap_s)
        last[row["user_id"]] = row["timestamp"]
    return float(np.median(gaps_s)) if gaps_s else 0.0


def _future(log: Log) -> dict[str, float]:
    shared = shared_texts(log)
    can = {log.readings[text] for text in shared}
    own: dict[str, set[Wish]] = defaultdict(set)
    for row in log.history:
        if not row["defect"]:
            own[row["user_id"]].add(log.readings[row["utterance"]])
    seen = {row["utterance"] for row in log.history}
    bad = [row for row in log.future if row["defect"]]
    misheard = [row for row in bad if row["cause"] == "misunderstood"]
    by_shared = [any(cures(w, row["wish"]) for w in can) for row in misheard]
    by_own = [any(cures(w, row["wish"]) for w in own[row["user_id"]]) for row in misheard]
    return {
        "shared texts": len(shared),
        "future: turns": len(log.future),
        "future: defect rate": _share([row["defect"] for row in log.future]),
        "future: misheard texts never heard before, share": _share([row["utterance"] not in seen for row in misheard]),
        "future: ceiling by shared texts, share of defects": sum(by_shared) / max(len(bad), 1),
        "future: ceiling by the user's own, share of defects": sum(by_own) / max(len(bad), 1),
        "future: ceiling by either, share of defects": sum(map(max, by_shared, by_own)) / max(len(bad), 1),
        **_nearest(log, shared, misheard),
    }


def _nearest(log: Log, shared: list[str], misheard: list[dict[str, Any]]) -> dict[str, float]:
    good = [row for row in log.future if not row["defect"]]
    texts = {row["utterance"] for row in log.future} - set(shared)
    near = {text: found for text in sorted(texts) if (found := process.extractOne(text, shared, scorer=fuzz.ratio))}

    def right(row: dict[str, Any], at_least: float) -> bool | None:
        """None where the text is left alone."""
        found = near.get(row["utterance"])
        return cures(log.readings[found[0]], row["wish"]) if found and found[1] >= at_least else None

    out = {"nearest shared text, P@1 on misheard turns": _share([right(row, 0) is True for row in misheard])}
    for ratio in (80, 90):
        fixed = sum(right(row, ratio) is True for row in misheard)
        out[f"nearest > {ratio}: fixed share of defects"] = fixed / max(sum(r["defect"] for r in log.future), 1)
        out[f"nearest > {ratio}: broken share of good turns"] = _share([right(row, ratio) is False for row in good])
    return out


def intent_shares(log: Log) -> dict[str, float]:
    """Share of turns that want each intent, largest first."""
    counts = Counter(row["intent"] for row in log.history + log.future)
    total = sum(counts.values())
    return {intent: count / total for intent, count in counts.most_common()}


def _share(flags: list[bool]) -> float:
    return sum(flags) / len(flags) if flags else 0.0


def markdown(log: Log) -> str:
    """The figures as two Markdown tables."""
    lines = ["| figure | value |", "|---|---|"]
    lines += [f"| {name} | {_shown(value)} |" for name, value in figures(log).items()]
    lines += ["", "| intent wanted | share of turns |", "|---|---|"]
    lines += [f"| {intent} | {share:.3f} |" for intent, share in intent_shares(log).items()]
    return "\n".join(lines)


def _shown(value: float) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:.4f}" if value < 1 else f"{value:.1f}"


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--card", type=Path, help="put the figures at the end of this file, below its marker")
    args = parser.parse_args()
    text = markdown(load(args.folder))
    print(text)
    if args.card:
        before, marker, _ = args.card.read_text().partition(MARKER)
        if not marker:
            raise ValueError(f"no line {MARKER!r} in {args.card}: the figures go below it")
        args.card.write_text(f"{before}{marker}\n\n{text}\n")


if __name__ == "__main__":
    main()
