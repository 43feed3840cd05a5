"""One bundle, opened: decides turns, asking the model only for what is not known."""

import copy
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol

from rewrite.decision import Decision
from rewrite.rewriter import Rewriter
from rewrite.text import normalise
from rewrite.turn import Turn
from serving.asking import (
    AskingGenerator,
    AskingIntents,
    KeepingProposer,
    Kept,
    Memo,
    Needed,
    OnceDecider,
    OnceScorer,
    decision_key,
    rounded,
)
from serving.job import Answer, Hidden, Job
from serving.lru import Lru
from serving.personal_cache import PersonalCache
from serving.seats import WorkerSettings

GOLDEN = 16
"""Texts of the bundle that are decided before it is used."""


DECISIONS = 20_000
"""Decisions, and nearest texts of queries, that are kept."""

PROPOSED = 1500
"""Turns whose candidates are kept with their features: about 50 kB each."""

STATES = 4000
"""Texts whose encoder states are kept: about 15 kB each in the shipped model."""


class Engine(Protocol):
    """What decides. The first attempt is cheap; where it comes to nothing, `compute` what it needs and try again."""

    bundle_id: str
    facts: dict[str, Any]

    def memo(self) -> Any:
        """A place for what the model says about one job."""

    def attempt(self, job: Job, memo: Any) -> "Answer | Any":
        """The answer, or what the model must be asked first (anything that is no Answer)."""

    def unasked(self, job: Job, memo: Any) -> Answer | None:
        """The answer without the model, where an attempt came to nothing; None where this bundle has none."""

    def compute(self, needs: Sequence[tuple[Any, Any]]) -> None:
        """Ask the model, for several (memo, need) at once."""

    def hide(self, hidden: Hidden) -> None:
        """Take forgotten users and blocked texts out of force."""

    def warm(self) -> None:
        """Decide a few golden turns; raises where the bundle cannot do so."""

    def idle(self) -> bool:
        """Do a little work ahead of need; False where there is none left."""


class BundleEngine:
    """A bundle behind the `Engine` interface."""

    def __init__(self, rewriter: Any, facts: dict[str, Any], scores: int = 200_000, users: int = 2000) -> None:
        self.bundle_id: str = rewriter.bundle_id
        self.facts = facts
        self._states: Lru[Hashable, Any] = Lru(STATES)
        self._scores = scores
        self._decider = rewriter.decider
        self._scorer = rewriter.scorer
        self._personal = PersonalCache(self._scorer.knowledge.personal, users)
        self._scorer.knowledge.personal = self._personal
        self._whole_trie = self._scorer.trie
        self._blocked: frozenset[str] = frozenset()
        self._pinned: Mapping[str, str] = {}
        self._begin_anew()

    def _begin_anew(self) -> None:
        """Keep nothing of what was decided so far: an attempt that is under way writes to what is thrown away here."""
        self._known: Lru[Hashable, Any] = Lru(self._scores)
        self._intents: Lru[Hashable, Any] = Lru(DECISIONS)
        self._decisions: Lru[Hashable, Any] = Lru(DECISIONS)
        self._kept = Kept(Lru(DECISIONS), Lru(PROPOSED))
        self._ahead = iter(sorted(self._scorer.knowledge.look_up))

    def memo(self) -> Any:
        return Memo(self._known)

    def attempt(self, job: Job, memo: Any) -> Any:
        turn, decisions = rounded(job.turn), self._decisions
        target = self._pinned_to(turn)
        if target is not None and not job.explain:
            return Answer(job.job_id, target, "global", 1.0, "pinned")
        key = decision_key(turn, self._personal.of(turn.user_id))
        known = None if job.explain else decisions.get(key)
        if known is not None:
            return replace(known, job_id=job.job_id)
        rewriter = self._rewriter(memo, turn.user_id)
        try:
            decision = rewriter.rewrite_turn(turn, job.explain)
        except Needed as needed:
            return needed
        candidates = self._explained(rewriter, job, decision.candidates) if job.explain else ()
        answer = _answer(job, decision, candidates)
        if not job.explain:
            decisions.put(key, answer)
        elif target is not None:
            return replace(answer, text=target, source="global", confidence=1.0, reason="pinned")
        return answer

    def unasked(self, job: Job, memo: Any) -> Answer | None:
        """By the cheap trees alone; not kept, so that the same turn is put to the model when there is time for it."""
        if not self._decider.decides_unasked:
            return None
        turn = rounded(job.turn)
        return _answer(job, self._rewriter(memo, turn.user_id, asks=False).rewrite_turn(turn))

    def _pinned_to(self, turn: Turn) -> str | None:
        """What an operator pinned this turn to, if that is in force for everybody."""
        target = self._pinned.get(normalise(turn.utterance)) if self._pinned else None
        return target if target in self._scorer.knowledge.known and target not in self._blocked else None

    def compute(self, needs: Sequence[tuple[Any, Any]]) -> None:
        from serving.scoring import pair_scores, searched

        searches = list(dict.fromkeys(s for _, need in needs for s in need.searches))
        pairs = list(dict.fromkeys(p for _, need in needs for p in need.pairs))
        found: dict[Hashable, Any] = {}
        if searches:
            trie = self._scorer.trie
            found |= zip(searches, searched(self._scorer.generator, trie, searches), strict=True)
        if pairs:
            found |= zip(pairs, pair_scores(self._scorer.generator, pairs, self._states), strict=True)
        for memo, need in needs:
            for key in (*need.searches, *need.pairs):
                memo.put(key, found[key])

    def hide(self, hidden: Hidden) -> None:
        epoch = int(self.facts.get("deletion_epoch") or 0)
        self._personal.hide({user for user, at in hidden.users.items() if at > epoch})
        if hidden.blocked != self._blocked:
            self._scorer = self._without(hidden.blocked)
            self._blocked = hidden.blocked
        self._pinned = hidden.pinned
        self._begin_anew()  # a forgotten user's queries are among what is kept

    def warm(self) -> None:
        knowledge = self._scorer.knowledge
        golden = [*sorted(knowledge.look_up)[: GOLDEN // 2], *knowledge.texts[: GOLDEN // 2]]
        for text in golden:
            self._decide(text, explain=True)

    def idle(self) -> bool:
        if self._scorer.generator is None:
            return False
        text = next(self._ahead, None)
        if text is None:
            return False
        self._decide(text, explain=False)
        return True

    def _decide(self, text: str, explain: bool) -> Answer:
        job, memo = Job(0, self.bundle_id, Turn(text), 0.0, explain), self.memo()
        while not isinstance(found := self.attempt(job, memo), Answer):
            self.compute([(memo, found)])
        return found

    def _rewriter(self, memo: Any, user_id: str | None, asks: bool = True) -> Any:
        """The bundle's rewriter over stand-ins that ask, or, if it `asks` nothing, one that leaves the model out."""
        scorer: Any = copy.copy(self._scorer)
        if scorer.generator is not None:
            scorer.generator = AskingGenerator(scorer.generator, memo)
        if scorer.intents is not None:
            scorer.intents = AskingIntents(scorer.intents, self._intents)
        scorer._proposer = KeepingProposer(scorer._proposer, self._kept, user_id)
        once: Any = OnceScorer(scorer, memo, self._kept)
        decider: Any = OnceDecider(self._decider, memo, asks)
        return Rewriter(once, decider, self.bundle_id)

    def _without(self, blocked: frozenset[str]) -> Any:
        """The scorer with `blocked` cut out of the proposals and out of the trie."""
        from rewrite.propose import Proposer
        from rewrite.trie import TokenTrie

        scorer: Any = copy.copy(self._scorer)
        scorer._proposer = Proposer(scorer.knowledge, blocked)
        scorer.trie = self._whole_trie
        cut = blocked & scorer.knowledge.known.keys()
        if scorer.trie is not None and cut:
            texts = [t for t in scorer.knowledge.texts if t not in cut]
            scorer.trie = TokenTrie.build([scorer.generator.vocabulary.target(t) for t in texts])
        return scorer

    def _explained(self, rewriter: Any, job: Job, candidates: Iterable[Any]) -> tuple[dict[str, Any], ...]:
        query = normalise(job.turn.utterance)
        return tuple(
            {
                "text": c.text,
                "space": c.space,
                "sources": list(c.sources),
                "p_right": c.p_right,
                "gain": c.gain,
                "features": dict(c.features),
                "evidence": dict(rewriter.evidence(query, c.text)),
                "path": rewriter.path(c.text),
            }
            for c in candidates
        )


def _answer(job: Job, decision: Decision, candidates: tuple[Mapping[str, Any], ...] = ()) -> Answer:
    return Answer(
        job.job_id,
        decision.text,
        decision.source,
        decision.confidence,
        decision.reason,
        decision.p_fail,
        candidates,
    )


def open_bundle(path: str, settings: WorkerSettings) -> BundleEngine:
    """Verify and open a bundle, its generator where the settings want it.

    Raises:
        ValueError: it is damaged, incomplete, or of another version.
    """
    import torch

    from rewrite.bundle import load, verify

    torch.set_num_threads(settings.threads)
    manifest = verify(Path(path))
    rewriter = load(Path(path))
    if rewriter.scorer.generator is not None:
        has_gpu = settings.device == "auto" and torch.cuda.is_available()
        place = "cuda" if has_gpu else settings.device.replace("auto", "cpu")
        kind = torch.bfloat16 if settings.precision == "bf16" else torch.float32
        rewriter.scorer.generator.model.to(place, kind)
    facts = {name: value for name, value in manifest.items() if name != "files"}
    return BundleEngine(rewriter, facts, settings.scores, settings.users)
