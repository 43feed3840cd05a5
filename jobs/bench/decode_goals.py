"""What constrained search is meant to reach, and by how much a measured row misses it.

On a CPU the ratios are of CPU time, which others' work on the machine hardly disturbs.
"""

from collections.abc import Iterator, Sequence
from typing import Any

Row = dict[str, Any]


def goals(rows: Sequence[Row], on_cpu: bool) -> list[Row]:
    """Each goal with what it asks for, what was measured and whether it is met; only those the rows can tell."""
    return [goal for goal in _goals(rows, on_cpu) if goal["got"] is not None]


def _goals(rows: Sequence[Row], on_cpu: bool) -> Iterator[Row]:
    time = "cpu_ms_per_query" if on_cpu else "ms_per_query"
    for row in [row for row in rows if row["key"] == "ours"]:
        cell = (row["size"], row["batch"], row["k"])
        beside = {r["key"]: r.get(time) for r in rows if (r["size"], r["batch"], r["k"]) == cell}
        if row["size"] >= 1_000_000 and row["batch"] == 1:
            yield _least("times faster than generate with a dict trie", row, _ratio(beside, "dict"), 5)
            yield _least("times faster than generate with a marisa trie", row, _ratio(beside, "marisa"), 5)
        if row["size"] >= 1_000_000:
            yield _least("times faster than generate without a constraint", row, _ratio(beside, "free"), 1)
        if row["size"] <= 50:
            yield _least("times faster than generate with a dict trie", row, _ratio(beside, "dict"), 4)
        yield _least("share of queries proved", row, row["proved_share"], 0.99)
        if row["size"] >= 1000:
            yield _most("bytes of index per text", row, row["bytes_per_text"], 36)
            yield _most("bytes of store per text", row, row.get("store_bytes_per_text"), 8)
    for row in [row for row in rows if row["key"] == "step"]:
        yield _most("ms of a step that the constraint takes", row, row["constraint_ms"], 0.033)
        yield _most("share of a step that the constraint takes", row, row["constraint_share"], 0.01)


def _ratio(beside: dict[str, float | None], name: str) -> float | None:
    theirs, ours = beside.get(name), beside.get("ours")
    return theirs / ours if theirs and ours else None


def _least(what: str, row: Row, got: float | None, wanted: float) -> Row:
    return _goal(what, row, got, wanted, got is not None and got >= wanted)


def _most(what: str, row: Row, got: float | None, wanted: float) -> Row:
    return _goal(what, row, got, wanted, got is not None and got <= wanted)


def _goal(what: str, row: Row, got: float | None, wanted: float, met: bool) -> Row:
    return {"goal": what, "texts": row["texts"], "batch": row["batch"], "k": row["k"], "wanted": wanted, "got": got,
            "met": met}  # fmt: skip


def line(goal: Row) -> str:
    """A goal for the terminal."""
    where = f"{goal['texts']} texts, batch {goal['batch']}, k {goal['k']}"
    return f"{'met   ' if goal['met'] else 'MISSED'} {goal['got']:8.3g} of {goal['wanted']:g} {goal['goal']} ({where})"
