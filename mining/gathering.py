"""The one pass over the log by Spark: rows go to their user's part, in order, and are laid down as Arrow files.

Everything that follows reads these parts as arrays, in any order and as often as it likes, without a second shuffle.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from pyspark.sql import DataFrame
from pyspark.sql import functions as F

from mining.groups import Ints
from mining.schema import LOG
from mining.texts import normalised_array
from mining.turns import integers
from rewrite.text import MAX_CHARS

COLUMNS = tuple(field.name for field in LOG)

SAMPLED = ("user_id", "timestamp", "interaction_id", "intent", "status", "interrupted", "dwell_s", "asr_confidence")
"""Columns of a part's sample, with `nlu_confidence` and the texts: what the defect model is fitted on."""

_SAMPLE = (*SAMPLED, "nlu_confidence", "text", "rewrite_text", "rewrite_held")

COUNTS = "part int, rows long, reasons string, first long, last long, sound boolean"
"""What a part reports: rows, bad ones by reason (JSON), microseconds of its window, whether all is valid UTF-8."""

CHUNK = 50_000
"""Rows normalised and written at once."""


@dataclass
class Found:
    """What one part, or all of them, held."""

    rows: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    first: int | None = None
    last: int | None = None
    sound: bool = True

    def add(self, rows: int, reasons: dict[str, int], first: int | None, last: int | None, sound: bool) -> None:
        """Count another part, or another piece of one."""
        self.rows, self.sound = self.rows + rows, self.sound and sound
        self.reasons.update(reasons)
        self.first = min((t for t in (self.first, first) if t is not None), default=None)
        self.last = max((t for t in (self.last, last) if t is not None), default=None)


def spread(rows: DataFrame, parts: int, sample_buckets: int) -> DataFrame:
    """Judged rows by user over `parts` partitions, in user order, with `id_hash` and `sampled` (a share of users)."""
    sampled = F.pmod(F.xxhash64("user_id"), F.lit(max(1, sample_buckets))) == 0
    columns = [*COLUMNS, "reason", F.xxhash64("interaction_id").alias("id_hash"), sampled.alias("sampled")]
    return rows.select(*columns).repartition(parts, "user_id").sortWithinPartitions(*COLUMNS[1:3], COLUMNS[0])


def gathered(rows: DataFrame, folder: Path, parts: int, sample_buckets: int) -> DataFrame:
    """Counts of every part, having written it: `part-N.arrow`, `sample-N.arrow` and `ids-N.npy` under `folder`."""
    return spread(rows, parts, sample_buckets).mapInArrow(_writer(str(folder)), COUNTS)


def _writer(folder: str) -> Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]:
    def write(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        from pyspark import TaskContext

        context = TaskContext.get()
        part = context.partitionId() if context else 0
        found = write_part(batches, Path(folder), part)
        values = [part, found.rows, json.dumps(found.reasons), found.first, found.last, found.sound]
        yield pa.RecordBatch.from_pydict(
            dict(zip(_COUNTS_ARROW.names, ([v] for v in values), strict=True)), _COUNTS_ARROW
        )

    return write


_COUNTS_ARROW = pa.schema(
    [
        ("part", pa.int32()),
        ("rows", pa.int64()),
        ("reasons", pa.string()),
        ("first", pa.int64()),
        ("last", pa.int64()),
        ("sound", pa.bool_()),
    ]
)


def write_part(batches: Iterator[pa.RecordBatch], folder: Path, part: int) -> Found:
    """Write the good rows of one part; returns what was found. A task that is tried again overwrites its files."""
    found, hashes = Found(), [np.zeros(0, dtype=np.int64)]
    writers: dict[str, pa.ipc.RecordBatchFileWriter] = {}
    try:
        for rows in chunks(batches):
            good = _judged(rows, found)
            if good is None:
                break
            hashes.append(integers(good["id_hash"]))
            _append(writers, folder / f"part-{part}.arrow", good.drop_columns(["id_hash", "sampled"]))
            _append(writers, folder / f"sample-{part}.arrow", good.filter(good["sampled"]).select(list(_SAMPLE)))
    finally:
        for writer in writers.values():
            writer.close()
    np.save(folder / f"ids-{part}.npy", np.sort(np.concatenate(hashes)))
    return found


def chunks(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of about CHUNK rows, of a stream of smaller batches."""
    held: list[pa.RecordBatch] = []
    for batch in batches:
        held.append(batch)
        if sum(b.num_rows for b in held) >= CHUNK:
            yield pa.Table.from_batches(held).combine_chunks()
            held = []
    if held:
        yield pa.Table.from_batches(held).combine_chunks()


def kind_of(reason: str) -> str:
    """A reason without the length that it may name: those would make every over-long row a kind of its own."""
    return re.sub(r"of \d+ characters", "of too many characters", reason)


def _judged(rows: pa.Table, found: Found) -> pa.Table | None:
    """Good rows with their normalised texts; None where there are bytes that are not UTF-8."""
    try:
        rows.validate(full=True)
    except pa.ArrowInvalid:
        found.sound = False
        return None
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


def _append(writers: dict[str, pa.ipc.RecordBatchFileWriter], path: Path, rows: pa.Table) -> None:
    if str(path) not in writers:
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        writers[str(path)] = pa.ipc.new_file(path, rows.schema, options=options)
    writers[str(path)].write_table(rows)


def blocks(path: Path, least: int) -> Iterator[pa.Table]:
    """The rows of one part as tables of whole users, of about `least` rows where users are smaller than that."""
    if not path.exists():
        return
    held: list[pa.RecordBatch] = []
    with pa.memory_map(str(path)) as file:
        reader = pa.ipc.open_file(file)
        for number in range(reader.num_record_batches):
            held.append(reader.get_batch(number))
            rows = pa.Table.from_batches(held)
            end = _last_user(rows["user_id"]) if number + 1 < reader.num_record_batches else len(rows)
            if end >= least or number + 1 == reader.num_record_batches:
                if end:
                    yield rows.slice(0, end).combine_chunks()
                held = rows.slice(end).to_batches()


def _last_user(user_ids: pa.ChunkedArray) -> int:
    """Row at which the last user begins, who may go on."""
    if not len(user_ids):
        return 0
    return int(pc.index(user_ids, user_ids[-1]).as_py())


def shared_ids(folder: Path, parts: int, low: int, high: int) -> bool:
    """Whether two rows of the log have the same id hash, from `low` to `high`."""
    found: list[Ints] = []
    files = (folder / f"ids-{part}.npy" for part in range(parts))
    for file in filter(Path.exists, files):  # a part that nobody fell into may have had no task
        hashes = np.load(file, mmap_mode="r")
        start, end = np.searchsorted(hashes, low), np.searchsorted(hashes, high, side="right")
        found.append(np.asarray(hashes[start:end]))
    every = np.sort(np.concatenate([np.zeros(0, dtype=np.int64), *found]))
    return bool((every[1:] == every[:-1]).any())
