"""Logs on their way in: with what the service did to each turn, from its exposure log."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS = ("text", "source", "bundle", "propensity", "holdout")


def exposures(folder: Path) -> dict[str, dict[str, Any]]:
    """What was decided, by interaction id; of several decisions of one turn the last. Torn lines are left out."""
    found: dict[str, dict[str, Any]] = {}
    for path in sorted(folder.glob("exposures-*.jsonl")):
        for line in path.read_bytes().splitlines():
            try:
                record = json.loads(line)
                if record["kind"] == "decision" and record["interaction_id"] is not None:
                    found[record["interaction_id"]] = {name: record["rewrite"][name] for name in FIELDS}
            except (ValueError, KeyError, TypeError):
                continue
    return found


def with_exposures(files: Sequence[Path], found: Mapping[str, Mapping[str, Any]], out: Path) -> list[Path]:
    """Write every log with its `rewrite` column filled from `found`; a turn's own entry stays where `found` has none.

    Raises:
        ValueError: a file cannot be read as a log.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    out.mkdir(parents=True, exist_ok=True)
    written = []
    for number, path in enumerate(files):
        table = _read(path)
        if "interaction_id" not in table.column_names:
            raise ValueError(f"{path} has no column interaction_id; got {', '.join(table.column_names[:12])}; a log?")
        own = table["rewrite"].to_pylist() if "rewrite" in table.column_names else [None] * table.num_rows
        ids = table["interaction_id"].to_pylist()
        column = pa.array([found.get(i, mine) for i, mine in zip(ids, own, strict=True)], _rewrite())
        if "rewrite" in table.column_names:
            table = table.drop_columns("rewrite")
        written.append(out / f"logs-{number:05d}.parquet")
        pq.write_table(table.append_column("rewrite", column), written[-1])
    return written


def _rewrite() -> "pa.DataType":
    import pyarrow as pa

    kinds = (pa.string(), pa.string(), pa.string(), pa.float64(), pa.bool_())
    return pa.struct(list(zip(FIELDS, kinds, strict=True)))


def _read(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.json as pj
    import pyarrow.parquet as pq

    try:
        return pq.read_table(path) if path.name.endswith(".parquet") else pj.read_json(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"cannot read {path} as a log: {error}; expected parquet or JSON lines") from error
