"""Kinds of follow-up by a trained model, where one is given: the rules give way where it knows better."""

import numpy as np
import pyarrow as pa

from mining.groups import Floats, Ints
from mining.kinds import CLASSES, KindModel, matrix
from mining.pair_features import Pair
from mining.reformulations import CORRECTIVE, KINDS, NONE
from mining.sessions import Sessions
from mining.turns import Turns


def probabilities(turns: Turns, order: Sessions, micros: Ints, rules: Ints, model: KindModel) -> Floats:
    """(N, classes) probabilities of the model's CLASSES; NaN where a turn has no follow-up by the rules."""
    found = np.full((len(turns), len(CLASSES)), np.nan)
    at = np.flatnonzero(rules != NONE)
    if len(at):
        found[at] = model.probabilities(matrix(pairs(turns, order, micros, at)))
    return found


def kinds(rules: Ints, found: Floats, model: KindModel) -> Ints:
    """(N,) kinds: a repetition is one whatever the model says; of what it calls new, the rules say in which way."""
    at = np.flatnonzero(rules != NONE)
    said = model.decide(found[at])
    correction, rewording, repetition, new = (KINDS.index(name) for name in (*CORRECTIVE, "repetition", "new"))
    by_rules = rules[at]
    other = np.where((by_rules == correction) | (by_rules == rewording), new, by_rules)
    result = rules.copy()
    result[at] = np.where(
        by_rules == repetition, repetition, np.select([said == 1, said == 2], [rewording, correction], other)
    )
    return result


def pairs(turns: Turns, order: Sessions, micros: Ints, at: Ints) -> list[Pair]:
    """The turns `at` with their follow-ups, each in its window of one turn to either side in the same session."""
    text, said = turns.words_of, turns.log["response"].combine_chunks().take(pa.array(at)).to_pylist()
    executed = 1 - micros / 1e6
    before = np.where(order.turn_index[at] > 0, at - 1, NONE)
    after = np.where(order.last[at + 1], NONE, at + 2)
    return [
        Pair(
            text[turns.effective[i]],
            text[turns.text[i + 1]],
            float(executed[i]),
            float(order.next_gap_s[i]),
            response or "",
            before=text[turns.text[b]] if b != NONE else None,
            before_executed=float(executed[b]) if b != NONE else -1.0,
            before_gap_s=float(order.next_gap_s[b]) if b != NONE else 0.0,
            after=text[turns.text[a]] if a != NONE else None,
            second_executed=float(executed[i + 1]) if a != NONE else -1.0,
        )
        for i, b, a, response in zip(at.tolist(), before.tolist(), after.tolist(), said, strict=True)
    ]
