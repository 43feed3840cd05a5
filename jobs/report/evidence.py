"""Why a rewrite was made: what mining saw of the pair and of its target."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

Pair = tuple[str, str]


def evidence(mined: Path | None, pairs: Iterable[Pair]) -> dict[Pair, str]:
    """One line of evidence for each (source, target), from a mining run; empty lines where `mined` is None.

    Raises:
        FileNotFoundError: `mined` is no mining run.
    """
    wanted = set(pairs)
    if mined is None or not wanted:
        return dict.fromkeys(wanted, "")
    seen = {(r["source"], r["target"]): r for r in _rows(mined / "reformulations", "source", {s for s, _ in wanted})}
    known = {r["text"]: r for r in _rows(mined / "utterances", "text", {t for _, t in wanted})}
    return {pair: "; ".join(_lines(seen.get(pair), known.get(pair[1]))) for pair in wanted}


def _lines(pair: Mapping[str, Any] | None, target: Mapping[str, Any] | None) -> Iterable[str]:
    if pair is not None:
        examples = ", ".join(list(pair.get("examples") or ())[:3])
        shown = f" (e.g. {examples})" if examples else ""
        times = f"{_count(pair['count'], 'time')} on {_count(pair['days'], 'day')}"
        yield f"{_count(pair['users'], 'user')} asked for that next, {times}{shown}"
    if target is not None:
        share = f"{100 * target['success_rate']:.0f} %"
        yield f"the target worked in {share} of {_count(target['count'], 'turn')} of {_count(target['users'], 'user')}"
    if pair is None and target is None:
        yield "one of the user's own texts"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _rows(folder: Path, column: str, values: set[str]) -> list[dict[str, Any]]:
    if not folder.exists():
        raise FileNotFoundError(
            f"no table {folder.name}; got {folder.parent}; expected a folder that `reprise mine` wrote; the wrong path?"
        )
    table = pq.read_table(folder)
    wanted = pa.array(sorted(values), table.schema.field(column).type)
    rows: list[dict[str, Any]] = table.filter(pc.is_in(table[column], value_set=wanted)).to_pylist()
    return rows
