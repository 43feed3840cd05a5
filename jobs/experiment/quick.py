"""Did a turn go well, told at once from the log alone: for watching hour by hour, where mining looks night by night.

A rule of thumb: not understood, an error, interrupted, used for a few seconds only, or said again soon. Mining's
defect model weighs the same signals and knows better; a watch needs the difference between two arms only.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from rapidfuzz import fuzz

SHORT_DWELL_S = 10.0
AGAIN_S = 45.0
ALIKE = 60.0


def quick_defects(log: pa.Table) -> NDArray[np.float64]:
    """1 where a turn seems to have failed, else 0; shape (N,), rows of a log of at least the required columns."""
    rows = log.num_rows
    bad = np.zeros(rows, dtype=bool)
    if "status" in log.column_names:
        bad |= np.array([status in ("no_match", "error") for status in log["status"].to_pylist()], dtype=bool)
    if "interrupted" in log.column_names:
        bad |= np.array([bool(stopped) for stopped in log["interrupted"].to_pylist()], dtype=bool)
    if "dwell_s" in log.column_names:
        dwell = log["dwell_s"].to_pylist()
        bad |= np.array([d is not None and d < SHORT_DWELL_S for d in dwell], dtype=bool)
    said = (log["user_id"].to_pylist(), log["timestamp"].to_pylist(), log["utterance"].to_pylist())
    bad |= _said_again(*said)
    return bad.astype(np.float64)


def _said_again(users: Sequence[str], times: Sequence[object], texts: Sequence[str | None]) -> NDArray[np.bool_]:
    order = sorted(range(len(users)), key=lambda row: (users[row], str(times[row])))
    found = np.zeros(len(users), dtype=bool)
    for row, after in pairwise(order):
        if users[row] != users[after]:
            continue
        gap_s = (times[after] - times[row]).total_seconds()  # type: ignore[operator]
        alike = fuzz.ratio(texts[row] or "", texts[after] or "") >= ALIKE
        found[row] = gap_s <= AGAIN_S and alike
    return found
