"""The gathered log, read back: the rows of some parts in their order, the sample, and whether ids came twice."""

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mining.groups import Ints, packed
from mining.turns import integers


@dataclass
class Laid:
    """The files that `mining.gathering` wrote into a folder; each is opened once."""

    folder: Path
    readers: list[pa.ipc.RecordBatchFileReader] = field(default_factory=list)

    @cached_property
    def batches(self) -> tuple[Ints, Ints, Ints]:
        """Of all batches, by part: their part, file and number in the file."""
        part, file, number = [], [], []
        for path in files(self.folder, "split-*.arrow"):
            self.readers.append(pa.ipc.open_file(pa.memory_map(str(path))))
            here = np.load(path.with_name(f"parts-{_number(path)}.npy"))
            part.append(here)
            file.append(np.full(len(here), len(self.readers) - 1))
            number.append(np.arange(len(here)))
        whole = [np.concatenate([np.zeros(0, dtype=np.int64), *arrays]) for arrays in (part, file, number)]
        order = np.argsort(whole[0], kind="stable")
        return whole[0][order], whole[1][order], whole[2][order]

    def rows(self, parts: range) -> pa.Table:
        """Rows of consecutive parts, those of each by user, time and id; of no rows where nobody fell into them."""
        of_batch, file, number = self.batches
        start, end = np.searchsorted(of_batch, [parts.start, parts.stop])
        where = zip(file[start:end].tolist(), number[start:end].tolist(), strict=True)
        found = [self.readers[f].get_batch(n) for f, n in where]
        if not found:
            return pa.table({PART: pa.array([], pa.int64())})
        part = np.repeat(of_batch[start:end], [batch.num_rows for batch in found])
        return in_order(pa.Table.from_batches(found), part).append_column(PART, pa.array(part))


PART = "part"
"""Column that says which part a row is in; it is no column of the log."""


def files(folder: Path, pattern: str) -> list[Path]:
    """Files of the splits, by number."""
    return sorted(folder.glob(pattern), key=_number)


def _number(path: Path) -> int:
    return int(path.stem.split("-")[1])


def in_order(rows: pa.Table, part: Ints | None = None) -> pa.Table:
    """`rows` by their part (N,), user, time and interaction id: texts by their bytes, as Spark orders them."""
    user, time = _ranks(rows["user_id"]), integers(rows["timestamp"].cast(pa.int64()))
    user = user if part is None else packed(part, user)
    order = np.lexsort((time, user))
    same = (user[order[1:]] == user[order[:-1]]) & (time[order[1:]] == time[order[:-1]])
    if same.any():
        order = np.lexsort((_ranks(rows["interaction_id"]), time, user))
    return rows.combine_chunks().take(pa.array(order))


def _ranks(texts: pa.ChunkedArray) -> Ints:
    """(N,) place of every text among the distinct ones."""
    coded = texts.combine_chunks().dictionary_encode()
    rank = np.empty(len(coded.dictionary), dtype=np.int64)
    rank[integers(pc.sort_indices(coded.dictionary))] = np.arange(len(rank))
    return rank[integers(coded.indices)]


def sample(folder: Path) -> pa.Table | None:
    """The rows of the sampled users, in order; None where there are none."""
    found = [pa.ipc.open_file(pa.memory_map(str(path))).read_all() for path in files(folder, "sample-*.arrow")]
    rows = pa.concat_tables(found) if found else pa.table({})
    return in_order(rows) if len(rows) else None


def shared_ids(folder: Path, low: int, high: int) -> bool:
    """Whether two rows of the log have the same id hash, from `low` to `high`."""
    found = [np.zeros(0, dtype=np.uint64)]
    for file in files(folder, "ids-*.npy"):
        hashes = np.load(file, mmap_mode="r")
        start, end = np.searchsorted(hashes, np.uint64(low)), np.searchsorted(hashes, np.uint64(high), side="right")
        found.append(np.asarray(hashes[start:end]))
    every = np.sort(np.concatenate(found))
    return bool((every[1:] == every[:-1]).any())
