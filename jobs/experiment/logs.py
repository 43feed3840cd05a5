"""Logged turns as an experiment's arms and shown pairs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from jobs.experiment.compare import Arms
from jobs.experiment.pairs import Shown
from rewrite.text import normalise

if TYPE_CHECKING:
    import pyarrow as pa

GROUPS = ("domain", "device")
NAMES = ("holdout", "champion", "challenger")


def asked_turns(mined: Path) -> "pa.Table":
    """The turns of a mining run on which Reprise was asked, by time.

    Raises:
        ValueError: there is none.
    """
    import pyarrow.compute as pc

    from jobs.learn import read_table

    turns = read_table(mined, "turns")
    kept = turns.filter(pc.is_valid(turns["rewrite"])).sort_by("timestamp")
    if not kept.num_rows:
        raise ValueError(f"{mined} has no turn on which Reprise was asked; expected logs with `rewrite` (docs/log.md)")
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
    users: dict[str, int] = {}
    rows = np.array([users.setdefault(user, len(users)) for user in turns["user_id"].to_pylist()], dtype=np.int64)
    arm = np.array([_arm(r, challenger) for r in turns["rewrite"].to_pylist()], dtype=np.int64)
    groups = {name: turns[name].to_pylist() for name in GROUPS if name in turns.column_names}
    return Arms(NAMES, np.asarray(turns["defect_probability"], dtype=np.float64), arm, rows, groups)


def _arm(rewrite: dict[str, Any], challenger: str | None) -> int:
    if rewrite["holdout"]:
        return 0
    return 2 if challenger is not None and rewrite["bundle"] == challenger else 1


def shown_pairs(turns: "pa.Table") -> list[Shown]:
    """The turns for which a rewrite was found."""
    columns = (turns[name].to_pylist() for name in ("text", "rewrite", "user_id", "defect_probability"))
    return [
        Shown(text, normalise(r["text"]), user, bool(r["holdout"]), defect)
        for text, r, user, defect in zip(*columns, strict=True)
        if r["text"] is not None
    ]
