"""Each user's own tables, final as soon as their turns were judged: nothing in them is summed over users."""

import numpy as np
import pyarrow as pa

from mining.groups import Groups, Ints
from mining.readings import READING
from mining.reformulations import NONE
from mining.turns import integers
from mining.votes import MICRO, Votes


def texts(votes: Votes) -> tuple[pa.Table, Ints]:
    """The table `personal`: each user's own texts that worked for them at least once, by user and text.

    Returns:
        The table, and the number of the user of each row (R,).
    """
    own = Groups(votes.user, votes.text)
    turns, good = own.count(), own.sum(MICRO - votes.micros)
    worked = own.sum(votes.worked) > 0
    last = own.max(np.where(votes.worked, votes.judged.turns.time_us[votes.row], np.iinfo(np.int64).min))
    row = own.first(np.arange(len(votes.row)))
    modal = _modal(votes)
    table = pa.table(
        {
            "user": votes.users(row[worked]),
            "text": votes.texts(votes.text[row[worked]]),
            **{
                name: votes.judged.turns.log[name].combine_chunks().take(pa.array(votes.readings.row[modal]))
                for name in READING
            },
            "count": turns[worked],
            "last_used": votes.times(last[worked]),
            "success_rate": ((2 * good + turns) // (2 * turns) / MICRO)[worked],
        }
    )
    return _by_user(table, own.first(votes.user)[worked], ("text",))


def _by_user(table: pa.Table, user: Ints, columns: tuple[str, ...]) -> tuple[pa.Table, Ints]:
    """`table` by the number of the user (R,) and then by columns, and those numbers."""
    keys = [("number", "ascending"), *((name, "ascending") for name in columns)]
    table = table.append_column("number", pa.array(user)).sort_by(keys)
    return table.drop_columns(["number"]), integers(table["number"])


def _modal(votes: Votes) -> Ints:
    """The most frequent reading among the turns that worked, of every user and text that has any; then the smallest."""
    at = np.flatnonzero(votes.worked)
    user, text, reading = votes.user[at], votes.text[at], votes.readings.code[votes.row[at]]
    counted = Groups(user, text, reading)
    user, text, reading = (counted.first(values) for values in (user, text, reading))
    best = Groups(user, text).best(-counted.count(), reading)
    return reading[best]


def rewrites(votes: Votes) -> tuple[pa.Table, Ints]:
    """The table `personal_rewrites`: what a user found for themselves, by user, source and target.

    Returns:
        The table, and the number of the user of each row (R,).
    """
    turns = votes.judged.turns
    target = turns.text[votes.resolution]
    found = (votes.resolution != NONE) & turns.as_said[votes.resolution]
    at = np.flatnonzero(found & (target != votes.text))
    groups = Groups(votes.user[at], votes.text[at], target[at])
    row = at[groups.first(np.arange(len(at)))]
    table = pa.table(
        {
            "user": votes.users(row),
            "source": votes.texts(votes.text[row]),
            "target": votes.texts(target[row]),
            "count": groups.count(),
            "last_used": votes.times(groups.max(turns.time_us[votes.row[at]])),
        }
    )
    return _by_user(table, votes.user[row], ("source", "target"))
