"""What users went on to succeed with after a text had failed them, by reading: evidence that no single pair has.

Each says it again in other words, so that no two make the same pair; but what they then get is of one intent, far
more often than chance has it.
"""

import math
from collections.abc import Mapping
from functools import cached_property

import pyarrow as pa

from rewrite.turn import Reading

PRIOR_USERS = 2.0
"""Users of chance that every text begins with."""

AGREED = 0.5
"""Share of a failed text's users that the commonest intent after it has, for them to agree on what it means."""

FEW = 3
"""Users who, without agreeing, say too little for one of them to be wrong."""

SLOTS = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
SCHEMA = pa.schema([("text", pa.string()), ("intent", pa.string()), ("slots", SLOTS), ("users", pa.int64())])
"""Distinct users whose `text` failed and who then got `intent` with `slots`; null stands for any, of texts, too."""


class Sequels:
    """Users by failed text and what came after, and how common each intent is after whatever fails."""

    def __init__(
        self,
        followed: Mapping[str, int],
        intents: Mapping[tuple[str, str], int],
        readings: Mapping[tuple[str, str, frozenset[tuple[str, str]]], int],
        common: Mapping[str, int],
    ) -> None:
        self._followed, self._intents, self._readings = followed, intents, readings
        total = max(sum(common.values()), 1)
        self._by_chance = {intent: count / total for intent, count in common.items()}

    @classmethod
    def of(cls, table: pa.Table) -> "Sequels":
        """Read a table of SCHEMA."""
        followed, intents, readings, common = {}, {}, {}, {}
        for text, intent, slots, users in zip(*(table[name].to_pylist() for name in SCHEMA.names), strict=True):
            if text is None:
                common[intent] = users
            elif intent is None:
                followed[text] = users
            elif slots is None:
                intents[text, intent] = users
            else:
                readings[text, intent, Reading.of(None, intent, slots).slots] = users
        return cls(followed, intents, readings, common)

    @cached_property
    def _likeliest(self) -> dict[str, tuple[int, str]]:
        """By text the users of its commonest sequel, and which; only learning asks, so that serving need not wait."""
        found: dict[str, tuple[int, str]] = {}
        for (text, intent), users in self._intents.items():
            found[text] = max(found.get(text, (0, "")), (users, intent))
        return found

    def agreed(self, text: str) -> str | None:
        """The intent that half of the users, or more, went on to after `text` had failed; None where there is none."""
        users, intent = self._likeliest.get(text, (0, ""))
        return intent if users and users >= AGREED * self._followed[text] else None

    def disputed(self, text: str) -> bool:
        """Whether more than FEW users are known to have gone on from `text` without agreeing.

        Texts are known after which enough users for evidence went on to one intent.
        """
        return self._followed.get(text, 0) > FEW and self.agreed(text) is None

    def evidence(self, query: str, reading: Reading) -> tuple[float, float, float, float, float, float]:
        """Of `query`: users who went on to anything; to this intent, their share, its log ratio to chance; to this very
        reading, their share.

        Shares are smoothed by PRIOR_USERS, of intents towards chance; without evidence on the query they are NaN.
        """
        followed, intent = self._followed.get(query, 0), reading.intent
        if not followed or intent is None:
            return (followed, 0.0, math.nan, math.nan, 0.0, math.nan)
        users, by_chance = self._intents.get((query, intent), 0), self._by_chance.get(intent, 0.0)
        share = (users + PRIOR_USERS * by_chance) / (followed + PRIOR_USERS)
        lift = math.log((share + 1e-6) / (by_chance + 1e-3))
        same = self._readings.get((query, intent, reading.slots), 0)
        return (followed, users, share, lift, same, same / (followed + PRIOR_USERS))


NONE = Sequels({}, {}, {}, {})
