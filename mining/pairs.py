"""The users' own follow-ups: the evidence for every pair, and who might be teaching everybody a lesson."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from mining.groups import Groups, Ints, within
from mining.reformulations import CORRECTIVE, KINDS, NONE, codes
from mining.turns import integers
from mining.votes import Votes, day_sets

EXAMPLES = 5
"""Example turns kept for a pair."""


@dataclass(frozen=True)
class Pairs:
    """The users' own follow-ups among votes: arrays (P,)."""

    votes: Votes
    at: Ints
    """Places among the votes."""
    source: Ints
    target: Ints
    kind: Ints

    @staticmethod
    def of(votes: Votes) -> "Pairs":
        """A follow-up that was itself rewritten is the rewriter's pair, not the user's, and is left out."""
        turns, after = votes.judged.turns, votes.judged.following[votes.row]
        at = np.flatnonzero((votes.kind != NONE) & turns.as_said[after])
        return Pairs(votes, at, votes.text[at], turns.text[after[at]], votes.kind[at])

    def among(self, *names: str) -> "Pairs":
        """The pairs of these kinds."""
        some = np.isin(self.kind, codes(*names))
        return Pairs(self.votes, self.at[some], self.source[some], self.target[some], self.kind[some])

    def users_of(self, groups: Groups, *keys: Ints) -> Ints:
        """Distinct users of every group by `keys`."""
        own = Groups(*keys, self.votes.user[self.at])
        return Groups(*(own.first(key) for key in keys)).count()

    def examples(self) -> pa.Array:
        """(P,) `first_id>second_id`."""
        turns = self.votes.judged.turns
        ids = turns.log["interaction_id"].combine_chunks()
        row = self.votes.row[self.at]
        return pc.binary_join_element_wise(ids.take(pa.array(row)), ids.take(pa.array(row + 1)), ">")


def reformulations(pairs: Pairs) -> pa.Table:
    """source, target, kind, users, count, examples, similarity, days_*: the evidence for every pair."""
    votes, keys = pairs.votes, (pairs.source, pairs.target, pairs.kind)
    groups = Groups(*keys)
    return pa.table(
        {
            "source": votes.texts(groups.first(pairs.source)),
            "target": votes.texts(groups.first(pairs.target)),
            "kind": pa.array(KINDS).take(pa.array(groups.first(pairs.kind))),
            "users": pairs.users_of(groups, *keys),
            "count": groups.count(),
            "examples": _smallest(pairs),
            "similarity": groups.max(votes.judged.order.similarity[votes.row[pairs.at]]),
            **day_sets(groups, votes.day[pairs.at], None, votes.by.days),
        }
    )


def _smallest(pairs: Pairs) -> pa.Array:
    """The first few examples of every pair, one of each user."""
    examples = pairs.examples()
    rank = np.empty(len(examples), dtype=np.int64)
    rank[integers(pc.sort_indices(examples))] = np.arange(len(examples))
    user = pairs.votes.user[pairs.at]
    own = Groups(pairs.source, pairs.target, pairs.kind, user)
    row = own.best(rank)
    keys = [key[row] for key in (pairs.source, pairs.target, pairs.kind)]
    ordered = Groups(*keys, rank[row])
    row = row[ordered.order]
    groups = Groups(*(key[ordered.order] for key in keys))
    kept = row[within(groups) < EXAMPLES]
    sizes = np.minimum(groups.count(), EXAMPLES)
    offsets = pa.array(np.concatenate([[0], np.cumsum(sizes)]), pa.int32())
    return pa.ListArray.from_arrays(offsets, examples.take(pa.array(kept)))


def shared(pairs: Pairs) -> pa.Table:
    """source, target, users, days_* of what could teach a lesson, and correctors: users who made it a correction."""
    lessons = pairs.among(*CORRECTIVE, "new")
    votes, keys = pairs.votes, (lessons.source, lessons.target)
    groups = Groups(*keys)
    corrects = np.isin(lessons.kind, codes(*CORRECTIVE))
    own = Groups(*keys, votes.user[lessons.at])
    correctors = Groups(*(own.first(key) for key in keys)).sum(own.max(corrects))
    return pa.table(
        {
            "source": votes.texts(groups.first(lessons.source)),
            "target": votes.texts(groups.first(lessons.target)),
            "users": lessons.users_of(groups, *keys),
            "correctors": correctors,
            **day_sets(groups, votes.day[lessons.at], None, votes.by.days),
        }
    )


def corrections(pairs: Pairs) -> pa.Table:
    """user, source, target: the corrections of users who made many different ones."""
    corrective = pairs.among(*CORRECTIVE)
    user = pairs.votes.user[corrective.at]
    own = Groups(user, corrective.source, corrective.target)
    row = own.first(np.arange(len(user)))
    per_user = Groups(user[row])
    row = row[per_user.spread(per_user.count()) >= pairs.votes.by.config.unshared_pairs]
    votes = pairs.votes
    return pa.table(
        {
            "user": votes.users(corrective.at[row]),
            "source": votes.texts(corrective.source[row]),
            "target": votes.texts(corrective.target[row]),
        }
    )
