"""Logs on their way in: with what the service did to each turn, and was told of it, from its exposure log."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS = ("text", "source", "bundle", "propensity", "holdout")
OUTCOMES = ("status", "interrupted", "dwell_s")


@dataclass
class Exposures:
    """By interaction id.

    Attributes:
        rewrites: what was decided; of several decisions of one turn the last.
        outcomes: what feedback said became of the turn, field by field; of several the last.
    """

    rewrites: dict[str, dict[str, Any]] = field(default_factory=dict)
    outcomes: dict[str, dict[str, Any]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path) -> "Exposures":
        """Read every file of the log. Torn lines are left out, and feedback on a turn that is nowhere."""
        found, asked, told = cls(), {}, []
        for record in _records(folder):
            try:
                if record["kind"] == "decision" and record["interaction_id"] is not None:
                    found.rewrites[record["interaction_id"]] = {name: record["rewrite"][name] for name in FIELDS}
                    asked[record.get("request_id")] = record["interaction_id"]
                elif record["kind"] == "feedback":
                    told.append(record)
            except (KeyError, TypeError):
                continue
        for record in told:
            turn = record.get("interaction_id") or asked.get(record.get("request_id"))
            if turn is not None:
                said = {name: record[name] for name in OUTCOMES if record.get(name) is not None}
                found.outcomes.setdefault(turn, {}).update(said)
        return found


def _records(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("exposures-*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                yield json.loads(line)
            except ValueError:
                continue


def with_exposures(files: Sequence[Path], found: Exposures, out: Path) -> list[Path]:
    """Write every log with its `rewrite` column filled, and what feedback says where the log itself says nothing.

    A turn's own entry stays where `found` has none.

    Raises:
        ValueError: a file cannot be read as a log.
    """
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number, path in enumerate(files):
        table = _read(path)
        if "interaction_id" not in table.column_names:
            raise ValueError(f"{path} has no column interaction_id; got {', '.join(table.column_names[:12])}; a log?")
        ids = table["interaction_id"].to_pylist()
        own = _column(table, "rewrite")
        table = _with(table, "rewrite", [found.rewrites.get(i, mine) for i, mine in zip(ids, own, strict=True)])
        for name in OUTCOMES:
            said = [found.outcomes.get(i, {}).get(name) for i in ids]
            if any(value is not None for value in said):
                logged = _column(table, name)
                table = _with(table, name, [b if a is None else a for a, b in zip(logged, said, strict=True)])
        written.append(out / f"logs-{number:05d}.parquet")
        pq.write_table(table, written[-1])
    return written


def _column(table: "pa.Table", name: str) -> list[Any]:
    return table[name].to_pylist() if name in table.column_names else [None] * table.num_rows


def _with(table: "pa.Table", name: str, values: list[Any]) -> "pa.Table":
    import pyarrow as pa

    column = pa.array(values, _types()[name])
    if name not in table.column_names:
        return table.append_column(name, column)
    return table.set_column(table.column_names.index(name), name, column)


def _types() -> "dict[str, pa.DataType]":
    import pyarrow as pa

    kinds = (pa.string(), pa.string(), pa.string(), pa.float64(), pa.bool_())
    rewrite = pa.struct(list(zip(FIELDS, kinds, strict=True)))
    return {"rewrite": rewrite, "status": pa.string(), "interrupted": pa.bool_(), "dwell_s": pa.float64()}


def _read(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path) if path.name.endswith(".parquet") else pj.read_json(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"cannot read {path} as a log: {error}; expected parquet or JSON lines") from error
