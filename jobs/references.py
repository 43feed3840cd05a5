"""The rows every evaluation carries: what the obvious methods would have done with the same turns.

Each reference answers N queries with a text or None, and a confidence. None is fitted to the turns it is measured on.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from rewrite.text import normalise

FOLLOW_UP_S = 40.0
"""A turn this soon after another of the same user, seconds, may be the same request again."""

FOLLOW_UP_RATIO = 40.0
"""... if its text is this similar: rapidfuzz ratio, 0-100."""

FRICTION_SHARE = 0.5
"""The look-up answers for texts of which more than this share of turns showed friction."""

HISTORY_COLUMNS = ("user_id", "timestamp", "status", "interrupted")
CHUNK = 512
"""Queries whose similarities to all texts are held at once."""


@dataclass(frozen=True)
class Answers:
    """One reference's rewrites of N queries, None where it leaves the turn alone, with confidences of shape (N,)."""

    rewrites: tuple[str | None, ...]
    confidence: NDArray[np.float64]

    def of(self, rows: Sequence[int]) -> "Answers":
        """The answers at these rows."""
        return Answers(tuple(self.rewrites[row] for row in rows), self.confidence[np.asarray(rows, dtype=np.int64)])


@dataclass(frozen=True)
class History:
    """Past turns with their outcomes: what a look-up is made of. Columns user_id, text, hard, friction, follow_up."""

    turns: pd.DataFrame

    @classmethod
    def of(cls, log: pd.DataFrame) -> "History":
        """Build from log rows in any order; texts are its `text` column, or else `utterance` normalised."""
        log = log.sort_values(["user_id", "timestamp"], kind="stable").reset_index(drop=True)
        text = log["text"] if "text" in log else log["utterance"].map(normalise)
        same_user = log["user_id"].eq(log["user_id"].shift(-1))
        gap_s = (log["timestamp"].shift(-1) - log["timestamp"]).dt.total_seconds()
        again = _similar(text, text.shift(-1), (same_user & gap_s.le(FOLLOW_UP_S)).to_numpy())
        hard = _hard(log)
        return cls(
            pd.DataFrame(
                {
                    "user_id": log["user_id"],
                    "text": text,
                    "hard": hard,
                    "friction": hard | again,
                    "follow_up": text.shift(-1).where(again),
                    "follow_up_hard": hard.shift(-1, fill_value=False),
                }
            )
        )

    @classmethod
    def read(cls, mined: Path) -> "History":
        """Read the `turns` table of a mining run.

        Raises:
            FileNotFoundError: `mined` is no mining run.
        """
        table = pq.read_table(_table(mined, "turns"))
        wanted = [c for c in (*HISTORY_COLUMNS, "text", "interaction_id") if c in table.column_names]
        return cls.of(table.select(wanted).to_pandas())

    @cached_property
    def moves(self) -> pd.DataFrame:
        """Where each text's users moved to: text, follow_up, users, count, most users first for each text.

        A follow-up that was not understood or was interrupted itself is no place to move to.
        """
        moved = self.turns[self.turns["follow_up"].notna() & ~self.turns["follow_up_hard"]]
        moved = moved[moved["follow_up"] != moved["text"]]
        pairs = moved.groupby(["text", "follow_up"])["user_id"].agg(users="nunique", count="size").reset_index()
        order = ["text", "users", "count", "follow_up"]
        return pairs.sort_values(order, ascending=[True, False, False, True], ignore_index=True)

    @cached_property
    def friction_rate(self) -> pd.Series:
        """Share of each text's turns that showed friction: not understood, interrupted, or asked again at once."""
        return self.turns.groupby("text")["friction"].mean()


def nothing(queries: Sequence[str]) -> Answers:
    """Leave every turn alone."""
    return Answers((None,) * len(queries), np.zeros(len(queries)))


def lookup(queries: Sequence[str], history: History, min_users: int) -> Answers:
    """Mined look-up: what most users moved to, where `min_users` of them did and the text usually met friction.

    The confidence is the number of users behind the move.
    """
    top = history.moves.drop_duplicates("text")
    failing = top["text"].map(history.friction_rate) > FRICTION_SHARE
    kept = top[failing & (top["users"] >= min_users)]
    targets = dict(zip(kept["text"], kept["follow_up"], strict=True))
    users = dict(zip(kept["text"], kept["users"], strict=True))
    return _answers(queries, {q: (targets[q], float(users[q])) for q in set(queries) & targets.keys()})


def nearest(queries: Sequence[str], texts: Iterable[str], above: float) -> Answers:
    """Nearest text by rapidfuzz ratio where it is above `above` (0-100), which is also the confidence.

    A query that is itself one of the texts is left alone.
    """
    members = sorted(set(texts))
    distinct = sorted(set(queries))
    found: dict[str, tuple[str, float]] = {}
    for start in range(0, len(distinct) if members else 0, CHUNK):
        part = distinct[start : start + CHUNK]
        ratios = process.cdist(part, members, scorer=fuzz.ratio, score_cutoff=above, dtype=np.float32)
        best = ratios.argmax(axis=1)
        for row, query in enumerate(part):
            if ratios[row, best[row]] > above:
                found[query] = (members[best[row]], float(ratios[row, best[row]]))
    return _answers(queries, found)


def personal_else(
    queries: Sequence[str],
    user_ids: Sequence[str],
    personal: Mapping[str, Sequence[str]],
    otherwise: Answers,
    above: float,
) -> Answers:
    """The user's own nearest text where its ratio is above `above`; else what `otherwise` answers."""
    rewrites, confidence = list(otherwise.rewrites), otherwise.confidence.copy()
    for row, (query, user_id) in enumerate(zip(queries, user_ids, strict=True)):
        own = process.extractOne(query, personal.get(user_id, ()), scorer=fuzz.ratio, score_cutoff=above)
        if own is not None and own[1] > above:
            rewrites[row], confidence[row] = (own[0], own[1]) if own[0] != query else (None, 0.0)
    return Answers(tuple(rewrites), confidence)


def all_references(queries: Sequence[str], user_ids: Sequence[str], mined: Path) -> dict[str, Answers]:
    """Every reference row, by name, computed from one mining run.

    Raises:
        FileNotFoundError: `mined` is no mining run.
    """
    history = History.read(mined)
    texts = pq.read_table(_table(mined, "utterances"), columns=["text"])["text"].to_pylist()
    own = pq.read_table(_table(mined, "personal"), columns=["user", "text"]).to_pandas()
    personal = {str(user): sorted(group) for user, group in own.groupby("user")["text"]}
    near = nearest(queries, texts, 80.0)
    return {
        "nothing": nothing(queries),
        "mined look-up, 1 user": lookup(queries, history, 1),
        "mined look-up, 2 users": lookup(queries, history, 2),
        "nearest global text > 80": near,
        "nearest global text > 90": nearest(queries, texts, 90.0),
        "own nearest > 80, else global": personal_else(queries, user_ids, personal, near, 80.0),
    }


def _similar(texts: pd.Series, others: pd.Series, asked: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Which rows of `asked` have texts more similar than FOLLOW_UP_RATIO, shape (N,)."""
    similar = np.zeros(len(texts), dtype=bool)
    rows = np.flatnonzero(asked)
    similar[rows] = [fuzz.ratio(texts[row], others[row]) > FOLLOW_UP_RATIO for row in rows]
    return similar


def _hard(log: pd.DataFrame) -> pd.Series:
    """Not understood, failed or interrupted; a column that the site lacks says nothing."""
    hard = pd.Series(False, index=log.index)
    if "status" in log:
        hard |= log["status"].notna() & log["status"].ne("ok")
    if "interrupted" in log:
        hard |= log["interrupted"].eq(True)
    return hard


def _answers(queries: Sequence[str], found: Mapping[str, tuple[str, float]]) -> Answers:
    """Answers by query; an answer equal to its query is none."""
    rewrites = tuple(found[q][0] if q in found and found[q][0] != q else None for q in queries)
    confidence = [found[q][1] if t is not None else 0.0 for q, t in zip(queries, rewrites, strict=True)]
    return Answers(rewrites, np.array(confidence, dtype=np.float64))


def _table(mined: Path, name: str) -> Path:
    if not (mined / name).exists():
        raise FileNotFoundError(
            f"no table {name}; got {mined}; expected a folder that `reprise mine` wrote; is the path right?"
        )
    return mined / name
