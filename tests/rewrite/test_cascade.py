"""Which turns the generator is asked about: the fewest, for what may be lost."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite.cascade import ALWAYS, NEVER, Zone, narrowest

TURNS = st.lists(st.tuples(st.sampled_from([-1.0, -0.5, 0.0, 0.25, 0.5, 1.0]), st.integers(0, 3)), min_size=1)


@given(TURNS, st.integers(0, 12))
def test_the_zone_loses_no_more_than_allowed_and_none_that_does_so_asks_fewer(
    turns: list[tuple[float, int]], allowed: int
) -> None:
    best, regret = (np.array(column, dtype=float) for column in zip(*turns, strict=True))

    def cost(zone: Zone) -> tuple[float, int]:
        inside = np.array([zone.holds([gain]) for gain in best])
        return float(regret[~inside].sum()), int(inside.sum())

    lost, asked = cost(narrowest(best, regret, float(allowed)))
    assert lost <= allowed
    ends = np.unique(best).tolist()
    every = [NEVER, *(Zone(low, high) for low in ends for high in ends if low <= high)]
    assert asked == min(count for loss, count in map(cost, every) if loss <= allowed)


def test_where_nothing_is_lost_nobody_is_asked() -> None:
    assert narrowest(np.array([0.1, 0.9]), np.zeros(2), 0.0) == NEVER
    assert narrowest(np.array([0.1, 0.9]), np.array([1.0, 1.0]), 2.0) == NEVER
    assert narrowest(np.zeros(0), np.zeros(0), 0.0) == NEVER
    assert not NEVER.holds([0.5])
    assert not NEVER.holds([])


def test_where_all_is_lost_all_are_asked() -> None:
    gains = np.array([-0.5, 0.1, 0.9])
    assert narrowest(gains, np.ones(3), 0.5) == Zone(-0.5, 0.9)
    assert ALWAYS.holds([])
    assert ALWAYS.holds([-1.0, 1.0])


@pytest.mark.parametrize(("gains", "holds"), [([], False), ([-0.2], False), ([0.2, 0.9], False), ([0.5, -1.0], True)])
def test_the_best_candidate_decides(gains: list[float], holds: bool) -> None:
    assert Zone(0.1, 0.8).holds(gains) == holds
