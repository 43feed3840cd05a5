"""Reprise on bare pairs: the bundle's own proposals, features and ranker, judged by folds of meant texts.

There are no users, outcomes or NLU readings here, so all that the decision can go by is text and generator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from jobs.bench.pairs import PairTask
from jobs.learn import build_trie
from jobs.references import Answers
from rewrite.generator import Generator
from rewrite.rewriter import Considered, Scorer
from rewrite.spaces import Knowledge, KnownText, Personal
from rewrite.trees import TreesConfig, folds_by, out_of_fold
from rewrite.turn import Reading, Turn

Progress = Callable[[], None]


@dataclass(frozen=True)
class Ranked:
    """Out-of-fold answers, and the confidence of each query's best answer once its own text is taken away."""

    answers: Answers
    absent: NDArray[np.float64]


@dataclass
class _Table:
    """Candidates of all queries, one row each; `query` is the row of their query, ascending."""

    features: NDArray[np.float64]
    query: NDArray[np.int64]
    texts: list[str]

    @classmethod
    def of(cls, considered: Sequence[Considered]) -> "_Table":
        counts = [len(c.proposals) for c in considered]
        texts = [p.text for c in considered for p in c.proposals]
        return cls(np.concatenate([c.features for c in considered]), np.repeat(np.arange(len(counts)), counts), texts)

    def best(self, values: NDArray[np.float64], queries: int) -> Answers:
        rewrites: list[str | None] = [None] * queries
        confidence = np.zeros(queries)
        for row in np.lexsort((-values, self.query)):
            at = int(self.query[row])
            if rewrites[at] is None:
                rewrites[at], confidence[at] = self.texts[row], values[row]
        return Answers(tuple(rewrites), confidence)


def rank(
    task: PairTask,
    generator: Generator | None,
    folds: int,
    seed: int,
    advance: Progress,
    turns: Sequence[tuple[str, ...]] | None = None,
) -> Ranked:
    """Answer every query by a ranker that saw no query of the same meant text.

    Args:
        turns: earlier turns of each query; None for none.
    """
    trie = None if generator is None else build_trie(generator, task.texts)
    scorer = Scorer(knowledge_of(task.texts), generator, trie, None, {})
    config = TreesConfig(seed=seed)
    fold = folds_by(task.meant, folds, seed)
    earlier = turns if turns is not None else [()] * len(task.queries)
    considered = [scorer.consider(Turn(q, turns=t), q) for q, t in zip(task.queries, earlier, strict=True)]
    for c in considered:
        scorer.propose(c, 1.0)
        scorer.search(c, 1.0)
        advance()
    without = [
        replace(c, proposals=[p for p in c.proposals if p.text != m])
        for c, m in zip(considered, task.meant, strict=True)
    ]
    for c in without:
        scorer.describe(c, 1.0)
    both = [*considered, *without]
    folds_of_both = np.concatenate([fold, fold])
    _sift(scorer, both, [*task.meant, *task.meant], folds_of_both, config, generator is not None, advance)
    table = _Table.of(both)
    right = np.array([text == (*task.meant, *task.meant)[q] for text, q in zip(table.texts, table.query, strict=True)])
    values = out_of_fold(table.features, right, folds_of_both[table.query], config)
    answers = table.best(values, len(both))
    n = len(task.queries)
    return Ranked(Answers(answers.rewrites[:n], answers.confidence[:n]), answers.confidence[n:])


def _sift(
    scorer: Scorer,
    considered: Sequence[Considered],
    meant: Sequence[str],
    fold: NDArray[np.int64],
    config: TreesConfig,
    rescored: bool,
    advance: Progress,
) -> None:
    """Rescore what a ranker on the cheap features lets through, itself out of fold."""
    if not rescored:
        return
    table = _Table.of(considered)
    right = np.array([text == meant[q] for text, q in zip(table.texts, table.query, strict=True)])
    values = out_of_fold(table.features, right, fold[table.query], config)
    edges = np.searchsorted(table.query, np.arange(len(considered) + 1))
    for row, c in enumerate(considered):
        # queries without earlier turns: the forward direction has nothing to add to the channel
        scorer.rescore(c, values[edges[row] : edges[row + 1]], forward=False)
        advance()


def by_channel(task: PairTask, generator: Generator, limit: int, advance: Progress) -> Answers:
    """The nearest texts by ratio, ranked by log P(query | text) alone: the base model without a ranker."""
    from rewrite.neighbours import nearest

    rewrites: list[str | None] = []
    confidence = np.zeros(len(task.queries))
    for row, query in enumerate(task.queries):
        texts = [text for text, _ in nearest(query, task.texts, limit)]
        log_probs = generator.log_probs("channel", texts, [query] * len(texts))
        rewrites.append(texts[int(np.argmax(log_probs))])
        confidence[row] = log_probs.max() / (len(query) + 1)
        advance()
    return Answers(tuple(rewrites), confidence)


def knowledge_of(texts: Sequence[str]) -> Knowledge:
    """A global space of bare texts: one user each, nothing known of outcomes or readings."""
    known = {text: KnownText(text, Reading(), 1, 1, 1, 1.0, 0.0) for text in texts}
    return Knowledge(known, {}, {}, Personal({}))
