"""Who is in which arm: stable, even, and only ever moving one way."""

import json
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite.assignment import Experiment, bucket, ramp_of

RAMP = Experiment("e1", holdout_share=0.1, ramp=ramp_of(1_000.0, (0.05, 0.5, 1.0), 100.0))
TIMES = (0.0, 1_000.0, 1_100.0, 1_250.0)


@given(st.text(), st.text())
def test_a_bucket_is_a_share_and_stays(unit: str, salt: str) -> None:
    assert 0 <= bucket(unit, salt) < 1
    assert bucket(unit, salt) == bucket(unit, salt)


def test_users_spread_as_the_experiment_says() -> None:
    counts = Counter(RAMP.arm(f"u{n}", 1_100.0) for n in range(20_000))
    for arm, share in RAMP.expected(1_100.0).items():
        assert counts[arm] / 20_000 == pytest.approx(share, abs=0.015)


@given(st.text())
def test_a_user_never_goes_back_while_the_ramp_rises(unit: str) -> None:
    order = ["champion", "challenger"]
    arms = [RAMP.arm(unit, at) for at in TIMES]
    assert arms == sorted(arms, key=lambda arm: ["holdout", *order].index(arm))
    assert len({arm == "holdout" for arm in arms}) == 1


def test_another_salt_draws_others_and_keeps_the_holdout() -> None:
    other = Experiment("e2", holdout_share=0.1, ramp=RAMP.ramp)
    users = [f"u{n}" for n in range(2_000)]
    mine, theirs = ([e.arm(u, 1_100.0) for u in users] for e in (RAMP, other))
    assert [a == "holdout" for a in mine] == [a == "holdout" for a in theirs]
    both = sum(a == b == "challenger" for a, b in zip(mine, theirs, strict=True))
    assert both / 2_000 == pytest.approx(0.9 * 0.25, abs=0.04)


def test_a_shadow_is_nobodys_treatment() -> None:
    shadow = Experiment("e1", ramp=RAMP.ramp, shadow=True)
    assert {shadow.arm(f"u{n}", 2_000.0) for n in range(500)} == {"holdout", "champion"}


def test_an_experiment_survives_json() -> None:
    assert Experiment.of(json.loads(json.dumps(RAMP.as_dict()))) == RAMP


@pytest.mark.parametrize("ramp", [((2.0, 0.1), (1.0, 0.2)), ((1.0, 0.2), (2.0, 0.1)), ((1.0, 1.2),)])
def test_a_ramp_that_goes_back_is_refused(ramp: tuple[tuple[float, float], ...]) -> None:
    with pytest.raises(ValueError, match=r"must not fall|\[0, 1\]"):
        Experiment("e", ramp=ramp)
