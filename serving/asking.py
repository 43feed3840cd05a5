"""Ask the model for nothing that is known, and find out what is not.

The rewriter runs as it is, over a stand-in for its generator. What the stand-in knows it answers; the first thing it
does not know ends the attempt with `Needed`, which says what to compute. Computed for many turns at once, it is put
into the turns' memos, and the attempt is made again. The rewriter's own steps are nowhere repeated.
"""

import copy
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from rewrite.cascade import NEVER
from rewrite.features import CHEAP_FEATURES
from rewrite.spaces import Own
from rewrite.text import normalise
from rewrite.turn import Turn
from rewrite.vocabulary import MAX_TURNS, Direction
from serving.lru import Lru


@dataclass(frozen=True)
class Query:
    """A query after the earlier `turns`, as the forward direction sees it: stands in for its encoding."""

    text: str
    turns: tuple[str, ...]


@dataclass(frozen=True)
class Search:
    """The members of the trie that are likely for a query; `options` are those of the search, by name."""

    query: Query
    options: tuple[tuple[str, Any], ...]


@dataclass(frozen=True)
class Pair:
    """log P(target | source) in one direction; `turns` belong to the forward direction only."""

    direction: Direction
    source: str
    turns: tuple[str, ...]
    target: str


class Needed(Exception):
    """An attempt needs the model for these."""

    def __init__(self, searches: Sequence[Search] = (), pairs: Sequence[Pair] = ()) -> None:
        super().__init__("the model is needed")
        self.searches = tuple(searches)
        self.pairs = tuple(pairs)


@dataclass
class Memo:
    """What is known of the model's answers: this turn's own, then those kept for all turns."""

    shared: Lru[Hashable, Any]
    own: dict[Hashable, Any] = field(default_factory=dict)

    def get(self, key: Hashable) -> Any:
        """The answer, None where it is not known."""
        found = self.own.get(key)
        if found is None and (found := self.shared.get(key)) is not None:
            self.own[key] = found  # must not be forgotten between two attempts
        return found

    def once(self, key: Hashable, make: Callable[[], Any]) -> Any:
        """What `make` gave the first time, for this turn alone."""
        if key not in self.own:
            self.own[key] = make()
        return self.own[key]

    def put(self, key: Hashable, value: Any) -> None:
        """Keep an answer for this turn and for others."""
        self.own[key] = value
        self.shared.put(key, value)


@dataclass(frozen=True)
class Step:
    """Something that the rewriter did for a job, and need not do again at the next attempt."""

    name: str
    of: Hashable = None


@dataclass(frozen=True)
class Kept:
    """What is kept between turns: nearest texts by query and user, candidates with features by what they depend on."""

    neighbours: Lru[Hashable, Any]
    proposed: Lru[Hashable, Any]


class OnceScorer:
    """A scorer whose cheap steps are done once for a job, however many attempts are made, and once for equal turns."""

    def __init__(self, scorer: Any, memo: Memo, kept: Kept) -> None:
        self._scorer = scorer
        self._memo = memo
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scorer, name)

    def consider(self, turn: Any, query: str) -> Any:
        """As the scorer's, a copy that may be added to."""
        return copy.copy(self._memo.once(Step("consider"), lambda: self._scorer.consider(turn, query)))

    def propose(self, considered: Any, p_fail: float) -> None:
        """As the scorer's."""
        self._kept_step("propose", considered, p_fail)

    def search(self, considered: Any, p_fail: float) -> None:
        """As the scorer's."""
        self._kept_step("search", considered, p_fail)

    def _kept_step(self, name: str, considered: Any, p_fail: float) -> None:
        """Candidates with their features. Of the turn's confidences these know `p_fail` alone."""
        plain = replace(_plain(considered.turn, considered.own), asr_confidence=None, nlu_confidence=None, device=None)
        key = Step(name, plain)

        def made() -> tuple[Any, Any]:
            known = self._kept.proposed.get(key)
            if known is None:
                getattr(self._scorer, name)(considered, p_fail)
                known = considered.proposals, considered.features
                self._kept.proposed.put(key, known)
            return known

        proposals, features = self._memo.once(Step(name), made)
        considered.proposals, considered.features = list(proposals), features.copy()
        considered.features[:, CHEAP_FEATURES.index("p_fail")] = p_fail


class KeepingProposer:
    """A proposer that keeps the nearest texts of queries asked before."""

    def __init__(self, proposer: Any, kept: Kept, user_id: str | None) -> None:
        self._proposer = proposer
        self._kept = kept
        self._user_id = user_id

    def __getattr__(self, name: str) -> Any:
        return getattr(self._proposer, name)

    def neighbours(self, query: str, own: Any) -> Any:
        """As the proposer's."""
        key = (query, self._user_id if own.texts else None)
        found = self._kept.neighbours.get(key)
        if found is None:
            found = self._proposer.neighbours(query, own)
            self._kept.neighbours.put(key, found)
        return list(found)


def _plain(turn: Turn, own: Own) -> Turn:
    """A turn with nothing that a decision cannot depend on: users without anything of their own are all alike."""
    user = turn.user_id if own.texts or own.pairs else None
    return replace(turn, interaction_id=None, user_id=user, locale=None)


def rounded(turn: Turn) -> Turn:
    """A turn as it is decided: confidences to a hundredth, times to the hour, gaps to the second.

    No decision hangs on less, and turns that are equal but for that are answered alike and only once.
    """
    return replace(
        turn,
        asr_confidence=_round(turn.asr_confidence, 2),
        nlu_confidence=_round(turn.nlu_confidence, 2),
        timestamp_s=None if turn.timestamp_s is None else turn.timestamp_s // 3600 * 3600,
        gap_s=_round(turn.gap_s, 0),
    )


def _round(value: float | None, digits: int) -> float | None:
    return None if value is None else round(value, digits)


def decision_key(turn: Turn, own: Own) -> Turn:
    """What the decision of a turn depends on."""
    query = normalise(turn.utterance)
    return replace(_plain(turn, own), utterance=query, turns=tuple(normalise(t) for t in turn.turns))


class OnceDecider:
    """A decider that is asked once about the same features.

    Args:
        asks: whether the generator is asked where the bundle says so; else the cheap trees decide every turn.
    """

    def __init__(self, decider: Any, memo: Memo, asks: bool = True) -> None:
        self._decider = decider
        self._memo = memo
        self.thresholds = decider.thresholds if asks else replace(decider.thresholds, ask=NEVER)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._decider, name)

    def p_fail(self, features: np.ndarray) -> np.ndarray:
        """As the decider's."""
        found: np.ndarray = self._memo.once(Step("p_fail", features.tobytes()), lambda: self._decider.p_fail(features))
        return found

    def sift(self, features: np.ndarray) -> np.ndarray:
        """As the decider's."""
        found: np.ndarray = self._memo.once(Step("sift", features.tobytes()), lambda: self._decider.sift(features))
        return found


class AskingGenerator:
    """Stands in for a generator: its answers from a memo, everything else from the generator itself."""

    def __init__(self, generator: Any, memo: Memo) -> None:
        self._generator = generator
        self._memo = memo

    def __getattr__(self, name: str) -> Any:
        return getattr(self._generator, name)

    def encode(self, query: str, turns: Sequence[str] = ()) -> Query:
        """What `search` and `score` take; nothing is run."""
        return Query(query, tuple(turns[-MAX_TURNS:]))

    def search(self, encoded: Query, trie: Any, **options: Any) -> list[tuple[str, float]]:
        """As `Generator.search`, from what is known.

        Raises:
            Needed: it is not known.
        """
        wanted = Search(encoded, tuple(sorted(options.items())))
        found: list[tuple[str, float]] | None = self._memo.get(wanted)
        if found is None:
            raise Needed(searches=[wanted])
        return found

    def score(self, encoded: Query, texts: Sequence[str]) -> np.ndarray:
        """As `Generator.score`, from what is known.

        Raises:
            Needed: some text's score is not known.
        """
        return self._known([Pair("forward", encoded.text, encoded.turns, text) for text in texts])

    def log_probs(
        self, direction: Direction, sources: Sequence[str], targets: Sequence[str], turns: Sequence[str] = ()
    ) -> np.ndarray:
        """As `Generator.log_probs`, from what is known.

        Raises:
            Needed: some pair is not known.
        """
        earlier = tuple(turns[-MAX_TURNS:]) if direction == "forward" else ()
        return self._known([Pair(direction, s, earlier, t) for s, t in zip(sources, targets, strict=True)])

    def _known(self, pairs: Sequence[Pair]) -> np.ndarray:
        found = [self._memo.get(pair) for pair in pairs]
        missing = [pair for pair, value in zip(pairs, found, strict=True) if value is None]
        if missing:
            raise Needed(pairs=[*missing, *self._next(missing)])
        return np.array(found, dtype=np.float64)

    def _next(self, missing: Sequence[Pair]) -> list[Pair]:
        """Rescoring goes on to ask the other way round; a wrong guess costs some time and nothing else."""
        if missing[0].direction != "forward":
            return []
        query = missing[0].source
        guessed = [Pair("channel", text, (), query) for text in [*(p.target for p in missing), query]]
        return [pair for pair in guessed if self._memo.get(pair) is None]


class AskingIntents:
    """Keeps the intent model's answers: they depend on the query alone."""

    def __init__(self, intents: Any, kept: Lru[Hashable, Any]) -> None:
        self._intents = intents
        self._kept = kept

    def __getattr__(self, name: str) -> Any:
        return getattr(self._intents, name)

    def log_probs(self, text: str) -> Mapping[str, float]:
        """log P(intent | text) by intent, nats."""
        found: Mapping[str, float] | None = self._kept.get(text)
        if found is None:
            found = self._intents.log_probs(text)
            self._kept.put(text, found)
        return found
