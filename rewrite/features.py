"""Numbers that the decision sees: of a turn (will it fail?) and of a candidate (would it succeed?).

Missing values are NaN, which the trees treat as such. No feature draws on an outcome of the turn itself.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np
from rapidfuzz import fuzz

from rewrite.likeness import LIKENESS_FEATURES, likeness, margins
from rewrite.ngram_weights import NgramWeights
from rewrite.numerals import said
from rewrite.propose import EARLIER, Proposal
from rewrite.spaces import Knowledge, Own
from rewrite.ties import APART, Said, Ties, slots_kept, tie
from rewrite.turn import Reading, Turn

NAN = math.nan

TURN_FEATURES = (
    "asr_confidence",
    "nlu_confidence",
    "characters",
    "words",
    "has_slots",
    "understood",
    "known_users",
    "known_success_lower",
    "outcome_count",
    "outcome_defect_rate",
    "own_count",
    "own_success_rate",
    "rarest_word_users",
    "rare_words",
    "nearest_ratio",
    "nearest_margin",
    "nearest_agrees",
    "own_nearest_ratio",
    "look_up_lower_bound",
    "look_up_defect_rate",
    "own_pair",
    "turn_number",
    "gap_s",
    "previous_ratio",
    "intent_defect_rate",
)

CHEAP_FEATURES = (
    "p_fail",
    *LIKENESS_FEATURES,
    "look_up",
    "look_up_users",
    "look_up_worth",
    "look_up_lower_bound",
    "own_pair_count",
    "known_users",
    "known_success_lower",
    "own_count",
    "own_success_rate",
    "own_share",
    "own_age_days",
    "reading_agrees",
    "same_domain",
    "same_intent",
    "slot_overlap",
    "intent_log_prob",
    "intent_margin",
    "sequels",
    "sequel_users",
    "sequel_share",
    "sequel_lift",
    "sequel_reading_users",
    "sequel_reading_share",
    "readings_alike",
    "readings_best_ratio",
    "readings_users",
    "previous_ratio",
    "earlier_ratio",
    "earlier_words",
    "tie",
    "tie_log_prob",
    "tie_age",
    "tie_followed",
    "ties_alike",
    "slots_kept",
    "nbest_ratio",
)
"""Known of every candidate without the generator."""

MODEL_FEATURES = (
    "forward",
    "forward_per_character",
    "forward_margin",
    "channel",
    "channel_per_character",
    "channel_margin",
    "copy_margin",
)
"""From the generator, for the candidates that pass the sieve; NaN without one."""

CANDIDATE_FEATURES = CHEAP_FEATURES + MODEL_FEATURES

FORWARD_COLUMNS = [CANDIDATE_FEATURES.index(name) for name in MODEL_FEATURES if name.startswith("forward")]
"""What the generator's forward direction tells."""


class WordUsers:
    """How many users' texts of the global space a word stands in: misheard texts hold words that nobody uses."""

    def __init__(self, knowledge: Knowledge) -> None:
        self._users: dict[str, int] = {}
        for known in knowledge.known.values():
            for word in set(said(known.text).split()):
                self._users[word] = self._users.get(word, 0) + known.users
        self._rarity = {word: 1 / (1 + math.log1p(users)) for word, users in self._users.items()}

    def rarity(self, words: Sequence[str]) -> list[float]:
        """Inverse of how common each word is, in (0, 1]."""
        return [self._rarity.get(word, 1.0) for word in words]

    def of(self, words: Sequence[str], own: Own) -> list[int]:
        """Users per word; a word of the user's own texts counts for at least one."""
        mine = {word for text in own.texts for word in said(text).split()} if own.texts else set()
        return [max(self._users.get(word, 0), int(word in mine)) for word in words]


def turn_features(
    turn: Turn,
    query: str,
    knowledge: Knowledge,
    own: Own,
    words: WordUsers,
    neighbours: Sequence[tuple[str, float, str]],
    intent_defect_rates: dict[str, float],
) -> list[float]:
    """TURN_FEATURES of one turn."""
    known, outcome, mine = knowledge.known.get(query), knowledge.outcomes.get(query), own.texts.get(query)
    near = sorted(((s, t) for t, s, source in neighbours if source == "neighbour"), reverse=True)
    own_near = max((s for _, s, source in neighbours if source == "own"), default=NAN)
    pairs = knowledge.look_up.get(query, [])
    word_users = words.of(said(query).split(), own)
    best = knowledge.known.get(near[0][1]) if near else None
    return [
        _number(turn.asr_confidence),
        _number(turn.nlu_confidence),
        len(query),
        len(query.split()),
        float(bool(turn.reading.slots)),
        float(turn.reading.intent is not None),
        known.users if known else 0,
        known.success_lower if known else NAN,
        outcome.count if outcome else 0,
        outcome.defect_rate if outcome else NAN,
        mine.count if mine else 0,
        mine.success_rate if mine else NAN,
        min(word_users, default=0),
        sum(users == 0 for users in word_users),
        near[0][0] if near else NAN,
        near[0][0] - near[1][0] if len(near) > 1 else NAN,
        float(best.reading.does(turn.reading)) if best else NAN,
        own_near,
        pairs[0].lower_bound if pairs else NAN,
        pairs[0].source_defect_rate if pairs else NAN,
        len(own.pairs.get(query, ())),
        len(turn.turns),
        _number(turn.gap_s),
        fuzz.ratio(query, turn.turns[-1]) if turn.turns else NAN,
        intent_defect_rates.get(turn.reading.intent or "", NAN),
    ]


def cheap_features(
    turn: Turn,
    query: str,
    proposals: Sequence[Proposal],
    knowledge: Knowledge,
    own: Own,
    words: WordUsers,
    ngrams: NgramWeights,
    p_fail: float,
    intent_log_probs: Mapping[str, float],
    ties: Ties | None,
) -> np.ndarray:
    """CHEAP_FEATURES of all candidates of one turn.

    Args:
        p_fail: probability that the turn fails if left alone.
        intent_log_probs: log P(intent | query), nats; empty without a model of intents.
        ties: what the log tells of ties to the session; None where it tells nothing.

    Returns:
        float64, shape (N, len(CHEAP_FEATURES)).
    """
    heard, texts = said(query), [said(p.text) for p in proposals]
    rarities = [words.rarity(text.split()) for text in texts]
    alike_as_text = likeness(heard, texts, ngrams, words.rarity(heard.split()), rarities)
    ratios = alike_as_text[:, LIKENESS_FEATURES.index("ratio")]
    likeliest = max(intent_log_probs.values(), default=NAN)
    own_total = sum(t.count for t in own.texts.values())
    alike = _alike(proposals, ratios, knowledge)
    earlier, nbest = [said(text) for text in turn.turns[-EARLIER:]], [said(text) for text in turn.asr_nbest]
    heard_words, earlier_words = set(heard.split()), {word for text in earlier for word in text.split()}
    tied = _tied(query, proposals, _in_force(turn.turns[-EARLIER:], knowledge, own), ties)
    rows = []
    for row, (proposal, as_said) in enumerate(zip(proposals, texts, strict=True)):
        text = proposal.text
        known, mine, pair = knowledge.known.get(text), own.texts.get(text), proposal.pair
        intent = intent_log_probs.get(proposal.reading.intent or "", NAN)
        rows.append(
            [
                float(pair is not None),
                pair.users if pair else 0,
                pair.worth if pair else NAN,
                pair.lower_bound if pair else NAN,
                proposal.own_pair_count,
                known.users if known else 0,
                known.success_lower if known else NAN,
                mine.count if mine else 0,
                mine.success_rate if mine else NAN,
                mine.count / own_total if mine else 0.0,
                (turn.timestamp_s - mine.last_used_s) / 86400 if mine and turn.timestamp_s is not None else NAN,
                *_agreement(turn.reading, proposal.reading),
                intent,
                intent - likeliest,
                *knowledge.sequels.evidence(query, proposal.reading),
                *alike[proposal.reading],
                *_continuity(as_said, earlier, heard_words, earlier_words),
                *tied[row],
                max((fuzz.ratio(other, as_said) for other in nbest), default=NAN),
            ]
        )
    own_width = len(CHEAP_FEATURES) - len(LIKENESS_FEATURES) - 1
    known_of_each = np.array(rows, dtype=np.float64).reshape(len(proposals), own_width)
    return np.hstack([np.full((len(proposals), 1), p_fail), alike_as_text, known_of_each])


def model_features(
    query: str, texts: Sequence[str], forward: np.ndarray, channel: np.ndarray, copy: float
) -> np.ndarray:
    """MODEL_FEATURES of the candidates that were rescored.

    Args:
        forward: log P(text | query, turns) per candidate, nats, shape (N,); NaN where it was not asked.
        channel: log P(query | text), nats, shape (N,).
        copy: log P(query | query) in the channel direction, nats: what leaving the turn alone explains.

    Returns:
        float64, shape (N, len(MODEL_FEATURES)).
    """
    lengths = np.array([len(text) + 1 for text in texts])
    columns = [forward, forward / lengths, margins(forward)]
    columns += [channel, channel / (len(query) + 1), margins(channel), channel - copy]
    return np.stack(columns, axis=1)


def _alike(
    proposals: Sequence[Proposal], ratios: np.ndarray, knowledge: Knowledge
) -> dict[Reading, tuple[float, float, float]]:
    """Per NLU reading: how many candidates share it, their best ratio, and their users in the global space."""
    alike: dict[Reading, tuple[float, float, float]] = {}
    for proposal, ratio in zip(proposals, ratios, strict=True):
        count, best, users = alike.get(proposal.reading, (0.0, 0.0, 0.0))
        known = knowledge.known.get(proposal.text)
        alike[proposal.reading] = (count + 1, max(best, float(ratio)), users + (known.users if known else 0))
    return alike


def _continuity(
    text: str, earlier: Sequence[str], heard: set[str], earlier_words: set[str]
) -> tuple[float, float, float]:
    """Likeness to the turn before (0-100), the best to any of the earlier turns, and the share of those words of the
    candidate that the query lacks and earlier turns have; NaN at the beginning of a session.
    """
    if not earlier:
        return (NAN, NAN, NAN)
    ratios = [float(fuzz.ratio(text, other)) for other in earlier]
    missing = set(text.split()) - heard
    return (ratios[-1], max(ratios), len(missing & earlier_words) / len(missing) if missing else NAN)


def _in_force(texts: Sequence[str], knowledge: Knowledge, own: Own) -> list[Said]:
    """Those of the texts that are in force for this user, and how they are read."""
    found = (knowledge.in_force(text, own) for text in texts)
    return [(known.text, known.reading) for known in found if known is not None]


def _tied(
    query: str, proposals: Sequence[Proposal], earlier: Sequence[Said], ties: Ties | None
) -> list[tuple[float, ...]]:
    """Of each candidate: the rank of its tie to what was said before; how likely that is after this query, nats; to how
    long ago, and how often what it is tied to is followed so (both NaN where it is apart); how many candidates are tied
    as it is; the share of slots kept. At the beginning of a session everything is apart. All NaN where the log tells
    nothing.
    """
    if ties is None:
        return [(NAN,) * 6] * len(proposals)
    found = [tie((proposal.text, proposal.reading), earlier) for proposal in proposals]
    counts = Counter(found)
    log_probs = ties.log_probs(query)
    return [
        (
            tied.rank,
            log_probs.get(tied.kind, NAN),
            tied.age if tied.kind != APART else NAN,
            ties.follow(tied),
            counts[tied],
            slots_kept(proposal.reading, earlier),
        )
        for tied, proposal in zip(found, proposals, strict=True)
    ]


def _number(value: float | None) -> float:
    return NAN if value is None else float(value)


def _agreement(heard: Reading, proposed: Reading) -> tuple[float, float, float, float]:
    """Does the same, same domain, same intent, share of slots in common (NaN where neither has any)."""
    if heard.intent is None or proposed.intent is None:
        return (NAN, NAN, NAN, NAN)
    union = heard.slots | proposed.slots
    overlap = len(heard.slots & proposed.slots) / len(union) if union else NAN
    same_intent = heard.intent == proposed.intent
    return (float(heard.does(proposed)), float(heard.domain == proposed.domain), float(same_intent), overlap)
