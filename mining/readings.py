"""The NLU's readings of turns as numbers, in the order of their JSON."""

from dataclasses import dataclass
from json.encoder import encode_basestring as _quoted

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mining.groups import Groups, Ints
from mining.turns import integers

READING = ("domain", "intent", "slots")


@dataclass(frozen=True)
class Readings:
    """Readings of N turns: equal numbers are equal readings, and a smaller number has the smaller JSON."""

    code: Ints
    """(N,) number of every turn's reading."""
    row: Ints
    """(R,) a row that has each reading."""
    json: pa.StringArray
    """(R,) each reading as JSON without nulls, in rising order."""

    @staticmethod
    def of(log: pa.Table) -> "Readings":
        """Readings of the turns of `log`."""
        numbers = [_codes(log[name].combine_chunks()) for name in ("domain", "intent")]
        groups = Groups(*numbers, _codes(_joined(log["slots"].combine_chunks())))
        rows = groups.first(np.arange(len(log)))
        distinct = (log[name].combine_chunks().take(pa.array(rows)).to_pylist() for name in READING)
        texts = [_json(*reading) for reading in zip(*distinct, strict=True)]
        order = sorted(range(len(texts)), key=texts.__getitem__)
        place = np.empty(len(order), dtype=np.int64)
        place[order] = np.arange(len(order))
        return Readings(groups.spread(place), rows[order], pa.array([texts[n] for n in order], pa.string()))


def _codes(column: pa.Array) -> Ints:
    """Numbers of the distinct values; 0 where null."""
    return integers(column.dictionary_encode().indices.fill_null(-1)) + 1


def _joined(slots: pa.Array) -> pa.Array:
    """One string per list of slots that differs where the lists do; null where there is no list."""
    flat = slots.flatten()
    parts = [pc.fill_null(pc.struct_field(flat, name), "\x00") for name in ("name", "value")]
    each = pc.binary_join_element_wise(*parts, "\x1f")
    lengths = integers(pc.fill_null(pc.list_value_length(slots), 0))
    offsets = pa.array(np.concatenate([[0], np.cumsum(lengths)]), pa.int32())
    joined = pc.binary_join(pa.ListArray.from_arrays(offsets, each), "\x1e")
    # a list of one slot without name and value must differ from an empty one
    counted = pc.binary_join_element_wise(pc.cast(pa.array(lengths), pa.string()), joined, "\x1d")
    return pc.if_else(slots.is_valid(), counted, None)


def _json(domain: str | None, intent: str | None, slots: list[dict[str, str | None]] | None) -> str:
    """Compact JSON without nulls; written by hand, for there are millions of them."""
    parts = [
        f'"{key}":{_quoted(value)}' for key, value in (("domain", domain), ("intent", intent)) if value is not None
    ]
    if slots is not None:
        parts.append(f'"slots":[{",".join(map(_slot, slots))}]')
    return f"{{{','.join(parts)}}}"


def _slot(slot: dict[str, str | None]) -> str:
    named = ((key, slot[key]) for key in ("name", "value"))
    parts = [f'"{key}":{_quoted(value)}' for key, value in named if value is not None]
    return f"{{{','.join(parts)}}}"
