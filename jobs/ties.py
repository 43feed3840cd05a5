"""Mining's turns to how failed texts are tied to the session before them: what their users then got tells."""

from collections import Counter
from collections.abc import Iterator, Sequence

import pyarrow as pa

from jobs.acted import acted_on
from jobs.sequels import GAP_S, LATER_TURNS
from jobs.turns import turns_of
from rewrite.classifier import Classifier
from rewrite.text import normalise
from rewrite.ties import APART, Said, Tie, Ties, key_of, tie
from rewrite.turn import Turn

PENALTY = 1e-3
"""Far more than for intents: a text that one user said twice must not look like one that leans on the session."""


def fit_ties(turns: pa.Table, seed: int) -> Ties | None:
    """Ties of texts that fail after something went well in the session; None where all are tied alike."""
    ordered = turns.sort_by([("user_id", "ascending"), ("timestamp", "ascending"), ("interaction_id", "ascending")])
    fails = [p > 0.5 for p in ordered["defect_probability"].to_pylist()]
    found = list(_continued(turns_of(ordered), *acted_on(ordered), fails))
    # one vote per user, text and kind
    votes = sorted({(turn.user_id or "", normalise(turn.utterance), tied.kind) for turn, tied, _ in found})
    texts, kinds = [text for _, text, _ in votes], [kind for _, _, kind in votes]
    model = Classifier.fit(texts, kinds, [1.0] * len(votes), seed, PENALTY)
    return None if model is None else Ties(model.rounded, _followed(found))


Continued = tuple[Turn, Tie, list[Said]]
"""A failed turn, the tie of what its user then got, and what that may have been tied to."""


def _continued(
    logged: Sequence[Turn], acted: Sequence[str], shown: Sequence[bool], fails: Sequence[bool]
) -> Iterator[Continued]:
    """Failed turns with something that went well before them and something that went well soon after.

    Args:
        logged: in order of user and time. acted, shown: the texts that were acted on, and which were rewrites.
    """
    for row, turn in enumerate(logged):
        if not fails[row] or shown[row] or not (earlier := went_well_before(logged, acted, fails, row)):
            continue
        for later in range(row + 1, min(row + 1 + LATER_TURNS, len(logged))):
            gap_s = logged[later].gap_s
            if logged[later].user_id != turn.user_id or gap_s is None or gap_s > GAP_S:
                break
            if not fails[later]:
                yield turn, tie((acted[later], logged[later].reading), earlier), earlier
                break


def _followed(found: Sequence[Continued]) -> dict[str, float]:
    """By kind and intent: of the requests tied in that way, before which the intent was said, the share that is tied to
    it, smoothed by one of each.
    """
    said: Counter[str] = Counter()
    to: Counter[str] = Counter()
    for _, tied, earlier in found:
        if tied.kind != APART:
            said.update({key_of(tied.kind, reading.intent) for _, reading in earlier})
            to[key_of(tied.kind, tied.intent)] += 1
    return {key: (to[key] + 1) / (said[key] + 2) for key in sorted(said)}


def went_well_before(logged: Sequence[Turn], acted: Sequence[str], fails: Sequence[bool], row: int) -> list[Said]:
    """The earlier requests of the session that were understood and went well, as they were acted on.

    Args:
        logged: in order of user and time, so that the turns before `row` are those in its `turns`.
    """
    context = range(row - len(logged[row].turns), row)
    understood = (before for before in context if not fails[before] and logged[before].reading.intent is not None)
    return [(acted[before], logged[before].reading) for before in understood]
