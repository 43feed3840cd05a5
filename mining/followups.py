"""Kinds of follow-up: by rules, or by a trained model where one is given; the rules give way where it knows better."""

import numpy as np
import pyarrow as pa

from mining import likeness, reformulations
from mining.groups import Floats, Ints
from mining.kinds import CLASSES, matrix
from mining.likeness import Likeness
from mining.likeness_model import LikenessModel
from mining.models import Model
from mining.pair_features import Pair
from mining.reformulations import CORRECTIVE, KINDS, NONE
from mining.sessions import Sessions
from mining.turns import Turns


def of_kinds(
    turns: Turns, order: Sessions, micros: Ints, gap_s: float, model: Model | None
) -> tuple[Ints, Floats | None]:
    """(N,) kind of every turn's follow-up, NONE without one, and (N, classes) the model's probabilities, NaN without.

    Args:
        turns: the block.
        order: its sessions.
        micros: (N,) probability of a defect, in millionths.
        gap_s: longest gap to a follow-up, seconds.
        model: what to judge by; None for the rules, which give no probabilities.
    """
    at = reformulations.followed(order, gap_s)
    alike = likeness.of_turns(turns, order, micros, at)
    rules = reformulations.kinds(alike)
    found = np.full(len(turns), NONE, dtype=np.int64)
    if model is None:
        found[at] = rules
        return found, None
    shares = np.full((len(turns), len(CLASSES)), np.nan)
    shares[at] = probabilities(turns, order, micros, at, alike, model)
    found[at] = kinds(rules, shares[at], model)
    return found, shares


def probabilities(turns: Turns, order: Sessions, micros: Ints, at: Ints, alike: Likeness, model: Model) -> Floats:
    """(M, classes) of the turns `at` by the model."""
    if isinstance(model, LikenessModel):
        return model.probabilities(alike.columns())
    return model.probabilities(matrix(pairs(turns, order, micros, at)))


def kinds(rules: Ints, found: Floats, model: Model) -> Ints:
    """(M,) kinds: a repetition is one whatever the model says; of what it calls new, the rules say in which way."""
    said = model.decide(found)
    correction, rewording, repetition, new = (KINDS.index(name) for name in (*CORRECTIVE, "repetition", "new"))
    other = np.where((rules == correction) | (rules == rewording), new, rules)
    return np.where(
        rules == repetition, repetition, np.select([said == 1, said == 2], [rewording, correction], other)
    ).astype(np.int64)


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
