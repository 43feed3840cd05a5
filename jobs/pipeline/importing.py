"""Logs on their way in: with what the service did to each turn, and was told of it, from its exposure log."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

FIELDS = ("text", "source", "bundle", "propensity", "holdout")
OUTCOMES = ("status", "interrupted", "dwell_s")
WATCHED = ("interaction_id", "user_id", "timestamp", "utterance", "rewrite")
MAYBE = (*OUTCOMES, "domain", "device")


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
        written.append(out / f"logs-{number:05d}.parquet")
        pq.write_table(_joined(path, found), written[-1])
    return written


def read_exposed_logs(paths: Sequence[Path], state: Path | None) -> "pa.Table":
    """What a watch reads of all logs at `paths` (files or folders) in one table, times in UTC, with the exposures of a
    service's state where there is one. Rows without a user or a time are left out.

    Raises:
        ValueError: nothing is there, or a file cannot be read as a log.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    from jobs.log_files import expand

    found = Exposures() if state is None else Exposures.read(state / "exposures")
    tables = []
    for path in (file for log in paths for file in expand(log)):
        table = _joined(path, found)
        missing = [name for name in WATCHED if name not in table.column_names]
        if missing:
            raise ValueError(f"{path} has no column {missing[0]}; got {', '.join(table.column_names[:12])}; a log?")
        table = table.set_column(table.column_names.index("timestamp"), "timestamp", _utc(table["timestamp"]))
        tables.append(table.select([name for name in (*WATCHED, *MAYBE) if name in table.column_names]))
    log = pa.concat_tables(tables, promote_options="permissive")
    return log.filter(pc.and_(pc.is_valid(log["timestamp"]), pc.is_valid(log["user_id"])))


def _utc(column: "pa.ChunkedArray") -> "pa.ChunkedArray":
    """Times in UTC; null where a text is none: one bad row must not stop a watch."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = pa.timestamp("us", tz="UTC")
    try:
        return pc.cast(column, kind)
    except pa.ArrowInvalid:
        return pa.chunked_array([pa.array([_time(value) for value in column.to_pylist()], kind)])


def _time(text: object) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(text))
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def _joined(path: Path, found: Exposures) -> "pa.Table":
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
    return table


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
