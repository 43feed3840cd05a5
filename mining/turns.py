"""Turns of whole users as arrays: what every step of mining reads, without a row of Python."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mining.groups import Bools, Floats, Ints

US_PER_DAY = 86_400_000_000


@dataclass(frozen=True)
class Turns:
    """N turns of whole users, by user, time and id; texts are codes into `texts`."""

    log: pa.Table
    """The log's columns of these turns, in the same order."""
    user: Ints
    """(N,) number of the turn's user in this block, rising."""
    time_us: Ints
    """(N,) microseconds since 1970."""
    texts: pa.StringArray
    """Every distinct text of the block, normalised."""
    text: Ints
    """(N,) code of what the user said."""
    effective: Ints
    """(N,) code of what the assistant acted on: the rewrite where one was used."""
    rewrite: Ints
    """(N,) code of the rewrite that was found, used or held out; -1 where there was none."""
    held: Bools
    """(N,) whether the rewrite was found but not used."""

    @staticmethod
    def of(log: pa.Table) -> "Turns":
        """From gathered rows: the log's columns with `text`, `rewrite_text` and `rewrite_held`, in user order."""
        user_ids = log["user_id"].combine_chunks()
        user = np.cumsum(changes(user_ids)) - 1
        said, rewritten = log["text"].combine_chunks(), log["rewrite_text"].combine_chunks()
        every = pa.concat_arrays([said, rewritten]).dictionary_encode()
        codes = integers(every.indices.fill_null(-1))
        text, rewrite = codes[: len(said)], codes[len(said) :]
        held = flags(log["rewrite_held"])
        time_us = integers(log["timestamp"].cast(pa.int64()))
        texts = every.dictionary.cast(pa.string())
        rewrite = np.where(rewrite == empty_code(texts), -1, rewrite)
        effective = np.where((rewrite >= 0) & ~held, rewrite, text)
        return Turns(log, user, time_us, texts, text, effective, rewrite, held)

    def __len__(self) -> int:
        return len(self.user)

    @cached_property
    def as_said(self) -> Bools:
        """(N,) whether the assistant acted on what the user said, not on a rewrite of it."""
        return self.effective == self.text

    @cached_property
    def words_of(self) -> list[str]:
        """`texts` as Python strings."""
        return self.texts.to_pylist()

    @cached_property
    def day(self) -> Ints:
        """(N,) UTC days since 1970."""
        return self.time_us // US_PER_DAY

    @cached_property
    def seconds(self) -> Floats:
        """(N,) seconds since 1970."""
        return self.time_us / 1e6


def empty_code(texts: pa.StringArray) -> int:
    """Code of the empty text; -2 where nothing is empty."""
    found = pc.index(texts, "").as_py()
    return found if found >= 0 else -2


def changes(values: pa.Array) -> Bools:
    """(N,) whether a value differs from the one before; the first one always does."""
    result = np.ones(len(values), dtype=bool)
    if len(values) > 1:
        result[1:] = pc.not_equal(values[1:], values[:-1]).to_numpy(zero_copy_only=False)
    return result


def integers(column: pa.Array | pa.ChunkedArray) -> Ints:
    """A column without nulls as int64."""
    return np.asarray(column.to_numpy() if isinstance(column, pa.ChunkedArray) else column.to_numpy(False), np.int64)


def floats(column: pa.ChunkedArray) -> Floats:
    """A column as float64; null is NaN. Values that are NaN in the log are infinite, as Spark orders them."""
    column = column.combine_chunks()
    values = np.asarray(column.to_numpy(zero_copy_only=False), dtype=np.float64)
    unknown = np.asarray(column.is_null().to_numpy(zero_copy_only=False))
    return np.where(np.isnan(values) & ~unknown, np.inf, values)


def flags(column: pa.ChunkedArray) -> Bools:
    """A column as booleans; null is false."""
    return np.asarray(column.combine_chunks().fill_null(False).to_numpy(zero_copy_only=False), dtype=bool)
