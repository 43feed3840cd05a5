"""What one user's day says about a text: the unit of all evidence, so that nobody can shout.

A part of the log holds whole users, so everything that is counted per user is final here; what is counted over users
leaves as one row per text or pair and part, in whole numbers, to be summed by Spark.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mining.groups import Bools, Groups, Ints, within
from mining.judgement import Judged, Yardstick
from mining.readings import Readings
from mining.reformulations import CORRECTIVE, NONE, codes
from mining.signals import SOON_S
from mining.turns import Turns

MICRO = 1_000_000
"""Shares are summed as whole millionths: integer sums do not depend on the order of rows."""

READ_AS = "\u241f"
"""Begins the name of a state that is a reading: no text holds this character."""

DAY_BITS = 62
"""Days in one whole number of a set of days."""


@dataclass(frozen=True)
class Votes:
    """The turns of a block that count as evidence: arrays (M,) beside the block they come from."""

    judged: Judged
    by: Yardstick
    row: Ints
    """(M,) rows of the block."""
    kind: Ints
    """(M,) kind of the follow-up as far as it may be evidence; -1 where there is none."""
    resolution: Ints
    """(M,) row of the block that solved the turn's problem; -1 where there is none."""
    readings: Readings
    """Of the whole block."""

    @staticmethod
    def of(judged: Judged, by: Yardstick, gap: str | None = None) -> "Votes":
        """Turns within the cap per user-day; with `gap`, texts in which this pattern is found are no evidence."""
        turns, config = judged.turns, by.config
        counts = judged.order.day_rank <= config.max_turns_per_user_day
        kind, resolution = judged.kind, judged.resolution
        if gap is not None:
            holed = pc.match_substring_regex(turns.texts, gap).to_numpy(zero_copy_only=False)[turns.effective]
            counts &= ~holed
            kind = np.where(holed[judged.following], NONE, kind)
            resolution = np.where(holed[resolution], NONE, resolution)
        row = np.flatnonzero(counts)
        return Votes(judged, by, row, kind[row], resolution[row], Readings.of(turns.log))

    def past(self) -> "Votes":
        """The votes of days that are not held back."""
        return self._where(self.judged.turns.time_us[self.row] < (self.by.split_us or 0))

    def as_said(self) -> "Votes":
        """The votes of turns that were not rewritten: what became of the others says nothing of any text.

        Not of the text that was said, which nobody acted on; nor of the rewrite, which the user may never have wanted.
        """
        return self._where(self.judged.turns.as_said[self.row])

    def _where(self, some: Bools) -> "Votes":
        return Votes(self.judged, self.by, self.row[some], self.kind[some], self.resolution[some], self.readings)

    @cached_property
    def user(self) -> Ints:
        """(M,) number of the user in the block."""
        return self.judged.turns.user[self.row]

    @cached_property
    def text(self) -> Ints:
        """(M,) code of the text that the assistant acted on."""
        return self.judged.turns.effective[self.row]

    @cached_property
    def day(self) -> Ints:
        """(M,) UTC day, counted from the window's first."""
        return self.judged.turns.day[self.row] - self.by.first_day

    @cached_property
    def micros(self) -> Ints:
        """(M,) probability of a defect, in millionths."""
        return self.judged.micros[self.row]

    @cached_property
    def worked(self) -> Bools:
        """(M,) whether the turn is more likely no defect."""
        return self.micros < MICRO // 2

    @cached_property
    def states(self) -> "States":
        """What the Markov chain calls the block's turns."""
        return States.of(self.judged.turns, self.readings, self.by.config.states == "reading")

    @cached_property
    def state(self) -> Ints:
        """(M,) code of the state that the turn is in."""
        return self.states.code[self.row]

    @cached_property
    def next_state(self) -> Ints:
        """(M,) code of the state that the next turn is in."""
        return self.states.code[self.judged.following[self.row]]

    def texts(self, codes: Ints) -> pa.Array:
        """Texts of codes."""
        return self.judged.turns.texts.take(pa.array(codes))

    def users(self, row: Ints) -> pa.Array:
        """User ids of rows of the votes."""
        return self.judged.turns.log["user_id"].combine_chunks().take(pa.array(self.row[row]))

    def times(self, time_us: Ints) -> pa.Array:
        """Timestamps."""
        return pa.array(time_us, pa.timestamp("us", "UTC"))


@dataclass(frozen=True)
class States:
    """States of the Markov chain of a block: texts, or what the NLU understood of them."""

    code: Ints
    """(N,) code of every turn's state."""
    names: pa.StringArray
    """Every state's name: the text itself, or READ_AS and the reading as JSON."""

    @staticmethod
    def of(turns: Turns, readings: Readings, grouped: bool) -> "States":
        """`grouped`: turns with an intent are in the state of their reading; others, and all else, in their text's."""
        if not grouped:
            return States(turns.effective, turns.texts)
        understood = turns.log["intent"].combine_chunks().is_valid().to_numpy(zero_copy_only=False)
        code = np.where(understood, readings.code + len(turns.texts), turns.effective)
        named = pc.binary_join_element_wise(READ_AS, readings.json, "")
        return States(code, pa.concat_arrays([turns.texts, named]))

    def named(self, codes: Ints) -> pa.Array:
        """Names of codes."""
        return self.names.take(pa.array(codes))


def day_sets(groups: Groups, day: Ints, counts: Bools | None, days: int) -> dict[str, Ints]:
    """`days_0`, `days_1`, …: the set of each group's days as bits, over rows that count (None: all of them)."""
    words = {}
    for number in range(-(-days // DAY_BITS)):
        here = (day // DAY_BITS == number) if counts is None else counts & (day // DAY_BITS == number)
        words[f"days_{number}"] = groups.bits(np.where(here, np.int64(1) << (day % DAY_BITS), 0))
    return words


def texts(votes: Votes) -> pa.Table:
    """One row per text: askers, happy (users it worked for) on days_*, turns, rate (summed over users)."""
    own = Groups(votes.text, votes.user)
    successes = own.sum(votes.worked)
    turns = own.count()
    share = (2 * own.sum(MICRO - votes.micros) + turns) // (2 * turns)
    per_text = Groups(own.first(votes.text))
    days = day_sets(Groups(votes.text), votes.day, votes.worked, votes.by.days)
    columns = {
        "askers": per_text.count(),
        "happy": per_text.sum(successes > 0),
        "turns": per_text.sum(turns),
        "rate": per_text.sum(share),
        **days,
    }
    return pa.table({"text": votes.texts(per_text.first(own.first(votes.text))), **columns})


def user_days(votes: Votes) -> tuple[Groups, Bools]:
    """Votes by state, user and day, and which of these groups count: the newest days of every state and user."""
    groups = Groups(votes.state, votes.user, votes.day)
    state, user = groups.first(votes.state), groups.first(votes.user)
    own = Groups(state, user)  # groups rise by day, so the newest is the last of its state and user
    place = own.spread(own.count()) - 1 - within(own)
    return groups, place < votes.by.config.max_user_votes


def _moved(votes: Votes) -> tuple[Bools, Bools]:
    """Which votes moved to another turn's text, and which of them to one that is alike (M,).

    A turn moves where its follow-up retried it; a repetition moves to the text itself. What came soon after a failure
    without being alike moves too: only many users together can make that a reformulation. Nobody moves to a turn that
    was rewritten: what the user meant to try there was not tried.
    """
    alike = np.isin(votes.kind, codes(*CORRECTIVE, "repetition"))
    soon = ~votes.worked & (votes.judged.order.next_gap_s[votes.row] <= SOON_S)
    tried = votes.judged.turns.as_said[votes.judged.following[votes.row]]
    return (alike | (soon & (votes.kind != NONE))) & tried, alike & tried


def nodes(votes: Votes) -> pa.Table:
    """One row per state: votes (user-days that count), askers, source_count (turns), success and repeat (millionths).

    A move to the state itself is a repeat.
    """
    groups, counts = user_days(votes)
    repeats = _moved(votes)[0] & (votes.next_state == votes.state)
    turns = groups.count()
    success = groups.sum(MICRO - votes.micros) // turns
    repeat = groups.sum(np.where(repeats, votes.micros, 0)) // turns
    states = groups.first(votes.state)
    per_state = Groups(states)
    own = Groups(states, groups.first(votes.user))
    found = {"source_count": turns, "success": success, "repeat": repeat}
    return pa.table(
        {
            "text": votes.states.named(per_state.first(states)),
            "votes": per_state.sum(counts),
            "askers": Groups(own.first(states)).count(),
            **{name: per_state.sum(np.where(counts, values, 0)) for name, values in found.items()},
        }
    )


def members(votes: Votes) -> pa.Table:
    """state, text, n: turns by state and text, of states that are readings."""
    at = np.flatnonzero(votes.state >= len(votes.judged.turns.texts))
    groups = Groups(votes.state[at], votes.text[at])
    return pa.table(
        {
            "state": votes.states.named(groups.first(votes.state[at])),
            "text": votes.texts(groups.first(votes.text[at])),
            "n": groups.count(),
        }
    )


def readings(votes: Votes) -> pa.Table:
    """text, reading (JSON), n: turns that worked, by text and reading."""
    at = np.flatnonzero(votes.worked)
    text, reading = votes.text[at], votes.readings.code[votes.row[at]]
    groups = Groups(text, reading)
    return pa.table(
        {
            "text": votes.texts(groups.first(text)),
            "reading": votes.readings.json.take(pa.array(groups.first(reading))),
            "n": groups.count(),
        }
    )


def edges(votes: Votes) -> pa.Table:
    """source, target, weight (millionths of votes), count, users, alike, days_*: moves to another state."""
    groups, counts = user_days(votes)
    moved, alike = _moved(votes)
    at = np.flatnonzero(moved & (votes.next_state != votes.state) & groups.spread(counts))
    weight = votes.micros[at] // groups.spread(groups.count())[at]
    source, target, user = votes.state[at], votes.next_state[at], votes.user[at]
    pairs = Groups(source, target)
    own = Groups(source, target, user)
    per_user = Groups(own.first(source), own.first(target))
    return pa.table(
        {
            "source": votes.states.named(pairs.first(source)),
            "target": votes.states.named(pairs.first(target)),
            "weight": pairs.sum(weight),
            "count": pairs.count(),
            "users": per_user.count(),
            "alike": pairs.max(alike[at]),
            **day_sets(pairs, votes.day[at], None, votes.by.days),
        }
    )


def exposures(votes: Votes) -> pa.Table:
    """source, target, turns, wins, users, holdout_turns, holdout_wins of every rewrite that was found."""
    turns = votes.judged.turns
    rewrite = turns.rewrite[votes.row]
    at = np.flatnonzero((rewrite != NONE) & (rewrite != turns.text[votes.row]))
    source, target = turns.text[votes.row[at]], rewrite[at]
    held, won = turns.held[votes.row[at]], votes.worked[at]
    groups = Groups(source, target)
    own = Groups(source, target, votes.user[at])
    users = Groups(own.first(source), own.first(target)).sum(own.max(~held))
    return pa.table(
        {
            "source": votes.texts(groups.first(source)),
            "target": votes.texts(groups.first(target)),
            "turns": groups.sum(~held),
            "wins": groups.sum(~held & won),
            "users": users,
            "holdout_turns": groups.sum(held),
            "holdout_wins": groups.sum(held & won),
        }
    )
