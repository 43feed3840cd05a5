"""What one pair of requests, seen in its window of turns, shows of why the second was said.

Nothing here depends on the log as a whole, so a pair is judged alike in a log of a thousand turns and of a billion.
"""

import math
import re
from dataclasses import dataclass

import jellyfish
from rapidfuzz import fuzz
from rapidfuzz.distance import JaroWinkler, Levenshtein, Prefix

from mining.english import UNKNOWN, English
from mining.kept import kept

_WORD = re.compile(r"[a-z0-9']+")
_TAKES_BACK = re.compile(r"(no|cancel|stop|nothing|undo|that's|not)\b")

REPLIES = {
    "reply_sorry": "sorry",
    "reply_heard": "i heard",
    "reply_understand": "understand",
    "reply_teach": "teach",
    "reply_no_answer": "no answer",
    "reply_not_sure": "not sure",
    "reply_is_not": "is not",
    "reply_asks_recipient": "recipient",
    "reply_what_to_do": "what to do",
    "reply_question": "?",
}
"""Phrases of an assistant's reply (English) that go with failures; a log without responses has none of them."""


@dataclass(frozen=True)
class Pair:
    """Two adjacent requests, and the turns on both sides of them where the session has them."""

    first: str
    second: str
    executed: float
    """Whether the first was carried out: 1, 0, or its probability."""
    gap_s: float
    response: str = ""
    before: str | None = None
    """The request before the first, with `before_executed` and `before_gap_s`."""
    before_executed: float = -1.0
    before_gap_s: float = 0.0
    after: str | None = None
    """The request after the second."""
    second_executed: float = -1.0
    """Whether the second was carried out; -1 where the log does not say."""


def words(text: str) -> list[str]:
    """Lower-case words of a text, punctuation gone."""
    return _WORD.findall(text.lower())


def sounds(tokens: list[str]) -> str:
    """How words sound (Metaphone): a recogniser's errors change letters more than sounds."""
    return " ".join(jellyfish.metaphone(token) for token in tokens)


def features(pair: Pair, english: English | None = None) -> dict[str, float]:
    """Every feature by name, all finite; -1 marks what the window does not show, or would take knowing English."""
    mine, theirs = words(pair.first), words(pair.second)
    return {
        **_text(mine, theirs),
        **_terms(mine, theirs),
        **_reply(pair.response, mine, theirs),
        **_window(pair, mine, theirs),
        **_ordinary(pair, mine, theirs, english),
        **_kept(mine, theirs, english),
    }


def _text(mine: list[str], theirs: list[str]) -> dict[str, float]:
    a, b = " ".join(mine), " ".join(theirs)
    sound_a, sound_b = sounds(mine), sounds(theirs)
    return {
        "ratio": fuzz.ratio(a, b),
        "sorted_ratio": fuzz.token_sort_ratio(a, b),
        "set_ratio": fuzz.token_set_ratio(a, b),
        "partial_ratio": fuzz.partial_ratio(a, b),
        "jaro_winkler": JaroWinkler.similarity(a, b),
        "edits": float(Levenshtein.distance(a, b)),
        "sound_ratio": fuzz.ratio(sound_a, sound_b),
        "sound_partial": fuzz.partial_ratio(sound_a, sound_b),
        "joined_ratio": fuzz.ratio(a.replace(" ", ""), b.replace(" ", "")),
        "first_chars": float(len(a)),
        "second_chars": float(len(b)),
        "common_prefix": float(Prefix.similarity(a, b)),
        "same": float(a == b),
    }


def _terms(mine: list[str], theirs: list[str]) -> dict[str, float]:
    a, b = set(mine), set(theirs)
    return {
        "first_words": float(len(mine)),
        "second_words": float(len(theirs)),
        "words_longer": float(len(theirs) - len(mine)),
        "common_words": float(len(a & b)),
        "jaccard": len(a & b) / max(1, len(a | b)),
        "removed_words": float(len(a - b)),
        "added_words": float(len(b - a)),
        "same_first_word": float(mine[:1] == theirs[:1]),
        "same_last_word": float(mine[-1:] == theirs[-1:]),
        "only_added": float(a < b),
        "only_removed": float(b < a),
        "takes_back": float(bool(_TAKES_BACK.match(" ".join(theirs)))),
    }


def _reply(response: str, mine: list[str], theirs: list[str]) -> dict[str, float]:
    reply = response.lower()
    said = set(words(reply))
    return {
        **{name: float(phrase in reply) for name, phrase in REPLIES.items()},
        "reply_chars": float(len(reply)),
        "reply_echoes_first": float(len(set(mine) & said)),
        "reply_gives_second": float(len((set(theirs) - set(mine)) & said)),
    }


def _window(pair: Pair, mine: list[str], theirs: list[str]) -> dict[str, float]:
    a, b = " ".join(mine), " ".join(theirs)
    before = None if pair.before is None else " ".join(words(pair.before))
    after = None if pair.after is None else " ".join(words(pair.after))
    return {
        "executed": pair.executed,
        "log_gap": math.log1p(max(pair.gap_s, 0.0)),
        "gap_unknown": float(pair.gap_s < 0),
        "has_before": float(before is not None),
        "before_executed": -1.0 if before is None else pair.before_executed,
        "before_ratio_second": -1.0 if before is None else fuzz.ratio(before, b),
        "before_ratio_first": -1.0 if before is None else fuzz.ratio(before, a),
        "before_log_gap": -1.0 if before is None else math.log1p(max(pair.before_gap_s, 0.0)),
        "has_after": float(after is not None),
        "second_executed": pair.second_executed,
        "after_ratio_second": -1.0 if after is None else fuzz.ratio(b, after),
        "after_ratio_first": -1.0 if after is None else fuzz.ratio(a, after),
    }


def _kept(mine: list[str], theirs: list[str], english: English | None) -> dict[str, float]:
    rarity = english.rarity if english else None
    return {"kept": kept(mine, theirs, rarity), "given": kept(theirs, mine, rarity)}


ORDINARY = ("surprisal", "fit", "unknown", "unfinished")
"""Features that take knowing English: nats a word of the first request, nats a word that context saves, share of
unknown words, nats of ending there. Requests around it that failed count half: who is misheard is misheard again."""


def _ordinary(pair: Pair, mine: list[str], theirs: list[str], english: English | None) -> dict[str, float]:
    if english is None or not mine:
        return dict.fromkeys(ORDINARY, -1.0)
    around = ((words(pair.before or ""), pair.before_executed), (theirs, pair.second_executed))
    failed = [(said, (1 - done) / 2) for said, done in around if said and 0 <= done < 1]
    weights = [1.0, *(weight for _, weight in failed)]
    rows = [_ordinariness(said, english) for said in (mine, *(said for said, _ in failed))]
    means = (sum(w * value for w, value in zip(weights, column, strict=True)) for column in zip(*rows, strict=True))
    return dict(zip(ORDINARY, (mean / sum(weights) for mean in means), strict=True))


def _ordinariness(said: list[str], english: English) -> tuple[float, ...]:
    rarity, surprisals = [english.rarity(word) for word in said], english.surprisals(said)
    fit = (sum(rarity) - sum(surprisals[:-1])) / len(said)
    unknown = sum(nats >= UNKNOWN for nats in rarity) / len(said)
    return sum(surprisals) / len(surprisals), fit, unknown, surprisals[-1]


NAMES: tuple[str, ...] = tuple(features(Pair("a", "b", 1.0, 0.0)))
"""Names of the features, in the order of a model's columns."""
