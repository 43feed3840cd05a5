"""The rewriter: propose, rescore, decide. One object combines a bundle's parts and answers for turns."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from rewrite.decision import SPACES, Candidate, Decider, Decision, choose, expected_gain
from rewrite.features import CANDIDATE_FEATURES, WordUsers, candidate_features, turn_features
from rewrite.generator import Generator
from rewrite.propose import Proposal, Proposer
from rewrite.search import search
from rewrite.spaces import Knowledge, Own
from rewrite.text import MAX_CHARS, normalise
from rewrite.trie import TokenTrie
from rewrite.turn import Turn

SEARCHED = 6
"""Members that the trie search proposes."""

SEARCH_FORWARDS = 24
"""Decoder forwards that one search may spend."""


@dataclass
class Considered:
    """A turn with everything computed for it, before any threshold: what decisions and their fitting share."""

    turn: Turn
    query: str
    own: Own
    neighbours: list[tuple[str, float, str]]
    turn_features: list[float]
    proposals: list[Proposal] = field(default_factory=list)
    candidate_features: np.ndarray = field(default_factory=lambda: np.zeros((0, len(CANDIDATE_FEATURES))))


class Scorer:
    """Computes the evidence for turns from one state of knowledge and one generator; holds no threshold."""

    def __init__(
        self,
        knowledge: Knowledge,
        generator: Generator | None,
        trie: TokenTrie | None,
        intent_defect_rates: dict[str, float],
        blocked: Sequence[str] = (),
    ) -> None:
        self.knowledge = knowledge
        self.generator = generator
        self.trie = trie
        self.intent_defect_rates = intent_defect_rates
        self._proposer = Proposer(knowledge, blocked)
        self._words = WordUsers(knowledge)

    def consider(self, turn: Turn, query: str) -> Considered:
        """The cheap part: neighbours and turn features, no model."""
        own = self.knowledge.personal.of(turn.user_id)
        neighbours = self._proposer.neighbours(query, own)
        features = turn_features(turn, query, self.knowledge, own, self._words, neighbours, self.intent_defect_rates)
        return Considered(turn, query, own, neighbours, features)

    def rescore(self, considered: Considered, p_fail: float) -> None:
        """The dear part, for turns that may well fail: search, rescoring under the model, candidate features."""
        c = considered
        earlier = tuple(normalise(t) for t in c.turn.turns)
        c.proposals = self._proposer.propose(c.query, c.own, c.neighbours, self._searched(c.query, earlier))
        texts = [p.text for p in c.proposals]
        if not texts:
            return
        if self.generator is None:
            forward, channel, copy = np.full(len(texts), np.nan), np.full(len(texts), np.nan), np.nan
        else:
            forward = self.generator.log_probs("forward", [c.query] * len(texts), texts, earlier)
            scores = self.generator.log_probs("channel", [*texts, c.query], [c.query] * (len(texts) + 1))
            channel, copy = scores[:-1], float(scores[-1])
        c.candidate_features = candidate_features(
            c.turn, c.query, c.proposals, self.knowledge, c.own, p_fail, forward, channel, copy
        )

    def _searched(self, query: str, earlier: tuple[str, ...]) -> list[str]:
        if self.generator is None or self.trie is None:
            return []
        ids, mask = self.generator.pad([self.generator.vocabulary.source("forward", query, earlier)])
        found = search(self.generator.model, ids, mask, tries=[self.trie], k=SEARCHED, max_forwards=SEARCH_FORWARDS)
        return [self.generator.vocabulary.text(member.token_ids) for member in found[0]]


class Rewriter:
    """Answers whether and how to rewrite a turn, from one bundle.

    Every answer is a text in force: a member of the global space or of the user's own texts. The same turn gets the same
    answer alone or in a batch: every forward holds the candidates of one turn only.
    """

    def __init__(self, scorer: Scorer, decider: Decider, bundle_id: str | None = None) -> None:
        self.scorer = scorer
        self.decider = decider
        self.bundle_id = bundle_id

    @classmethod
    def load(cls, path: str | Path) -> "Rewriter":
        """Open a bundle; every file's sha256 is verified first.

        Raises:
            BundleError: the folder is no bundle, or a file is missing or altered.
        """
        from rewrite.bundle import load

        return load(Path(path))

    def rewrite(self, text: str, user_id: str | None = None, turns: Sequence[str] = (), **context: Any) -> Decision:
        """Decide one turn; `turns` are the session's earlier texts, `context` further fields of `Turn`."""
        return self.rewrite_turn(Turn(text, user_id=user_id, turns=tuple(turns), **context))

    def rewrite_batch(self, turns: Sequence[Turn]) -> list[Decision]:
        """Decide many turns, each as if alone."""
        return [self.rewrite_turn(turn) for turn in turns]

    def rewrite_turn(self, turn: Turn, explain: bool = False) -> Decision:
        """Decide one turn; with `explain`, candidates are scored even where the turn is likely fine."""
        query = normalise(turn.utterance)
        if not query or len(query) > MAX_CHARS:
            return Decision(None, None, 0.0, "too_long" if query else "empty")
        considered = self.scorer.consider(turn, query)
        p_fail = float(self.decider.p_fail(np.array([considered.turn_features]))[0])
        likely_fine = p_fail < self.decider.thresholds.p_fail
        if likely_fine and not explain:
            return Decision(None, None, 1.0 - p_fail, "likely_fine", p_fail)
        self.scorer.rescore(considered, p_fail)
        candidates = self._candidates(considered, p_fail)
        chosen = None if likely_fine else choose(candidates, self.decider.thresholds.gain)
        if chosen is None:
            reason = "likely_fine" if likely_fine else "unsure" if candidates else "no_candidate"
            return Decision(None, None, 1.0 - p_fail, reason, p_fail, candidates)
        return Decision(chosen.text, chosen.space, chosen.p_right, "rewritten", p_fail, candidates)

    def _candidates(self, considered: Considered, p_fail: float) -> tuple[Candidate, ...]:
        """Scored candidates, best first."""
        features, proposals = considered.candidate_features, considered.proposals
        spaces = [SPACES[p.space == "global"] for p in proposals]
        p_right = self.decider.p_right(features, spaces)
        gain = expected_gain(p_fail, p_right, features[:, CANDIDATE_FEATURES.index("reading_agrees")])
        candidates = [
            Candidate(
                p.text,
                spaces[row],
                tuple(p.sources),
                float(p_right[row]),
                float(gain[row]),
                dict(zip(CANDIDATE_FEATURES, features[row].tolist(), strict=True)),
            )
            for row, p in enumerate(proposals)
        ]
        return tuple(sorted(candidates, key=lambda c: (-c.gain, -c.p_right, c.text)))


