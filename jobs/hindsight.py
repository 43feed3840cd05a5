"""A bundle on the days that were held back when it was learned: what it would have done, had it been there."""

from pathlib import Path
from typing import TYPE_CHECKING

from jobs.learn import History, LearnConfig, build_trie, fit_decision, scorer_then
from rewrite.rewriter import Rewriter, Scorer

if TYPE_CHECKING:
    from rewrite.decision import Decision
    from rewrite.fitting import Fit
    from rewrite.turn import Turn


class Hindsight(Rewriter):
    """Decides with what was known before the held-back days, for each user by trees that have not seen them."""

    def __init__(self, scorer: Scorer, fitted: "Fit") -> None:
        super().__init__(scorer, fitted.decider)
        self._fold_of = fitted.fold_of
        self._unseen = {fold: Rewriter(scorer, decider) for fold, decider in fitted.unseen.items()}

    def rewrite_turn(self, turn: "Turn", explain: bool = False) -> "Decision":
        """Decide one turn."""
        unseen = self._unseen.get(self._fold_of.get(turn.user_id or "", -1))
        return unseen.rewrite_turn(turn, explain) if unseen is not None else super().rewrite_turn(turn, explain)


def in_hindsight(history: History, bundle: Path) -> Hindsight:
    """The bundle learned from `history`: its trees are fitted once more, as they were; thresholds are its own."""
    from jobs.ties import fit_ties
    from rewrite.bundle import verify
    from rewrite.spaces import Knowledge

    made = Rewriter.load(bundle)
    config = LearnConfig(**{**verify(bundle).get("config", {}), "guards": made.decider.guards})
    then = scorer_then(history, made.scorer.generator, config.seed)
    knowledge, ties = Knowledge.from_tables(history.tables), fit_ties(history.turns, config.seed)
    fitted = fit_decision(history, knowledge, then, ties, config)
    for decider in (fitted.decider, *fitted.unseen.values()):
        decider.thresholds = made.decider.thresholds
    return Hindsight(then, fitted)


def with_evidence_of(then: Scorer, bundle: Path) -> Rewriter:
    """Another bundle, the champion say, with the same evidence: only how it decides, and its generator, are its own."""
    other = Rewriter.load(bundle)
    generator, knowledge = other.scorer.generator, then.knowledge
    trie = build_trie(generator, knowledge.texts) if generator is not None else None
    rates = other.decider.intent_defect_rates
    scorer = Scorer(knowledge, generator, trie, then.intents, rates, ngrams=then.ngrams, ties=then.ties)
    return Rewriter(scorer, other.decider)
