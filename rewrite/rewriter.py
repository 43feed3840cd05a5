"""The rewriter: propose, rescore, decide. One object combines a bundle's parts and answers for turns."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from rewrite.cascade import ALWAYS
from rewrite.classifier import Classifier
from rewrite.decision import SPACES, Candidate, Decider, Decision, Space, choose, expected_gain
from rewrite.features import (
    CANDIDATE_FEATURES,
    CHEAP_FEATURES,
    WordUsers,
    cheap_features,
    model_features,
    turn_features,
)
from rewrite.generator import Encoded, Generator
from rewrite.ngram_weights import NgramWeights
from rewrite.numerals import said
from rewrite.propose import Proposal, Proposer
from rewrite.spaces import Knowledge, Own
from rewrite.text import MAX_CHARS, normalise
from rewrite.ties import Ties
from rewrite.trie import TokenTrie
from rewrite.turn import Turn

SEARCHED = 6
"""Members that the trie search proposes."""

SIFTED = 24
"""Candidates that are rescored under the generator, at most."""

SIFTED_BARE = 16
"""Candidates that are judged where the generator is not asked: more would only be more to go wrong."""

SEARCH_FORWARDS = 2
"""Decoder forwards that one search may spend."""


@dataclass
class Considered:
    """A turn with everything computed for it, before any threshold: what decisions and their fitting share.

    `proposals` and the rows of `features` (CHEAP_FEATURES, later CANDIDATE_FEATURES) go together.
    """

    turn: Turn
    query: str
    own: Own
    neighbours: list[tuple[str, float, str]]
    turn_features: list[float]
    proposals: list[Proposal] = field(default_factory=list)
    features: np.ndarray = field(default_factory=lambda: np.zeros((0, len(CHEAP_FEATURES))))


class Scorer:
    """Computes the evidence for turns from one state of knowledge and its models; holds no threshold."""

    def __init__(
        self,
        knowledge: Knowledge,
        generator: Generator | None,
        trie: TokenTrie | None,
        intents: Classifier | None,
        intent_defect_rates: Mapping[str, float],
        blocked: Sequence[str] = (),
        ngrams: NgramWeights | None = None,
        ties: Ties | None = None,
    ) -> None:
        self.knowledge = knowledge
        self.generator = generator
        self.trie = trie
        self.intents, self.ties = intents, ties
        self.intent_defect_rates = dict(intent_defect_rates)
        self._proposer = Proposer(knowledge, blocked)
        self.ngrams = ngrams if ngrams is not None else NgramWeights.fit(map(said, knowledge.texts))
        self._words = WordUsers(knowledge)
        self._last: tuple[tuple[str, tuple[str, ...]], Encoded] | None = None

    def consider(self, turn: Turn, query: str) -> Considered:
        """The cheap part, for every turn: neighbours and turn features."""
        own = self.knowledge.personal.of(turn.user_id)
        neighbours = self._proposer.neighbours(query, own)
        features = turn_features(turn, query, self.knowledge, own, self._words, neighbours, self.intent_defect_rates)
        return Considered(turn, query, own, neighbours, features)

    def propose(self, considered: Considered, p_fail: float) -> None:
        """Candidates that are found without the generator, with their cheap features, for turns that may well fail."""
        c = considered
        c.proposals = self._proposer.propose(c.query, c.own, c.neighbours, turns=c.turn.turns)
        self.describe(c, p_fail)

    def search(self, considered: Considered, p_fail: float) -> None:
        """Add what the generator finds in the global space, last of the candidates."""
        c, found, before = considered, self._searched(considered), len(considered.proposals)
        if not found:
            return
        c.proposals = self._proposer.propose(c.query, c.own, c.neighbours, found, c.turn.turns)
        if len(c.proposals) > before:
            self.describe(c, p_fail)

    def describe(self, considered: Considered, p_fail: float) -> None:
        """CHEAP_FEATURES of the proposals that are there."""
        c = considered
        intents = self.intents.log_probs(c.query) if self.intents is not None else {}
        c.features = cheap_features(
            c.turn, c.query, c.proposals, self.knowledge, c.own, self._words, self.ngrams, p_fail, intents, self.ties
        )

    def unasked(self, considered: Considered, worth: np.ndarray) -> tuple[Considered, np.ndarray]:
        """A copy with the candidates of most worth, shape (N,), and their worth; nothing is known of the generator."""
        c, rows = considered, best_rows(worth, SIFTED_BARE)
        proposals = [c.proposals[row] for row in rows]
        unknown = np.full((len(rows), len(CANDIDATE_FEATURES) - len(CHEAP_FEATURES)), np.nan)
        return replace(c, proposals=proposals, features=np.hstack([c.features[rows], unknown])), worth[rows]

    def rescore(self, considered: Considered, worth: np.ndarray, reach: float = 0.0, forward: bool = True) -> None:
        """Keep the candidates of most worth, and score them under the generator.

        Args:
            worth: of the candidates that `propose` found, shape (N,); those that `search` added after them are kept.
            reach: share of the best one's worth that a candidate needs.
            forward: whether to score them in the forward direction, too, and not by the channel alone.
        """
        c = considered
        if self.generator is None:
            bare, _ = self.unasked(c, worth)
            c.proposals, c.features = bare.proposals, bare.features
            return
        kept = np.append(contenders(worth, reach), np.arange(len(worth), len(c.proposals)))
        c.proposals = [c.proposals[row] for row in kept]
        texts = [p.text for p in c.proposals]
        ahead, channel, copy = np.full(len(texts), np.nan), np.zeros(0), np.nan
        if texts:
            if forward:
                ahead = self.generator.score(self._encoded(self.generator, c), texts)
            scores = self.generator.log_probs("channel", [*texts, c.query], [c.query] * (len(texts) + 1))
            channel, copy = scores[:-1], float(scores[-1])
        c.features = np.hstack([c.features[kept], model_features(c.query, texts, ahead, channel, copy)])

    def narrow(self, considered: Considered, keep: np.ndarray) -> None:
        """Drop rescored candidates, as if they had never been: `keep` holds the rows of the others."""
        c, cheap = considered, len(CHEAP_FEATURES)
        forward, channel, margin = (
            c.features[keep, CANDIDATE_FEATURES.index(name)] for name in ("forward", "channel", "copy_margin")
        )
        copy = float(channel[0] - margin[0]) if len(keep) else np.nan
        c.proposals = [c.proposals[row] for row in keep]
        scores = model_features(c.query, [p.text for p in c.proposals], forward, channel, copy)
        c.features = np.hstack([c.features[keep, :cheap], scores])

    def _searched(self, considered: Considered) -> list[str]:
        if self.generator is None or self.trie is None:
            return []
        encoded = self._encoded(self.generator, considered)
        found = self.generator.search(encoded, self.trie, k=SEARCHED, prove=1, max_forwards=SEARCH_FORWARDS)
        return [text for text, _ in found]

    def _encoded(self, generator: Generator, considered: Considered) -> Encoded:
        """The query as the encoder sees it: search and rescoring of one turn share it."""
        key = (considered.query, considered.turn.turns)
        last = self._last
        if last is None or last[0] != key:
            last = self._last = key, generator.encode(*key)
        return last[1]


def contenders(worth: np.ndarray, reach: float = 0.0) -> np.ndarray:
    """Rows of the candidates that are rescored, in their order: at most SIFTED, none beyond reach of the best one."""
    rows = best_rows(worth, SIFTED)
    best: float = worth.max(initial=0.0)
    return np.asarray(rows[worth[rows] >= reach * best])


def best_rows(scores: np.ndarray, limit: int) -> np.ndarray:
    """Rows of the `limit` highest scores, in their order of rows; ties go to the earlier row."""
    return np.sort(np.argsort(-scores, kind="stable")[:limit])


class Rewriter:
    """Answers whether and how to rewrite a turn, from one bundle.

    Every answer is a text in force: a member of the global space or of the user's own texts. The same turn gets the
    same
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
        """Decide one turn; `turns` are the session's earlier texts, as they were acted on, oldest first, `context`
        further fields of `Turn`.

        Raises:
            TypeError: `text` or one of `turns` is no string, or `turns` is one.
        """
        if isinstance(turns, str) or not all(isinstance(said, str) for said in (text, *turns)):
            raise TypeError(
                f"text must be a string and turns a list of strings; got {text!r} and {turns!r}; "
                "is a single earlier text not in brackets, or one missing (None)?"
            )
        return self.rewrite_turn(Turn(text, user_id=user_id, turns=tuple(turns), **context))

    def rewrite_batch(self, turns: Sequence[Turn]) -> list[Decision]:
        """Decide many turns, each as if alone."""
        return [self.rewrite_turn(turn) for turn in turns]

    def rewrite_turn(self, turn: Turn, explain: bool = False) -> Decision:
        """Decide one turn; with `explain`, candidates are scored even where the turn is likely fine."""
        query = normalise(turn.utterance)
        if not query or len(query) > MAX_CHARS:
            return Decision(None, None, 0.0, "too_long" if query else "empty")
        heard = tuple(normalise(t) for t in turn.asr_nbest)
        earlier = (normalise(t) for t in turn.turns)
        turn = replace(turn, turns=tuple(t for t in earlier if t), asr_nbest=heard)
        known = self.scorer.knowledge.known.get(query)
        usual = self.decider.usual
        considered = self.scorer.consider(usual.completed(turn, known.reading if known else None), query)
        features = considered.turn_features
        if self.decider.untold is not None:
            features = usual.blanked(features, turn)
        p_fail = float(self.decider.p_fail(np.array([features]))[0])
        likely_fine = p_fail < self.decider.thresholds.p_fail
        if likely_fine and not explain:
            return Decision(None, None, 1.0 - p_fail, "likely_fine", p_fail)
        candidates = self._judged(considered, p_fail)
        chosen = None if likely_fine else choose(candidates, self.decider.thresholds.gain)
        if chosen is None:
            reason = "likely_fine" if likely_fine else self._why_not(candidates)
            return Decision(None, None, 1.0 - p_fail, reason, p_fail, candidates)
        return Decision(chosen.text, chosen.space, chosen.p_right, "rewritten", p_fail, candidates)

    def _why_not(self, candidates: Sequence[Candidate]) -> str:
        if not candidates:
            return "no_candidate"
        return "guarded" if choose(candidates, self.decider.thresholds.gain, guarded=False) else "unsure"

    @property
    def generates(self) -> bool:
        """Whether the bundle has a generator, and with it a trie."""
        return self.scorer.generator is not None

    def path(self, text: str) -> list[str]:
        """The text in pieces, cut where the global trie branches; empty where it holds no such text, or there is no
        trie.
        """
        scorer = self.scorer
        if scorer.generator is None or scorer.trie is None:
            return []
        vocabulary = scorer.generator.vocabulary
        token_ids = vocabulary.target(text)
        if token_ids not in scorer.trie:
            return []
        cuts = [at for at in range(1, len(token_ids) - 1) if len(scorer.trie.next_ids(token_ids[:at])) > 1]
        edges = [0, *cuts, len(token_ids) - 1]
        starts = [vocabulary.text(token_ids[:at]).rstrip("\ufffd") for at in edges]
        # a cut inside a character moves to before it; one that is no prefix of the text says nothing to a reader
        whole = [start for start in starts if text.startswith(start)]
        return [text[len(a) : len(b)] for a, b in pairwise(whole) if a != b]

    def evidence(self, source: str, target: str) -> dict[str, object]:
        """What speaks for rewriting `source` to `target`: the mined pair, and the target's own standing; empty where
        none.
        """
        knowledge = self.scorer.knowledge
        found: dict[str, object] = {}
        for pair in knowledge.look_up.get(source, []):
            if pair.target == target:
                found = {"pair_" + name: value for name, value in asdict(pair).items() if name != "target"}
        known = knowledge.known.get(target)
        if known is not None:
            found |= {"text_users": known.users, "text_days": known.days, "text_count": known.count}
            found |= {"text_success_rate": known.success_rate, "text_success_lower": known.success_lower}
        return found

    def _judged(self, considered: Considered, p_fail: float) -> tuple[Candidate, ...]:
        """Scored candidates, best first: by the cheap trees alone where the generator would change nothing."""
        scorer, decider = self.scorer, self.decider
        scorer.propose(considered, p_fail)
        worth = decider.sift(considered.features)
        if decider.thresholds.ask != ALWAYS:
            bare, kept = scorer.unasked(considered, worth)
            candidates = self._candidates(bare, p_fail, decider.p_right_unasked(kept, spaces_of(bare.proposals)))
            if not decider.thresholds.ask.holds(c.gain for c in candidates):
                return candidates
        if decider.thresholds.search:
            scorer.search(considered, p_fail)
        scorer.rescore(considered, worth, decider.thresholds.reach, decider.thresholds.forward)
        p_right = decider.p_right(considered.features, spaces_of(considered.proposals))
        return self._candidates(considered, p_fail, p_right)

    def _candidates(self, considered: Considered, p_fail: float, p_right: np.ndarray) -> tuple[Candidate, ...]:
        """The candidates, best first."""
        features, proposals = considered.features, considered.proposals
        gain = expected_gain(p_fail, p_right, features[:, CANDIDATE_FEATURES.index("reading_agrees")])
        candidates = [
            Candidate(
                p.text,
                SPACES[p.space == "global"],
                tuple(p.sources),
                float(p_right[row]),
                float(gain[row]),
                dict(zip(CANDIDATE_FEATURES, features[row].tolist(), strict=True)),
                self.decider.guards.barrier(considered.query, considered.turn.reading, p.text, p.reading),
            )
            for row, p in enumerate(proposals)
        ]
        return tuple(sorted(candidates, key=lambda c: (-c.gain, -c.p_right, c.text)))


def spaces_of(proposals: Sequence[Proposal]) -> list[Space]:
    """Which space each is of."""
    return [SPACES[p.space == "global"] for p in proposals]
