"""Logged exposures as arrays: what was done with each turn, how probable that was, and what another bundle would do."""

import hashlib
from collections.abc import Set
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from rapidfuzz import fuzz

from jobs.counterfactual.estimators import Logged, Policy
from jobs.counterfactual.rewards import Floats, cross_fitted
from rewrite.text import normalise

if TYPE_CHECKING:
    import pyarrow as pa

    from rewrite import Rewriter
    from rewrite.turn import Turn


class NothingExposed(ValueError):
    """No turn says what Reprise did with it."""


@dataclass(frozen=True)
class Exposed:
    """N turns on which Reprise was asked.

    Attributes:
        found: the rewrite that the logging bundle had, None where it left the turn alone.
        held: whether the turn was held out, so that `found` was not used.
        reward: shape (N,), 1 minus the probability of a defect. propensity: shape (N,), of what was done.
    """

    turns: "tuple[Turn, ...]"
    found: tuple[str | None, ...]
    held: tuple[bool, ...]
    reward: Floats
    propensity: Floats

    @property
    def done(self) -> list[str | None]:
        """The action taken on each turn: the text acted on, None for the user's own."""
        return [None if held else text for text, held in zip(self.found, self.held, strict=True)]

    @property
    def users_held_out(self) -> int:
        """Users who had a turn that would have been rewritten, had they not been held out."""
        turns = zip(self.turns, self.found, self.held, strict=True)
        return len({turn.user_id for turn, found, held in turns if held and found is not None})

    def after(self, moment: datetime) -> "Exposed":
        """Those of the turns that came later."""
        rows = [row for row, turn in enumerate(self.turns) if (turn.timestamp_s or 0.0) > moment.timestamp()]
        return Exposed(
            tuple(self.turns[row] for row in rows),
            tuple(self.found[row] for row in rows),
            tuple(self.held[row] for row in rows),
            self.reward[rows],
            self.propensity[rows],
        )

    def logged(self) -> Logged:
        """What the estimators read."""
        users = {user: row for row, user in enumerate(sorted({t.user_id or "" for t in self.turns}))}
        rows = np.array([users[t.user_id or ""] for t in self.turns], dtype=np.int64)
        return Logged(self.reward, self.propensity, rows)


def read_exposed(
    mined: Path, since: datetime | None = None, without: Set[str] = frozenset(), most: int = 20_000
) -> Exposed:
    """The turns of a mining run on which Reprise was asked and which say with what probability it acted.

    They are as they were when it was asked, before any rewrite. Of more than `most` those of whole users, in the order
    of their ids' hash.

    Args:
        since: earlier turns are left out.
        without: turns that these bundles decided are left out.

    Raises:
        NothingExposed: no turn is left.
    """
    from jobs.labels import read_as_said
    from jobs.learn import read_table
    from jobs.turns import turns_of

    table = of_some_users(read_table(mined, "turns"), most)
    ordered = table.sort_by([(name, "ascending") for name in ("user_id", "timestamp", "interaction_id")])
    rewrites: list[dict[str, Any] | None] = ordered["rewrite"].to_pylist()
    inside = _from(ordered, since)
    rows = [
        row
        for row, r in enumerate(rewrites)
        if inside[row] and r is not None and r["propensity"] is not None and r["bundle"] not in without
    ]
    if not rows:
        raise NothingExposed(
            f"{mined} has no turn with rewrite.propensity{'' if since is None else f' from {since} on'}; "
            "expected logs that say what Reprise did (docs/pipeline.md)"
        )
    shown = [r is not None and r["text"] is not None and not r["holdout"] for r in rewrites]
    turns = read_as_said(turns_of(ordered), shown)
    kept = [rewrites[row] or {} for row in rows]
    defect = np.asarray(ordered["defect_probability"])[rows]
    found = tuple(None if r["text"] is None else normalise(r["text"]) for r in kept)
    held = tuple(bool(r["holdout"]) for r in kept)
    propensity = np.array([r["propensity"] for r in kept], dtype=float)
    return Exposed(tuple(turns[row] for row in rows), found, held, 1.0 - defect, propensity)


def _from(turns: "pa.Table", since: datetime | None) -> list[bool]:
    import pyarrow as pa
    import pyarrow.compute as pc

    if since is None:
        return [True] * turns.num_rows
    inside: list[bool] = pc.greater_equal(turns["timestamp"], pa.scalar(since, turns["timestamp"].type)).to_pylist()
    return inside


def of_some_users(turns: "pa.Table", most: int) -> "pa.Table":
    """All turns of so many users, in the order of their ids' hash, that about `most` of them were asked about."""
    import pyarrow as pa
    import pyarrow.compute as pc

    asked = turns.filter(pc.is_valid(turns["rewrite"]))
    if asked.num_rows <= most:
        return turns
    counts = asked.group_by("user_id").aggregate([([], "count_all")]).to_pylist()
    counts.sort(key=lambda row: hashlib.sha256(row["user_id"].encode()).digest())
    kept, total = [], 0
    for row in counts:
        if total >= most:
            break
        kept.append(row["user_id"])
        total += row["count_all"]
    return turns.filter(pc.is_in(turns["user_id"], pa.array(kept, pa.string())))


@dataclass(frozen=True)
class Policies:
    """What is compared on the same N turns.

    Attributes:
        nothing: every turn left alone.
        could: shape (N,), 1 where the log could have done what the challenger would, else 0; NaN where neither it nor
            the log's bundle rewrites.
    """

    challenger: Policy
    champion: Policy
    nothing: Policy
    could: Floats


def policies(exposed: Exposed, challenger: "Rewriter", champion: "Rewriter | None" = None) -> Policies:
    """Ask both bundles about every turn; None for the champion is the logging bundle, without its holdout."""
    decisions = [challenger.rewrite_turn(turn) for turn in exposed.turns]
    wanted = [d.text for d in decisions]
    p_fail = [d.p_fail for d in decisions]
    done, other = exposed.done, list(exposed.found)
    if champion is not None:
        other = [champion.rewrite_turn(turn).text for turn in exposed.turns]
    every = [done, wanted, other, [None] * len(done)]
    asked = [_features(exposed, actions, p_fail, challenger) for actions in every]
    expected = cross_fitted(asked[0], exposed.reward, exposed.logged().user_row, asked)
    ours, theirs, nothing = (
        Policy(_same(actions, done), reward, expected[0])
        for actions, reward in zip(every[1:], expected[1:], strict=True)
    )
    by_chance = exposed.propensity < 1
    could = [
        np.nan if w is None and found is None else float(w == found or (w is None and chance))
        for w, found, chance in zip(wanted, exposed.found, by_chance, strict=True)
    ]
    return Policies(ours, theirs, nothing, np.array(could))


def _same(wanted: list[str | None], done: list[str | None]) -> Floats:
    return np.array([a == b for a, b in zip(wanted, done, strict=True)], dtype=float)


def _features(exposed: Exposed, actions: list[str | None], p_fail: list[float], rewriter: "Rewriter") -> Floats:
    """Turn and action as numbers, shape (N, 8)."""
    knowledge = rewriter.scorer.knowledge
    rows = []
    for turn, action, p in zip(exposed.turns, actions, p_fail, strict=True):
        query = normalise(turn.utterance)
        known = knowledge.known.get(action or query)
        pairs = [pair for pair in knowledge.look_up.get(query, []) if pair.target == action]
        rows.append(
            [
                p,
                turn.asr_confidence,
                turn.nlu_confidence,
                float(action is not None),
                fuzz.ratio(query, action) if action is not None else 100.0,
                None if known is None else known.success_rate,
                None if known is None else known.users,
                pairs[0].lower_bound if pairs else None,
            ]
        )
    return np.array([[np.nan if value is None else float(value) for value in row] for row in rows])
