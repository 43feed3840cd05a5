"""What the table of sequels says of a candidate's intent."""

import math
from typing import Any

import pyarrow as pa
import pytest

from rewrite.sequels import NONE, SCHEMA, Sequels
from rewrite.turn import Reading

JAZZ = frozenset({("what", "jazz")})
ROWS = [
    (None, "play", None, 30),
    (None, "stop", None, 70),
    ("clay jazz", None, None, 8),
    ("clay jazz", "play", None, 6),
    ("clay jazz", "play", [{"name": "what", "value": "jazz"}], 4),
]


def of(rows: list[tuple[Any, ...]]) -> Sequels:
    return Sequels.of(pa.Table.from_pylist([dict(zip(SCHEMA.names, row, strict=True)) for row in rows], SCHEMA))


def test_evidence_is_users_their_share_and_what_is_above_chance() -> None:
    followed, users, share, lift, same, of_these = of(ROWS).evidence("clay jazz", Reading("music", "play", JAZZ))
    assert (followed, users, share) == (8, 6, pytest.approx((6 + 2 * 0.3) / 10))
    assert lift == pytest.approx(math.log(0.66 / 0.301), abs=1e-4)
    assert (same, of_these) == (4, 0.4)


def test_a_reading_that_nobody_went_on_to_is_below_chance() -> None:
    _, users, share, lift, same, of_these = of(ROWS).evidence("clay jazz", Reading("music", "stop", JAZZ))
    assert (users, share) == (0, pytest.approx(0.14))
    assert lift < -1
    assert (same, of_these) == (0, 0)


@pytest.mark.parametrize("sequels", [of(ROWS), of([]), NONE])
def test_what_is_not_known_is_not_there(sequels: Sequels) -> None:
    for query, intent in (("never heard", "play"), ("clay jazz", None)):
        _, users, share, lift, same, of_these = sequels.evidence(query, Reading("music", intent, JAZZ))
        assert users == same == 0
        assert all(math.isnan(value) for value in (share, lift, of_these))


def test_users_agree_on_what_half_of_them_went_on_to() -> None:
    rows = [("a", None, None, 8), ("a", "stop", None, 3), ("a", "play", None, 4), ("b", None, None, 9)]
    rows += [("b", "play", None, 4), ("b", "stop", None, 4), ("c", None, None, 3)]
    sequels = of(rows)
    assert [sequels.agreed(text) for text in ("a", "b", "c", "never heard")] == ["play", None, None, None]
    assert [sequels.disputed(text) for text in ("a", "b", "c", "never heard")] == [False, True, False, False]
