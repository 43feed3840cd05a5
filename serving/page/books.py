"""What the page reads: runs and bundles of the registry, and the texts and pairs of the bundle in force."""

import json
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from rewrite.registry import Registry

SHOWN = 50


def runs(registry: Path | None) -> list[dict[str, Any]]:
    """Reports of all ended runs with when they ended, the newest first."""
    found = []
    for path in (registry / "runs").glob("*/report.json") if registry is not None else []:
        report = _json(path)
        if report is not None:
            found.append({**report, "ended": path.stat().st_mtime})
    return sorted(found, key=lambda report: (-report["ended"], report["run"]))


def under_way(registry: Path | None) -> dict[str, Any] | None:
    """Who holds the run lock; None where no run is under way."""
    return _json(registry / "run.lock") if registry is not None else None


def bundles(registry: Path | None) -> list[dict[str, Any]]:
    """Manifests with aliases, the newest first."""
    if registry is None:
        return []
    opened = Registry(registry)
    aliases = opened.aliases()
    found = []
    for name in reversed(opened.bundles()):
        manifest = _json(registry / "bundles" / name / "manifest.json") or {}
        named = sorted(alias for alias, bundle in aliases.items() if bundle == name)
        found.append({**manifest, "id": name, "aliases": named})
    return found


def history(registry: Path | None) -> list[dict[str, Any]]:
    """What was done to the registry, the newest first."""
    return list(reversed(Registry(registry).history()))[:SHOWN] if registry is not None else []


def _json(path: Path) -> dict[str, Any] | None:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return value if isinstance(value, dict) else None


@dataclass(frozen=True)
class Book:
    """Texts and pairs of one bundle. `texts` are sorted; `known` and `outcomes` are rows by text."""

    pairs: list[dict[str, Any]]
    texts: list[str]
    known: dict[str, dict[str, Any]]
    outcomes: dict[str, dict[str, Any]]

    def search(self, words: str) -> list[dict[str, Any]]:
        """Pairs that hold every word in source or target, the strongest first."""
        wanted = words.lower().split()
        found = [p for p in self.pairs if all(w in f"{p['source']} {p['target']}" for w in wanted)]
        return sorted(found, key=lambda p: (-p["count"], p["source"], p["target"]))[:SHOWN]

    def continuations(self, prefix: str) -> list[tuple[str, int]]:
        """Next words after `prefix`, whole words, with how many texts go on so; "" where a text ends there."""
        start = prefix if not prefix or prefix.endswith(" ") else prefix + " "
        counts: Counter[str] = Counter()
        for row in range(bisect_left(self.texts, prefix), len(self.texts)):
            text = self.texts[row]
            if text == prefix:
                counts[""] += 1
            elif text.startswith(start):
                counts[text[len(start) :].partition(" ")[0]] += 1
            elif not text.startswith(prefix):
                break
        return sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))[:SHOWN]

    def prefix(self, text: str) -> str:
        """The longest beginning of `text`, in whole words, that some text shares."""
        words = text.split()
        for length in range(len(words), 0, -1):
            start = " ".join(words[:length])
            row = bisect_left(self.texts, start)
            nearby = self.texts[row : row + 1]
            if nearby and (nearby[0] == start or nearby[0].startswith(start + " ")):
                return start
        return ""


def book(bundle: str) -> Book | None:
    """The book of a bundle's folder; None where it has no tables."""
    return _book(bundle) if (Path(bundle) / "global" / "utterances.parquet").is_file() else None


@lru_cache(maxsize=2)
def _book(bundle: str) -> Book:
    import pyarrow.parquet as pq

    names = ("rewrites", "utterances", "text_outcomes")
    tables = {name: pq.read_table(Path(bundle) / "global" / f"{name}.parquet").to_pylist() for name in names}
    known = {row["text"]: row for row in tables["utterances"]}
    return Book(tables["rewrites"], sorted(known), known, {row["text"]: row for row in tables["text_outcomes"]})


def difference(one: str, other: str) -> dict[str, Any] | None:
    """What the second bundle's folder has that the first has not, and the other way round."""
    books = (book(one), book(other))
    if books[0] is None or books[1] is None:
        return None
    texts = [set(b.texts) for b in books if b]
    pairs = [{(p["source"], p["target"]) for p in b.pairs} for b in books if b]
    kinds = {"pairs": pairs, "texts": [{(t, "") for t in found} for found in texts]}
    found: dict[str, Any] = {}
    for name, (before, after) in kinds.items():
        for change, rows in (("added", after - before), ("removed", before - after)):
            found[f"{name} {change}"] = {"count": len(rows), "shown": sorted(rows)[:SHOWN]}
    return found


def why_not(known: Book, text: str, blocked: frozenset[str]) -> list[str]:
    """Why a text cannot come out for everybody, or that it can, in sentences."""
    if text in blocked:
        return ["It is blocked. Lift the block to let it out again."]
    if text in known.known:
        row = known.known[text]
        return [
            f"It can: it worked for {row['users']} users on {row['days']} days, {row['success_rate']:.0%} of the time."
        ]
    found = ["It is not among the texts that worked for enough different users on enough days."]
    seen = known.outcomes.get(text)
    if seen is not None:
        found.append(
            f"It was asked by {seen['users']} users {seen['count']} times and failed {seen['defect_rate']:.0%} "
            "of the time."
        )
    else:
        found.append("Hardly anybody asked it, so nothing is known of it.")
    start = known.prefix(text)
    found.append(
        f"Texts in force agree with it as far as “{start}”." if start else "No text in force begins as it does."
    )
    return found
