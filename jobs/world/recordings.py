"""The speech job's JSON lines as the table that ships: `python -m jobs.world.recordings *.jsonl OUT.parquet`.

A table made before may stand among the lines: OUT then holds its recordings, too.
"""

import argparse
import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from jobs.world.tables import RECOGNITION_SCHEMA, write


def gather(lines: list[dict[str, Any]]) -> pa.Table:
    """Recordings by text, voice and take; of a recording made twice the first is kept; empty guesses are dropped."""
    first: dict[tuple[str, str, int], dict[str, Any]] = {}
    for line in lines:
        first.setdefault((line["text"], line["voice"], line["take"]), line)
    rows = [
        {**row, "confidence": round(row["confidence"], 6), "nbest": [guess for guess in row["nbest"] if guess]}
        for _, row in sorted(first.items())
        if row["recognised"]
    ]
    return pa.Table.from_pylist(rows, schema=RECOGNITION_SCHEMA)


def read(path: Path) -> list[dict[str, Any]]:
    """Recordings of a file: JSON lines, or parquet."""
    if path.suffix == ".parquet":
        found: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return found
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("lines", type=Path, nargs="+")
    parser.add_argument("out", type=Path)
    args = parser.parse_args()
    table = gather([row for path in args.lines for row in read(path)])
    write(table, args.out)
    print(f"{table.num_rows} recordings of {len(set(table['text'].to_pylist()))} texts in {args.out}")


if __name__ == "__main__":
    main()
