"""What colluding users can and cannot do."""

from pathlib import Path
from typing import Any

import pytest

from tests.mining.poisoning import ATTACKS, FLOORS, Attack, mined, succeeds, table

pytestmark = pytest.mark.spark


@pytest.fixture(scope="module")
def tables(spark: Any, tmp_path_factory: Any) -> Any:
    """rewrites and global texts of a log under every attack."""
    return mined(Path(tmp_path_factory.mktemp("poisoned")))


def test_fewer_colluders_than_the_floor_change_nothing(tables: Any) -> None:
    for pair_users, min_users, min_days in FLOORS[1:]:
        for attack in ATTACKS:
            if attack.size < max(pair_users, min_users):
                assert not succeeds(attack, *tables, pair_users, min_users, min_days), attack


def test_one_day_is_never_enough(tables: Any) -> None:
    assert not any(succeeds(a, *tables, 2, 3, 2) for a in ATTACKS if a.pattern == "one day")


def test_flooding_buys_nothing_that_fewer_turns_would_not(tables: Any) -> None:
    for size in {a.size for a in ATTACKS}:
        for floors in FLOORS[1:]:
            if succeeds(Attack(size, "flood"), *tables, *floors):
                assert succeeds(Attack(size, "two days"), *tables, *floors)


def test_the_table_shows_that_the_attack_itself_works_without_floors(tables: Any) -> None:
    assert any(succeeds(a, *tables, 1, 1, 1) for a in ATTACKS), "an attack that never works proves no defence"
    assert len(table(*tables).splitlines()) == 1 + len(FLOORS)
