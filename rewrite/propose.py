"""Candidates of a turn: mined look-up, the user's own texts, the nearest texts of both spaces, what was said before in
the session, and trie search.

Every proposal is a text in force: a member of the global space or one of the user's own texts. A text equal to the
query is no rewrite and is never proposed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import islice

from rapidfuzz import fuzz, process

from rewrite.neighbours import Neighbours, by_ratio
from rewrite.numerals import said
from rewrite.spaces import Knowledge, KnownText, Own, OwnText, Pair
from rewrite.ties import values
from rewrite.turn import Reading

SCANNED_GLOBAL = 120
"""Texts of the global space that the views of nearness may name."""

NEAREST_GLOBAL = 32
"""... and how many of them are proposed, of which ALWAYS are the nearest by ratio."""

REMEMBERED = 5_000
"""Queries whose neighbours are kept: people ask the same things."""

ALWAYS = 5
NEAREST_OWN = 40

EARLIER = 3
"""Earlier texts of the session that are proposed themselves ("play it again"); for the last of them also what it mostly
turned out to be and the texts nearest to it, as the turn may be a second try ("no, the other one").
"""

NEAR_THE_LAST = 5

OF_A_KIND = 5
"""Texts of each space that are proposed for an earlier turn because they have its intent ("and in the kitchen"), or
because they take up something of it ("something by them").
"""

COMMONEST = 500
"""Texts of an intent, or of a slot value, that are looked through for them, those with most users first."""


@dataclass
class Proposal:
    """One candidate and who proposed it.

    `space` is `personal` where the user has succeeded with the text, else `global`. `pair` is the mined evidence for
    query -> text, `own_pair_count` how often this user made that very reformulation.
    """

    text: str
    reading: Reading
    space: str
    sources: list[str] = field(default_factory=list)
    pair: Pair | None = None
    own_pair_count: int = 0


class _Kin:
    """Texts in force by intent and by slot value, the commonest first."""

    def __init__(self, texts: Iterable[KnownText | OwnText]) -> None:
        self._by_intent: dict[str, list[str]] = {}
        self._by_value: dict[str, list[KnownText | OwnText]] = {}
        for known in sorted(texts, key=lambda known: (-_users(known), known.text)):
            if known.reading.intent is not None:
                self._by_intent.setdefault(known.reading.intent, []).append(known.text)
            for value in values(known.reading):
                self._by_value.setdefault(value, []).append(known)

    def of(self, reading: Reading, query: str) -> list[str]:
        """OF_A_KIND texts with the intent of `reading`, the nearest to the query, and as many that have a value of it
        with another intent.
        """
        same = {text: said(text) for text in self._by_intent.get(reading.intent or "", [])[:COMMONEST]}
        near = process.extract(said(query), same, scorer=fuzz.ratio, limit=OF_A_KIND)
        sharing = (known for value in sorted(values(reading)) for known in self._by_value.get(value, [])[:COMMONEST])
        others = (known.text for known in sharing if known.reading.intent != reading.intent)
        return [text for _, _, text in near] + list(islice(others, OF_A_KIND))


def _users(known: KnownText | OwnText) -> int:
    return known.users if isinstance(known, KnownText) else known.count


class Proposer:
    """Collects candidates from one state of knowledge; texts in `blocked` are never proposed."""

    def __init__(self, knowledge: Knowledge, blocked: Iterable[str] = ()) -> None:
        self.knowledge = knowledge
        self._blocked = frozenset(blocked)
        # a number stands for each reading: hashing readings themselves would be half of what a scan takes
        numbers: dict[Reading, int] = {}
        self._reading_of = {
            t: numbers.setdefault(known.reading, len(numbers)) if known.reading.intent is not None else None
            for t, known in knowledge.known.items()
        }
        self._kin = self._kin_of(knowledge.known.values())
        self._global = Neighbours(t for t in knowledge.texts if t not in self._blocked)
        self._near = lru_cache(REMEMBERED)(self._scan)

    def neighbours(self, query: str, own: Own) -> list[tuple[str, float, str]]:
        """Nearest texts of both spaces: (text, ratio 0-100, "neighbour" or "own"), best first in each, query left out.

        Of the global space, the nearest text of each NLU reading, readings in the order in which the views name them:
        many texts that do the same would crowd out the rest.
        """
        texts = {t: said(t) for t in own.texts if t not in self._blocked and t != query}
        mine = process.extract(said(query), texts, scorer=fuzz.ratio, limit=NEAREST_OWN)
        return [(t, s, "neighbour") for t, s in self._near(query)] + [(t, s, "own") for _, s, t in mine]

    def _scan(self, query: str) -> list[tuple[str, float]]:
        named = [pair for pair in self._global.named(query, SCANNED_GLOBAL) if pair[0] != query]
        near, reading_of = by_ratio(named), self._reading_of
        nearest_of = {reading_of[pair[0]]: pair for pair in reversed(near)}
        kept = dict(near[:ALWAYS])
        for pair in named:
            reading = reading_of[pair[0]]
            text, score = pair if reading is None else nearest_of[reading]
            if len(kept) < NEAREST_GLOBAL:
                kept[text] = score
        return by_ratio(list(kept.items()))

    def propose(
        self,
        query: str,
        own: Own,
        neighbours: Sequence[tuple[str, float, str]],
        searched: Sequence[str] = (),
        turns: Sequence[str] = (),
    ) -> list[Proposal]:
        """All candidates, in a stable order: look-up, own pairs, neighbours, own texts, earlier turns, search.

        Args:
            turns: the session's earlier texts, normalised, oldest first.
        """
        found: dict[str, Proposal] = {}
        for pair in self.knowledge.look_up.get(query, []):
            self._add(found, query, own, pair.target, "lookup", pair=pair)
        for pair in own.pairs.get(query, []):
            self._add(found, query, own, pair.target, "own_lookup", own_pair_count=pair.count)
        for text, _, source in neighbours:
            self._add(found, query, own, text, source)
        for text in self._earlier(query, own, turns):
            self._add(found, query, own, text, "earlier")
        for text in searched:
            self._add(found, query, own, text, "search")
        return list(found.values())

    def _kin_of(self, texts: Iterable[KnownText | OwnText]) -> _Kin:
        """What is not blocked of the texts: a blocked one would keep out another."""
        return _Kin(known for known in texts if known.text not in self._blocked)

    def _earlier(self, query: str, own: Own, turns: Sequence[str]) -> list[str]:
        said_before = turns[: -EARLIER - 1 : -1]
        found = list(said_before)
        if found:
            last = found[0]
            found += [pair.target for pair in self.knowledge.look_up.get(last, [])]
            found += [text for text, _ in self._near(last)[:NEAR_THE_LAST]]
        in_force = (self.knowledge.in_force(text, own) for text in said_before)
        readings = dict.fromkeys(known.reading for known in in_force if known is not None)
        kins = (self._kin_of(own.texts.values()), self._kin) if readings else ()
        return found + [text for reading in readings for kin in kins for text in kin.of(reading, query)]

    def _add(
        self,
        found: dict[str, Proposal],
        query: str,
        own: Own,
        text: str,
        source: str,
        pair: Pair | None = None,
        own_pair_count: int = 0,
    ) -> None:
        in_force = self.knowledge.in_force(text, own)
        if text == query or text in self._blocked or in_force is None:
            return
        proposal = found.setdefault(
            text, Proposal(text, in_force.reading, "personal" if text in own.texts else "global")
        )
        if source not in proposal.sources:
            proposal.sources.append(source)
        proposal.pair = pair or proposal.pair
        proposal.own_pair_count = max(own_pair_count, proposal.own_pair_count)
