"""Mining one part of the gathered log: its turns, its users' own tables, and what is to be summed over parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from mining import pairs, votes
from mining.gathering import blocks
from mining.judgement import Judged, Yardstick
from mining.turns import Turns
from mining.turns_table import turns_table

BLOCK = 50_000
"""Turns judged at once, about: whole users."""

Task = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

SIDES = ("", "past/")
"""All days, and the days before the holdback: where a table lies."""


@dataclass
class Files:
    """Open parquet files of one part, each begun when its first rows come, under a name of its own until closed."""

    part: int
    writers: dict[Path, pq.ParquetWriter] = field(default_factory=dict)

    def append(self, folder: Path, rows: pa.Table, kept: bool = True) -> None:
        """Write rows to `folder/part-NNNNN.parquet`: small where they are kept, quick where they are read once."""
        path = folder / f"part-{self.part:05d}.parquet"
        if path not in self.writers:
            folder.mkdir(parents=True, exist_ok=True)
            columns = dictionary_columns(rows.schema) if kept else False
            # the Arrow schema would make readers see our dictionaries; the same rows must look the same
            options = {"compression": "zstd" if kept else "snappy", "store_schema": False, "use_dictionary": columns}
            self.writers[path] = pq.ParquetWriter(path, rows.schema, write_statistics=kept, **options)
        self.writers[path].write_table(rows, row_group_size=len(rows) or None)

    def close(self) -> None:
        """Finish every file."""
        for writer in self.writers.values():
            writer.close()


UNIQUE = {"interaction_id", "session_id", "timestamp", "gap_s", "next_gap_s", "dwell_s", "examples", "last_used"}
"""Columns whose values hardly ever come twice: a dictionary would only be thrown away again."""


def dictionary_columns(schema: pa.Schema) -> list[str]:
    """Parquet paths of the columns that a dictionary makes smaller."""
    found = []
    for path in _paths(schema):
        if not UNIQUE & set(path.split(".")):
            found.append(path)
    return found


def _paths(schema: pa.Schema) -> list[str]:
    return [path for column in schema for path in _leaves(column.name, column.type)]


def _leaves(path: str, kind: pa.DataType) -> Iterator[str]:
    if pa.types.is_struct(kind):
        for child in kind:
            yield from _leaves(f"{path}.{child.name}", child.type)
    elif pa.types.is_list(kind):
        yield from _leaves(f"{path}.list.element", kind.value_type)
    else:
        yield path


def mine_part(part: int, gathered: Path, staged: Path, out: Path, by: Yardstick, gap: str | None) -> int:
    """Mine one part; returns its turns. `gap` marks scrubbed texts, which are nobody's evidence.

    Writes `out/turns`, `out/personal`, `out/personal_rewrites` and the same under `out/past`, and partial tables under
    `staged`. A task that is tried again writes the same files again.
    """
    files, turns = Files(part), 0
    try:
        for rows in blocks(gathered / f"part-{part}.arrow", BLOCK):
            judged = Judged.of(Turns.of(rows), by)
            files.append(out / "turns", turns_table(judged))
            turns += len(rows)
            every = votes.Votes.of(judged, by, gap)
            for side in SIDES if by.split_us is not None else SIDES[:1]:
                _write_side(files, every.past() if side else every, bool(side), staged, out / side)
    finally:
        files.close()
    return turns


def _write_side(files: Files, of: votes.Votes, past: bool, staged: Path, out: Path) -> None:
    files.append(out / "personal", votes.personal(of))
    files.append(out / "personal_rewrites", votes.personal_rewrites(of))
    for name, rows in partials(of).items():
        files.append(staged / name, rows.append_column("past", pa.repeat(past, len(rows))), kept=False)


PARTIALS = ("texts", "readings", "nodes", "members", "edges", "exposures", "reformulations", "shared", "corrections")
"""Tables that are summed over parts, by name."""


def partials(of: votes.Votes) -> dict[str, pa.Table]:
    """The part of each of PARTIALS that these votes make."""
    own = pairs.Pairs.of(of)
    return {
        "texts": votes.texts(of),
        "readings": votes.readings(of),
        "nodes": votes.nodes(of),
        "members": votes.members(of),
        "edges": votes.edges(of),
        "exposures": votes.exposures(of),
        "reformulations": pairs.reformulations(own),
        "shared": pairs.shared(own),
        "corrections": pairs.corrections(own),
    }


def tasks(gathered: Path, staged: Path, out: Path, by: Yardstick, gap: str | None) -> Task:
    """What mines the parts whose numbers it is given, on an executor: for `mapInArrow` over a column `id`."""

    def mine(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            parts = batch.column(0).to_pylist()
            turns = [mine_part(part, gathered, staged, out, by, gap) for part in parts]
            yield pa.RecordBatch.from_pydict({"part": parts, "turns": turns}, _DONE)

    return mine


DONE = "part long, turns long"
_DONE = pa.schema([("part", pa.int64()), ("turns", pa.int64())])
