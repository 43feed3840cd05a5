"""Turns in their order: sessions, gaps and the follow-up."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from rapidfuzz.distance import Levenshtein
from rapidfuzz.process import cpdist

from mining.groups import Bools, Floats, Ints, packed
from mining.turns import Turns


@dataclass(frozen=True)
class Sessions:
    """What the order of turns says of each one: arrays (N,)."""

    first: Ints
    """Row of the session's first turn."""
    turn_index: Ints
    """Place in the session, from 0."""
    gap_s: Floats
    """Seconds since the user's previous turn; NaN where there is none."""
    next_gap_s: Floats
    """Seconds to the user's next turn; NaN where there is none."""
    day_rank: Ints
    """Place among the user's turns of that UTC day, from 1."""
    last: Bools
    """Whether the session ends with this turn."""
    followed: Bools
    """Whether the next turn is of the same session and came soon enough to be a follow-up."""
    similarity: Floats
    """Of the follow-up's text to the turn's own, in [0, 1]; NaN where there is none."""


def sessions(turns: Turns, session_gap_s: float, followup_gap_s: float, split_us: int | None = None) -> Sessions:
    """Cut users' turns into sessions.

    A session ends after `session_gap_s` of silence, and at `split_us`: what came before the split then never sees what
    came after it. A follow-up comes within `followup_gap_s`.
    """
    n, row = len(turns), np.arange(len(turns))
    arrives = np.ones(n, dtype=bool)
    arrives[1:] = turns.user[1:] != turns.user[:-1]
    gap_s = np.full(n, np.nan)
    gap_s[1:] = np.where(arrives[1:], np.nan, np.diff(turns.seconds))
    next_gap_s = np.append(gap_s[1:], np.nan)
    starts = (
        arrives | (gap_s > session_gap_s) | (_changed(turns.time_us >= split_us) if split_us is not None else False)
    )
    first, dawn = _since(starts, row), _since(arrives | _changed(turns.day), row)
    last = np.append(starts[1:], True)[:n]
    followed = ~last & (next_gap_s <= followup_gap_s)
    similar = np.full(n, np.nan)
    similar[followed] = similarity(turns, turns.text[followed], turns.text[np.flatnonzero(followed) + 1])
    return Sessions(first, row - first, gap_s, next_gap_s[:n], row - dawn + 1, last, followed, similar)


def _changed(values: Ints | Bools) -> Bools:
    result = np.zeros(len(values), dtype=bool)
    result[1:] = values[1:] != values[:-1]
    return result


def _since(starts: Bools, row: Ints) -> Ints:
    """Row of the last start at or before each row."""
    return np.maximum.accumulate(np.where(starts, row, 0))


def similarity(turns: Turns, left: Ints, right: Ints) -> Floats:
    """1 - edit distance / longer length, by characters: 1 for equal texts, rounded to four places."""
    if not len(left):
        return np.zeros(0)
    _, row, inverse = np.unique(packed(left, right), return_index=True, return_inverse=True)
    said = np.asarray(turns.words_of, dtype=object)
    a, b = said[left[row]], said[right[row]]
    edits = cpdist(a, b, scorer=Levenshtein.distance, dtype=np.int32, workers=1).astype(np.int64)
    longer = np.maximum(lengths(turns.texts)[left[row]], lengths(turns.texts)[right[row]])
    ten_thousandths = (2 * 10_000 * (longer - edits) + longer) // (2 * longer)  # half up, in whole numbers
    return (ten_thousandths / 10_000)[inverse]


def lengths(texts: pa.StringArray) -> Ints:
    """Characters of every text."""
    return np.asarray(pc.utf8_length(texts).to_numpy(), dtype=np.int64)
