"""Mining's turns to how failed texts are tied to the session before them: what their users then got tells."""

from collections.abc import Iterator, Sequence
from math import exp

import pyarrow as pa

from jobs.acted import acted_on
from jobs.sequels import GAP_S, LATER_TURNS
from jobs.turns import turns_of
from rewrite.classifier import Classifier
from rewrite.text import normalise
from rewrite.ties import APART, Said, tie
from rewrite.turn import Turn

PENALTY = 1e-3
"""Far more than for intents: a text that one user said twice must not look like one that leans on the session."""


def fit_ties(turns: pa.Table, seed: int) -> Classifier | None:
    """log P(tie | text) of texts that fail after something went well in the session; None where all are tied alike."""
    ordered = turns.sort_by([("user_id", "ascending"), ("timestamp", "ascending"), ("interaction_id", "ascending")])
    fails = [p > 0.5 for p in ordered["defect_probability"].to_pylist()]
    return fit_ties_of(turns_of(ordered), *acted_on(ordered), fails, seed)


def fit_ties_of(
    logged: Sequence[Turn], acted: Sequence[str], shown: Sequence[bool], fails: Sequence[bool], seed: int
) -> Classifier | None:
    """As `fit_ties`, of turns in order of user and time, with the texts that were acted on, and which of these were
    rewrites.
    """
    # one vote per user, text and tie
    votes = sorted({(logged[row].user_id or "", *found) for row, found in _continued(logged, acted, shown, fails)})
    texts, ties = [text for _, text, _ in votes], [tied for _, _, tied in votes]
    model = Classifier.fit(texts, ties, [1.0] * len(votes), seed, PENALTY)
    return None if model is None else model.rounded


def _continued(
    logged: Sequence[Turn], acted: Sequence[str], shown: Sequence[bool], fails: Sequence[bool]
) -> Iterator[tuple[int, tuple[str, str]]]:
    """Rows of failed turns with something that went well before them; their text, and the tie of what came after."""
    for row, turn in enumerate(logged):
        earlier = went_well_before(logged, acted, fails, row)
        if not fails[row] or shown[row] or not earlier:
            continue
        for later in range(row + 1, min(row + 1 + LATER_TURNS, len(logged))):
            gap_s = logged[later].gap_s
            if logged[later].user_id != turn.user_id or gap_s is None or gap_s > GAP_S:
                break
            if not fails[later]:
                yield row, (normalise(turn.utterance), tie((acted[later], logged[later].reading), earlier))
                break


def went_well_before(logged: Sequence[Turn], acted: Sequence[str], fails: Sequence[bool], row: int) -> list[Said]:
    """The earlier requests of the session that were understood and went well, as they were acted on."""
    context = range(row - len(logged[row].turns), row)
    understood = (before for before in context if not fails[before] and logged[before].reading.intent is not None)
    return [(acted[before], logged[before].reading) for before in understood]


def leans_on_session(ties: Classifier | None, text: str) -> bool:
    """Whether what this text means hangs on what came before it, more often than not."""
    return ties is not None and exp(ties.log_probs(text).get(APART, -float("inf"))) < 0.5
