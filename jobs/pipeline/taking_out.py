"""A mining run without the texts that are blocked and the pairs that were withdrawn, for everything learned from it."""

import shutil
from collections.abc import Set
from pathlib import Path

_TEXTS = {
    "utterances": ("text",),
    "personal": ("text",),
    "rewrites": ("target",),
    "personal_rewrites": ("target",),
    "reformulations": ("target",),
}
"""Tables and the columns whose texts may come out of a bundle."""


def take_out(mined: Path, out: Path, blocked: Set[str], withdrawn: Set[tuple[str, str]]) -> Path:
    """Write `mined` to `out`, linked but for the tables that lose rows; returns what to learn from.

    Where there is nothing to take out that is `mined` itself.
    """
    if not blocked and not withdrawn:
        return mined
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    for entry in mined.iterdir():
        if entry.name != "past" and entry.name not in _TEXTS:
            (out / entry.name).symlink_to(entry.resolve())
    for folder in (Path(), Path("past")):
        for name, columns in _TEXTS.items():
            if (mined / folder / name).exists():
                _filtered(mined / folder / name, out / folder / name, columns, blocked, withdrawn)
    for entry in (mined / "past").iterdir() if (mined / "past").exists() else []:
        if entry.name not in _TEXTS:
            (out / "past" / entry.name).symlink_to(entry.resolve())
    return out


def _filtered(
    table: Path, out: Path, columns: tuple[str, ...], blocked: Set[str], withdrawn: Set[tuple[str, str]]
) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    rows = pq.read_table(table)
    for column in columns:
        rows = rows.filter(pc.invert(pc.is_in(rows[column], pa.array(sorted(blocked), pa.string()))))
    if withdrawn and "source" in rows.column_names:
        pairs = zip(rows["source"].to_pylist(), rows["target"].to_pylist(), strict=True)
        rows = rows.filter(pa.array(np.array([pair not in withdrawn for pair in pairs], dtype=bool)))
    out.mkdir(parents=True)
    pq.write_table(rows, out / "part-00000.parquet", compression="zstd")
