"""The table `turns`: the log's columns, and beside them what mining found of each turn."""

import numpy as np
import pyarrow as pa

from mining.gathering import COLUMNS
from mining.groups import Bools, Floats, Ints
from mining.judgement import Judged
from mining.kinds import CLASSES
from mining.reformulations import KINDS, NONE

_KINDS = pa.array(KINDS)


def turns_table(judged: Judged) -> pa.Table:
    """Rows of the table, in user order."""
    turns, order = judged.turns, judged.order
    ids = turns.log["interaction_id"].combine_chunks()
    columns = {name: turns.log[name] for name in COLUMNS}
    columns |= {
        "text": _texts(judged, turns.text),
        "effective_text": _texts(judged, turns.effective),
        "session_id": ids.take(pa.array(order.first)),
        "turn_index": pa.array(order.turn_index, pa.int32()),
        "gap_s": known(order.gap_s),
        "next_gap_s": known(order.next_gap_s),
        "user_day_rank": pa.array(order.day_rank, pa.int32()),
        "followup": _followup(judged, ids),
        **{name: pa.array(levels, pa.int32()) for name, levels in judged.signals.items()},
        "defect_probability": pa.array(judged.micros / 1e6),
        "followup_kind": _KINDS.take(or_null(judged.kind)),
        "resolution": _resolution(judged, ids),
    }
    if judged.shares is not None:
        columns["followup_probabilities"] = _shares(judged.shares)
    return pa.table(columns)


def _shares(shares: Floats) -> pa.Array:
    """What a trained model of follow-ups said: a struct of shares, null where there is no follow-up."""
    fields = {name: pa.array(np.round(column, 6)) for name, column in zip(CLASSES, shares.T, strict=True)}
    return _struct(~np.isnan(shares[:, 0]), **fields)


def _texts(judged: Judged, codes: Ints) -> pa.Array:
    """As a dictionary: the writer then need not find equal texts again."""
    return pa.DictionaryArray.from_arrays(or_null(codes).cast(pa.int32()), judged.turns.texts)


def known(values: Floats) -> pa.Array:
    """Null where NaN."""
    return pa.array(values, mask=np.isnan(values))


def or_null(numbers: Ints) -> pa.Array:
    """Null where negative."""
    return pa.array(numbers, mask=numbers < 0)


def _where(present: Bools, row: Ints) -> pa.Array:
    return pa.array(row, mask=~present)


def _struct(present: Bools, **fields: pa.Array) -> pa.Array:
    return pa.StructArray.from_arrays(list(fields.values()), list(fields), mask=pa.array(~present))


def _followup(judged: Judged, ids: pa.Array) -> pa.Array:
    turns, order, after = judged.turns, judged.order, judged.following
    present = order.followed
    return _struct(
        present,
        interaction_id=ids.take(_where(present, after)),
        text=turns.texts.take(_where(present, turns.text[after])),
        effective_text=turns.texts.take(_where(present, turns.effective[after])),
        intent=turns.log["intent"].combine_chunks().take(_where(present, after)),
        gap_s=pa.array(order.next_gap_s, mask=~present),
        similarity=pa.array(order.similarity, mask=~present),
    )


def _resolution(judged: Judged, ids: pa.Array) -> pa.Array:
    row, present = judged.resolution, judged.resolution != NONE
    texts = judged.turns.texts.take(_where(present, judged.turns.effective[row]))
    return _struct(present, interaction_id=ids.take(or_null(row)), text=texts)
