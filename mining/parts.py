"""Mining some parts of the gathered log: their turns, their users' own tables, and what is to be summed over parts."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from mining import pairs, personal, votes
from mining.gathered import PART, Laid
from mining.groups import Ints
from mining.judgement import Judged, Yardstick
from mining.turns import Turns, integers
from mining.turns_table import turns_table

Task = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]

SIDES = ("", "past/")
"""All days, and the days before the holdback: where a table lies."""


@dataclass
class Files:
    """The files of a block of parts: tables that are kept have one for each part, partial ones one for the block."""

    parts: Ints
    """(P,) numbers of the parts that have rows."""
    first_user: Ints
    """(P,) number of the first user of each."""

    @staticmethod
    def of(rows: pa.Table, user: Ints) -> "Files":
        """Of the rows of a block, and the number of the user of each (N,)."""
        part = integers(rows[PART])
        starts = np.flatnonzero(np.diff(part, prepend=-1))
        return Files(part[starts], user[starts])

    def keep(self, folder: Path, rows: pa.Table, user: Ints) -> None:
        """Write `folder/part-NNNNN.parquet` for each part; `user` (N,) rises and says whose each row is."""
        folder.mkdir(parents=True, exist_ok=True)
        starts = np.searchsorted(user, self.first_user)
        for part, start, end in zip(self.parts, starts, [*starts[1:], len(rows)], strict=True):
            own = compact(rows.slice(start, end - start))
            options = {"compression": "zstd", "use_dictionary": dictionary_columns(rows.schema)}
            # the Arrow schema would make readers see our dictionaries; the same rows must look the same
            pq.write_table(own, _path(folder, part), row_group_size=len(own) or None, store_schema=False, **options)

    def stage(self, folder: Path, tables: list[pa.Table]) -> None:
        """Write tables of one kind into one file that is read once."""
        folder.mkdir(parents=True, exist_ok=True)
        rows = pa.concat_tables(tables)
        options = {"compression": "snappy", "use_dictionary": False, "write_statistics": False}
        pq.write_table(rows, _path(folder, self.parts[0]), store_schema=False, **options)


def _path(folder: Path, part: int) -> Path:
    return folder / f"part-{part:05d}.parquet"


def compact(rows: pa.Table) -> pa.Table:
    """`rows` whose dictionaries hold what is used, in the order in which it comes first."""
    for number, field in enumerate(rows.schema):
        if pa.types.is_dictionary(field.type):
            rows = rows.set_column(number, field.name, rows[field.name].cast(field.type.value_type).dictionary_encode())
    return rows


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


def mine_parts(parts: range, laid: Laid, staged: Path, out: Path, by: Yardstick, gap: str | None) -> int:
    """Mine consecutive parts at once; returns their turns. `gap` marks scrubbed texts, which are nobody's evidence.

    Writes `out/turns`, `out/personal`, `out/personal_rewrites` and the same under `out/past`, and partial tables under
    `staged`. A task that is tried again writes the same files again.
    """
    rows = laid.rows(parts)
    if not len(rows):
        return 0
    judged = Judged.of(Turns.of(rows), by)
    files = Files.of(rows, judged.turns.user)
    files.keep(out / "turns", turns_table(judged), judged.turns.user)
    every = votes.Votes.of(judged, by, gap)
    sides = [every, every.past()][: 1 if by.split_us is None else 2]
    for side, of in zip(SIDES, sides, strict=False):
        own = of.as_said()
        files.keep(out / side / "personal", *personal.texts(own))
        files.keep(out / side / "personal_rewrites", *personal.rewrites(own))
    found = [partials(of) for of in sides]
    for name in PARTIALS:
        files.stage(staged / name, [_sided(of[name], past) for past, of in zip((False, True), found, strict=False)])
    return len(rows)


def _sided(rows: pa.Table, past: bool) -> pa.Table:
    return rows.append_column("past", pa.repeat(past, len(rows)))


PARTIALS = ("texts", "readings", "nodes", "members", "edges", "exposures", "reformulations", "shared", "corrections")
"""Tables that are summed over parts, by name."""


def partials(of: votes.Votes) -> dict[str, pa.Table]:
    """The part of each of PARTIALS that these votes make: of rewritten turns only what became of their rewrites."""
    own = of.as_said()
    found = pairs.Pairs.of(own)
    return {
        "texts": votes.texts(own),
        "readings": votes.readings(own),
        "nodes": votes.nodes(own),
        "members": votes.members(own),
        "edges": votes.edges(own),
        "exposures": votes.exposures(of),
        "reformulations": pairs.reformulations(found),
        "shared": pairs.shared(found),
        "corrections": pairs.corrections(found),
    }


TOGETHER = 8
"""Parts mined at once: what is counted over users is summed over all of them before it leaves."""


def task_count(parts: int) -> int:
    """Tasks for so many parts: enough to keep cores busy, and then as few as mine TOGETHER parts each."""
    return max(min(parts, 16), -(-parts // TOGETHER))


def tasks(gathered: Path, staged: Path, out: Path, by: Yardstick, gap: str | None) -> Task:
    """What mines the parts whose numbers it is given, on an executor: for `mapInArrow` over a column `id`."""

    def mine(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        laid = Laid(gathered)
        for batch in batches:
            first, after = batch.column(0)[0].as_py(), batch.column(0)[-1].as_py() + 1
            for start in range(first, after, TOGETHER):
                parts = range(start, min(start + TOGETHER, after))
                turns = mine_parts(parts, laid, staged, out, by, gap)
                yield pa.RecordBatch.from_pydict({"part": [start], "turns": [turns]}, _DONE)

    return mine


DONE = "part long, turns long"
_DONE = pa.schema([("part", pa.int64()), ("turns", pa.int64())])
