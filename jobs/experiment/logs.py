"""Logged turns as an experiment's arms and shown pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.experiment.compare import Arms
from jobs.experiment.pairs import Shown
from jobs.experiment.sure import Watched
from rewrite.text import normalise

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

GROUPS = ("domain", "device")
NAMES = ("holdout", "champion", "challenger")


def asked_turns(mined: Path) -> "pa.Table":
    """The turns of a mining run on which Reprise was asked, by time.

    Raises:
        ValueError: there is none.
    """
    from jobs.learn import read_table

    return _asked(read_table(mined, "turns"), str(mined))


def _asked(turns: "pa.Table", where: str) -> "pa.Table":
    import pyarrow.compute as pc

    kept = turns.filter(pc.is_valid(turns["rewrite"])).sort_by("timestamp")
    if not kept.num_rows:
        raise ValueError(f"{where} has no turn on which Reprise was asked; expected logs with `rewrite` (docs/log.md)")
    return kept


def in_force(turns: "pa.Table", bundles: "Sequence[str | None]") -> "pa.Table":
    """Those turns on which one of `bundles` was asked: what older ones did says nothing about these."""
    import pyarrow.compute as pc

    wanted = [bundle for bundle in bundles if bundle is not None]
    asked = pc.struct_field(turns["rewrite"], "bundle")
    return turns.filter(pc.is_in(asked, _strings(wanted))) if wanted else turns


def _strings(values: "list[str]") -> "pa.Array":
    import pyarrow as pa

    return pa.array(values, pa.string())


def holdout_share(turns: "pa.Table") -> float:
    """The share of users held out, from the propensities that the service logged; 0 where it held out nobody."""
    shares = [r["propensity"] for r in turns["rewrite"].to_pylist() if r["holdout"] and (r["propensity"] or 1) < 1]
    if not shares:  # nobody held out had a rewrite: what was used tells as much
        shares = [
            1 - r["propensity"]
            for r in turns["rewrite"].to_pylist()
            if not r["holdout"] and r["propensity"] is not None
        ]
        shares = [share for share in shares if share > 0]
    return float(np.median(shares)) if shares else 0.0


def arms_of(turns: "pa.Table", challenger: str | None) -> Arms:
    """Arms as the log says: held out, decided by the bundle `challenger`, or by any other."""
    arm = np.array([_arm(r, challenger) for r in turns["rewrite"].to_pylist()], dtype=np.int64)
    groups = {name: turns[name].to_pylist() for name in GROUPS if name in turns.column_names}
    return Arms(NAMES, np.asarray(turns["defect_probability"], dtype=np.float64), arm, _rows(turns["user_id"]), groups)


def _arm(rewrite: dict[str, Any], challenger: str | None) -> int:
    if rewrite["holdout"]:
        return 0
    return 2 if challenger is not None and rewrite["bundle"] == challenger else 1


def watched(turns: "pa.Table", bundle: str | None) -> Watched:
    """Turns on which Reprise was asked, of any bundle and in order of time, to watch what `bundle` does to them."""
    import pyarrow as pa
    import pyarrow.compute as pc

    rewrites = turns["rewrite"].to_pylist()
    held = np.array([bool(r["holdout"]) for r in rewrites], dtype=bool)
    found = np.array([r["text"] is not None for r in rewrites], dtype=bool)
    ours = np.array([r["bundle"] == bundle for r in rewrites], dtype=bool)
    day = pc.cast(pc.cast(turns["timestamp"], pa.date32()), pa.int32())
    defect = np.asarray(turns["defect_probability"], dtype=np.float64)
    text, user = (_rows(turns[name]) for name in ("text", "user_id"))
    return Watched(defect, np.asarray(day, dtype=np.int64), text, user, held, ours & ~held, held | ~found)


def _rows(column: "pa.ChunkedArray") -> "NDArray[np.int64]":
    """The same number for the same value."""
    values: dict[str | None, int] = {}
    return np.array([values.setdefault(value, len(values)) for value in column.to_pylist()], dtype=np.int64)


def quickly_judged(log: "pa.Table") -> "pa.Table":
    """A log's turns on which Reprise was asked, by time, with what the report reads: text and defect_probability.

    Raises:
        ValueError: there is none.
    """
    import pyarrow as pa

    from jobs.experiment.quick import quick_defects

    text = pa.array([normalise(said or "") for said in log["utterance"].to_pylist()], pa.string())
    judged = log.append_column("text", text).append_column("defect_probability", pa.array(quick_defects(log)))
    return _asked(judged, "the log")


def shown_pairs(turns: "pa.Table") -> list[Shown]:
    """The turns for which a rewrite was found."""
    columns = (turns[name].to_pylist() for name in ("text", "rewrite", "user_id", "defect_probability"))
    return [
        Shown(text, normalise(r["text"]), user, bool(r["holdout"]), defect)
        for text, r, user, defect in zip(*columns, strict=True)
        if r["text"] is not None
    ]
