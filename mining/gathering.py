"""The one pass over the log: rows are judged, normalised, and laid down as Arrow files by the part their user is in.

A task reads a split of the log and writes one file of it; what follows reads a part's rows out of all of them, in any
order and as often as it likes. Nothing is shuffled by Spark, which would have to turn every column into rows and back.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from pyspark.sql import DataFrame

from mining import arrow_log
from mining.groups import Ints
from mining.texts import normalised_array
from mining.turns import integers
from rewrite.text import MAX_CHARS

COLUMNS = tuple(arrow_log.LOG.names)

SAMPLED = (
    *("user_id", "timestamp", "interaction_id", "intent", "status", "interrupted", "dwell_s", "asr_confidence"),
    *("nlu_confidence", "text", "rewrite_text", "rewrite_held"),
)
"""Columns of the sample: what the defect model is fitted on."""

COUNTS = "split int, rows long, reasons string, first long, last long, sound boolean"
"""What a split reports: rows, bad ones by reason (JSON), microseconds of its window, whether all could be read."""

CHUNK = 250_000
"""Rows ordered by part and written at once."""


@dataclass
class Found:
    """What one split, or all of them, held."""

    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: int | None = None
    last: int | None = None
    sound: bool = True

    def add(self, rows: int, reasons: dict[str, int], first: int | None, last: int | None, sound: bool) -> None:
        """Count another split, or another piece of one."""
        self.rows, self.sound = self.rows + rows, self.sound and sound
        self.reasons.update(reasons)
        self.first = min((t for t in (self.first, first) if t is not None), default=None)
        self.last = max((t for t in (self.last, last) if t is not None), default=None)


@dataclass(frozen=True)
class Layout:
    """Where rows go: over `parts` parts by user, and those of every `sample_buckets`-th user into the sample too."""

    folder: Path
    parts: int
    sample_buckets: int

    def places(self, user_ids: pa.Array) -> tuple[Ints, NDArray[np.bool_]]:
        """(N,) part of every row, and whether its user is in the sample."""
        users = user_ids.dictionary_encode()
        row = integers(users.indices)
        high, low = np.divmod(hashes(users.dictionary), 1 << 32)
        part = (low % self.parts).astype(np.int64)
        return part[row], (high % max(1, self.sample_buckets) == 0)[row]


def hashes(ids: pa.Array) -> NDArray[np.uint64]:
    """(N,) SipHash-2-4 of strings: the same on every machine."""
    return pd.util.hash_array(ids.to_numpy(zero_copy_only=False), categorize=False)


def gathered(rows: DataFrame, layout: Layout) -> DataFrame:
    """Counts of every split of judged rows, having laid them down."""
    return rows.select(*COLUMNS, "reason").mapInArrow(_writer(layout), COUNTS)


def gathered_directly(one_each: DataFrame, splits: list[arrow_log.Split], layout: Layout) -> DataFrame:
    """As `gathered`, of splits that tasks read by themselves; `one_each` has a column `id` with their numbers."""

    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        for batch in batches:
            for number in batch.column(0).to_pylist():
                yield _counts(number, lay_down(arrow_log.read(splits[number]), layout, number))

    return one_each.mapInArrow(write, COUNTS)


def _writer(layout: Layout) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        split = context.partitionId() if context else 0
        yield _counts(split, lay_down((pa.Table.from_batches([b]) for b in batches), layout, split))

    return write


def _counts(split: int, found: Found) -> pa.RecordBatch:
    values = [split, found.rows, json.dumps(found.reasons), found.first, found.last, found.sound]
    columns = dict(zip(_COUNTS_ARROW.names, ([v] for v in values), strict=True))
    return pa.RecordBatch.from_pydict(columns, _COUNTS_ARROW)


_COUNTS_ARROW = pa.schema(
    [
        ("split", pa.int32()),
        ("rows", pa.int64()),
        ("reasons", pa.string()),
        ("first", pa.int64()),
        ("last", pa.int64()),
        ("sound", pa.bool_()),
    ]
)


def lay_down(tables: Iterable[pa.Table], layout: Layout, split: int) -> Found:
    """Write the good rows of one split; returns what was found. A task that is tried again overwrites its files.

    Writes `split-N.arrow`, its batches each of one part; `parts-N.npy`, the part of each batch; `sample-N.arrow`; and
    `ids-N.npy`, the sorted hashes of the interaction ids.
    """
    found, ids, part_of_batch = Found(), [np.zeros(0, dtype=np.uint64)], [np.zeros(0, dtype=np.int64)]
    folder, writers = layout.folder, Writers()
    try:
        for rows in chunks(tables):
            good = _good(rows, found)
            if not len(good):
                continue
            ids.append(hashes(good["interaction_id"].combine_chunks()))
            part, sampled = layout.places(good["user_id"].combine_chunks())
            order = np.argsort(part, kind="stable")
            starts = np.flatnonzero(np.diff(part[order], prepend=-1))
            part_of_batch.append(part[order[starts]])
            ordered = good.take(pa.array(order)).combine_chunks()
            for start, end in zip(starts, np.append(starts[1:], len(order)), strict=True):
                writers.append(folder / f"split-{split}.arrow", ordered.slice(start, end - start))
            writers.append(folder / f"sample-{split}.arrow", good.filter(pa.array(sampled)).select(list(SAMPLED)))
    except (pa.ArrowInvalid, OSError):  # Spark reads it again, and says what is wrong with it
        found.sound = False
    finally:
        writers.close()
    np.save(folder / f"parts-{split}.npy", np.concatenate(part_of_batch))
    np.save(folder / f"ids-{split}.npy", np.sort(np.concatenate(ids)))
    return found


class Writers:
    """Arrow files that are open, each begun when its first rows come."""

    def __init__(self) -> None:
        self.open: dict[Path, pa.ipc.RecordBatchFileWriter] = {}

    def append(self, path: Path, rows: pa.Table) -> None:
        """Write rows, which are in one chunk, as one batch."""
        if path not in self.open:
            options = pa.ipc.IpcWriteOptions(compression="lz4")
            self.open[path] = pa.ipc.new_file(path, rows.schema, options=options)
        self.open[path].write_table(rows)

    def close(self) -> None:
        """Finish every file."""
        for writer in self.open.values():
            writer.close()


def chunks(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """Tables of about CHUNK rows, of a stream of smaller ones."""
    held: list[pa.Table] = []
    for table in tables:
        held.append(table)
        if sum(len(t) for t in held) >= CHUNK:
            yield pa.concat_tables(held).combine_chunks()
            held = []
    if any(len(table) for table in held):
        yield pa.concat_tables(held).combine_chunks()


def kind_of(reason: str) -> str:
    """A reason without the length that it may name: those would make every over-long row a kind of its own."""
    return re.sub(r"of \d+ characters", "of too many characters", reason)


def _good(rows: pa.Table, found: Found) -> pa.Table:
    """Good rows with their normalised texts.

    Raises:
        pa.ArrowInvalid: there are bytes that are not UTF-8.
    """
    rows.validate(full=True)
    if "reason" not in rows.column_names:
        rows = arrow_log.judged(rows)
    text = normalised_array(rows["utterance"].combine_chunks())
    reason = text_reason(rows["reason"].combine_chunks(), text)
    good = reason.is_null()
    reasons = Counter(map(kind_of, reason.drop_null().to_pylist()))
    rewrite = rows["rewrite"].combine_chunks()
    rows = rows.drop_columns(["reason"])
    for name, column in {
        "text": text,
        "rewrite_text": normalised_array(pc.struct_field(rewrite, "text")),
        "rewrite_held": pc.fill_null(pc.struct_field(rewrite, "holdout"), False),
    }.items():
        rows = rows.append_column(name, column)
    sound = rows.filter(good).combine_chunks() if reasons else rows
    times = integers(sound["timestamp"].cast(pa.int64()))
    window = (int(times.min()), int(times.max())) if len(times) else (None, None)
    found.add(len(rows), reasons, window[0], window[1], True)
    return sound


def text_reason(reason: pa.Array, text: pa.Array) -> pa.Array:
    """`reason` where there is one, else what is wrong with the normalised text; null for good rows."""
    long = pc.greater(pc.utf8_length(text), MAX_CHARS)
    wrong = pc.case_when(
        pc.make_struct(pc.fill_null(pc.equal(text, ""), True), pc.fill_null(long, False)),
        pa.scalar("empty utterance"),
        pa.scalar("utterance of too many characters, over " + str(MAX_CHARS)),
    )
    return pc.coalesce(reason, wrong)
