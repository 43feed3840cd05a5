"""What users really wanted, and whether a rewrite does it: for scoring only, never for learning."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rewrite.text import normalise

COMMAND_DOMAINS = frozenset(
    {"iot", "audio", "alarm", "play", "music", "lists", "calendar", "datetime", "weather", "transport"}
)
"""A request of these domains without slots is a plain command: its intent alone says all of it."""

WORDS_SHARE = 0.5
"""Elsewhere a request without slots counts as met from this share of its words on."""

TRUTH_COLUMNS = ("interaction_id", "intended", "domain", "intent", "slots", "defect")
ORACLE_COLUMNS = ("text", "intent", "slots")


@dataclass(frozen=True)
class Want:
    """What the user of one turn wanted."""

    intended: str
    domain: str | None
    intent: str | None
    slots: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Deed:
    """What the assistant does with one text."""

    intent: str | None
    slots: frozenset[tuple[str, str]]


@dataclass(frozen=True)
class Truth:
    """Truth of N turns: their wants, and boolean arrays of shape (N,). `curable` as in `metrics.Outcomes`."""

    wants: tuple[Want, ...]
    defect: NDArray[np.bool_]
    curable: NDArray[np.bool_]


def read_truth(path: Path, interaction_ids: Sequence[str]) -> Truth:
    """Read the truth of the turns `interaction_ids`, in their order; further rows of the file are passed over.

    Raises:
        FileNotFoundError: no such file. ValueError: not a truth table, or a turn has no row in it.
    """
    table = _read(path, TRUTH_COLUMNS, "truth table")
    rows = {row["interaction_id"]: row for row in table.to_pylist()}
    missing = [i for i in interaction_ids if i not in rows]
    if missing:
        raise ValueError(
            f"turns without truth; got {len(missing)} of {len(interaction_ids)} turns that have no row in {path} "
            f"(the first: {missing[0]}); expected one for each; do turns and truth belong together?"
        )
    kept = [rows[i] for i in interaction_ids]
    defect = np.array([bool(row["defect"]) for row in kept], dtype=bool)
    misunderstood = np.array([row.get("cause", "misunderstood") == "misunderstood" for row in kept], dtype=bool)
    return Truth(tuple(map(_want, kept)), defect, defect & misunderstood)


def read_oracle(path: Path) -> dict[str, Deed]:
    """Read what the assistant does with each text, keyed by normalised text.

    Raises:
        FileNotFoundError: no such file. ValueError: not an oracle table.
    """
    rows = _read(path, ORACLE_COLUMNS, "oracle table").to_pylist()
    return {normalise(row["text"]): Deed(row["intent"], _slots(row["slots"])) for row in rows}


def satisfied(text: str, deed: Deed | None, want: Want) -> bool:
    """Whether doing `deed` for `text` gives the user what they wanted.

    Same intent, every wanted slot present, and, where the wanted request has no slots and is not a plain command,
    at least half of its words. `deed` None means that nobody knows what the assistant would do: not satisfied.
    """
    if deed is None or deed.intent != want.intent:
        return False
    if want.slots:
        return want.slots <= deed.slots
    words, said = want.intended.split(), set(text.split())
    return want.domain in COMMAND_DOMAINS or sum(w in said for w in words) >= WORDS_SHARE * len(words)


def judge(rewrites: Sequence[str | None], truth: Truth, oracle: Mapping[str, Deed] | None) -> NDArray[np.bool_]:
    """Which rewrites are right, shape (N,), False where there is none.

    With an oracle: `satisfied`. Without: the rewrite equals the intended request.
    """
    return np.array([_right(t, want, oracle) for t, want in zip(rewrites, truth.wants, strict=True)], dtype=bool)


def _right(text: str | None, want: Want, oracle: Mapping[str, Deed] | None) -> bool:
    if text is None:
        return False
    if oracle is None:
        return normalise(text) == normalise(want.intended)
    return satisfied(text, oracle.get(normalise(text)), want)


def _want(row: Mapping[str, Any]) -> Want:
    return Want(row["intended"] or "", row["domain"], row["intent"], _slots(row["slots"]))


def _slots(slots: Sequence[Mapping[str, str]] | None) -> frozenset[tuple[str, str]]:
    return frozenset((s["name"], s["value"]) for s in slots or ())


def _read(path: Path, columns: Sequence[str], what: str) -> pa.Table:
    if not path.exists():
        raise FileNotFoundError(f"no {what}; got {path}; expected a parquet file; is the path right?")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"cannot read {path}; got {error}; expected parquet; is the file complete?") from error
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise ValueError(
            f"{path} is no {what}; got columns {', '.join(table.column_names[:12])}; "
            f"expected also {', '.join(missing)}; the wrong file?"
        )
    return table
