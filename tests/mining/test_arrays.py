"""The arrays that mining counts with, against plain Python."""

import collections
from typing import Any

import numpy as np
import pyarrow as pa
from hypothesis import given, settings
from hypothesis import strategies as st

from mining.groups import Groups, packed, within
from mining.readings import Readings
from mining.texts import normalised_array
from rewrite.text import normalise

KEYS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(-50, 50)), max_size=40)


@settings(max_examples=100, deadline=None)
@given(KEYS)
def test_groups_are_those_of_a_dictionary(rows: list[tuple[int, int, int]]) -> None:
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    groups = Groups(table[:, 0], table[:, 1])
    expected: dict[Any, list[int]] = collections.defaultdict(list)
    for a, b, value in rows:
        expected[a, b].append(value)
    keys = sorted(expected)
    assert list(zip(groups.first(table[:, 0]).tolist(), groups.first(table[:, 1]).tolist(), strict=True)) == keys
    assert groups.count().tolist() == [len(expected[k]) for k in keys]
    for got, of in ((groups.sum, sum), (groups.max, max), (groups.min, min)):
        assert got(table[:, 2]).tolist() == [of(expected[k]) for k in keys]
    assert groups.spread(groups.count()).tolist() == [len(expected[a, b]) for a, b, _ in rows]
    seen: collections.Counter[Any] = collections.Counter()
    for place, (a, b, _) in zip(within(groups).tolist(), rows, strict=True):
        assert place == seen[a, b]
        seen[a, b] += 1


@settings(max_examples=50, deadline=None)
@given(KEYS)
def test_the_best_row_of_a_group_is_its_smallest_and_then_its_first(rows: list[tuple[int, int, int]]) -> None:
    table = np.array(rows, dtype=np.int64).reshape(-1, 3)
    best = Groups(table[:, 0]).best(table[:, 1], -table[:, 2])
    for row in best.tolist():
        own = [(b, -v, n) for n, (a, b, v) in enumerate(rows) if a == rows[row][0]]
        assert min(own)[2] == row


def test_keys_too_large_to_multiply_are_numbered_first() -> None:
    big = np.array([1 << 40, 3, 1 << 40, 0])
    key = packed(big, big[::-1].copy(), np.array([5, 5, 4, 5]))
    expected = sorted(range(4), key=lambda n: (big[n], big[::-1][n], [5, 5, 4, 5][n]))
    assert np.argsort(key, kind="stable").tolist() == expected


@settings(max_examples=60, deadline=None)
@given(st.lists(st.none() | st.text(alphabet="aB ç’\u200b\u202eÅé1<", max_size=8), max_size=12))
def test_a_column_is_normalised_as_its_texts_are(texts: list[str | None]) -> None:
    got = normalised_array(pa.array(texts, pa.string())).to_pylist()
    assert got == [None if text is None else normalise(text) for text in texts]


def test_equal_readings_have_equal_numbers_in_the_order_of_their_json() -> None:
    slots = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
    rows = [
        ("b", "y", [{"name": "n", "value": 'q"\n'}]),
        (None, None, None),
        ("b", "y", []),
        ("b", "y", [{"name": "n", "value": 'q"\n'}]),
        ("b", None, [{"name": None, "value": None}]),
        ("b", "y", [{"name": "n", "value": "q"}, {"name": "m", "value": None}]),
    ]
    domains, intents, lists = zip(*rows, strict=True)
    log = pa.table({"domain": domains, "intent": intents, "slots": pa.array(lists, slots)})
    readings = Readings.of(log)
    assert readings.code[0] == readings.code[3]
    assert len(set(readings.code.tolist())) == 5
    texts = readings.json.to_pylist()
    assert texts == sorted(texts)
    assert texts[readings.code[0]] == '{"domain":"b","intent":"y","slots":[{"name":"n","value":"q\\"\\n"}]}'
    assert texts[readings.code[1]] == "{}"
    assert [rows[row] for row in readings.row[readings.code].tolist()] == [rows[n] for n in (0, 1, 2, 0, 4, 5)]
