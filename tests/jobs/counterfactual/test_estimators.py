"""Off-policy estimators against bandits whose truth is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.counterfactual.estimators import ESTIMATORS, Logged, Policy, estimate, gain, support
from jobs.counterfactual.rewards import cross_fitted
from jobs.counterfactual.trial import Bandit, Verdict, draw, trial

CLUSTER_COVERAGE = (0.90, 0.985)
"""What a 95 % interval of 60 users may cover in 400 logs: clustered normal intervals are a little too short."""


def bandit(seed: int = 0, users: int = 300, right_model: bool = True, actions: int = 3) -> Bandit:
    """Users differ in how many turns they have and how well things go for them."""
    rng = np.random.default_rng(seed)
    user_row = np.repeat(np.arange(users), rng.integers(1, 12, users))
    mood = rng.normal(0, 0.15, users)[user_row][:, None]
    reward = np.clip(rng.uniform(0.2, 0.8, (len(user_row), actions)) + mood, 0.02, 0.98)
    logging = rng.dirichlet(np.full(actions, 3.0), len(user_row)) * 0.7 + 0.3 / actions
    target = rng.dirichlet(np.full(actions, 1.0), len(user_row))
    expected = reward if right_model else np.full_like(reward, 0.9)
    return Bandit(reward, logging, target, expected, user_row)


def by_name(verdicts: list[Verdict]) -> dict[str, Verdict]:
    return {v.name: v for v in verdicts}


@pytest.fixture(scope="module")
def right() -> dict[str, Verdict]:
    return by_name(trial(bandit(), users=60, logs=400, rng=np.random.default_rng(1)))


@pytest.fixture(scope="module")
def wrong() -> dict[str, Verdict]:
    return by_name(trial(bandit(right_model=False), users=60, logs=400, rng=np.random.default_rng(1)))


@pytest.mark.parametrize("name", ["ips", "snips", "dr"])
def test_weighting_is_unbiased_whatever_the_model(
    name: str, right: dict[str, Verdict], wrong: dict[str, Verdict]
) -> None:
    for verdicts in (right, wrong):
        assert abs(verdicts[name].bias) < 4 * verdicts[name].bias_error + 0.003


@pytest.mark.parametrize("name", ["ips", "snips", "dr", "clipped dr"])
def test_intervals_hold_the_truth_as_often_as_they_say(
    name: str, right: dict[str, Verdict], wrong: dict[str, Verdict]
) -> None:
    for verdicts in (right, wrong):
        assert CLUSTER_COVERAGE[0] <= verdicts[name].coverage <= CLUSTER_COVERAGE[1]


def test_a_wrong_model_ruins_the_direct_method_only(wrong: dict[str, Verdict]) -> None:
    assert wrong["dm"].bias > 0.2
    assert wrong["dm"].coverage == 0
    assert abs(wrong["dr"].bias) < 0.02


def test_a_right_model_makes_doubly_robust_surer_than_weighting(right: dict[str, Verdict]) -> None:
    assert right["dr"].rmse < 0.9 * right["ips"].rmse
    assert right["dr"].width < right["ips"].width


def test_intervals_that_forget_the_users_are_too_short() -> None:
    found = bandit(seed=2)
    rng = np.random.default_rng(3)
    clustered, naive = 0, 0
    for _ in range(200):
        logged, policy = draw(found, rng, rng.choice(300, 60))
        value = estimate(logged, policy)["snips"]
        for name, rows in (("clustered", logged.user_row), ("naive", np.arange(len(logged.reward)))):
            interval = value.interval(rows)
            if interval.low <= found.truth <= interval.high:
                clustered, naive = clustered + (name == "clustered"), naive + (name == "naive")
    assert naive < clustered - 4


def random_case(seed: int, turns: int) -> tuple[Logged, Policy]:
    rng = np.random.default_rng(seed)
    logged = Logged(rng.random(turns), rng.uniform(0.05, 1, turns), rng.integers(0, 5, turns))
    return logged, Policy(rng.random(turns), rng.random(turns), rng.random(turns))


@given(seed=st.integers(0, 2**32 - 1), turns=st.integers(2, 40))
@settings(max_examples=60, deadline=None)
def test_laws_of_every_log(seed: int, turns: int) -> None:
    logged, policy = random_case(seed, turns)
    found = estimate(logged, policy)
    weight = policy.target_prob / logged.propensity
    # in sums as simple as the papers print them
    assert found["ips"].value == pytest.approx(sum(weight * logged.reward) / turns)
    assert found["snips"].value == pytest.approx(sum(weight * logged.reward) / sum(weight))
    perfect = Policy(policy.target_prob, policy.expected, logged.reward)
    assert estimate(logged, perfect)["dr"].value == pytest.approx(found["dm"].value)
    blank = Policy(policy.target_prob, np.zeros(turns), np.zeros(turns))
    assert estimate(logged, blank)["dr"].value == pytest.approx(found["ips"].value)
    assert logged.reward.min() - 1e-9 <= found["snips"].value <= logged.reward.max() + 1e-9
    assert found["clipped ips"].value <= found["ips"].value + 1e-9
    for estimated in found.values():
        assert estimated.influence.sum() == pytest.approx(0, abs=1e-9)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=25, deadline=None)
def test_the_logging_policy_is_worth_what_it_earned(seed: int) -> None:
    logged, policy = random_case(seed, 30)
    itself = Policy(logged.propensity, policy.expected_logged, policy.expected_logged)
    found = estimate(logged, itself)
    for name in ("ips", "snips", "dr", "clipped ips", "clipped snips", "clipped dr"):
        assert found[name].value == pytest.approx(logged.reward.mean())


def test_a_policy_gains_nothing_over_itself() -> None:
    logged, policy = random_case(4, 30)
    found = gain(estimate(logged, policy), estimate(logged, policy), logged.user_row)
    for name in ESTIMATORS:
        assert (found[name].low, found[name].value, found[name].high) == (0, 0, 0)


def test_support_tells_an_unsupported_policy_from_a_supported_one() -> None:
    logged, policy = random_case(5, 2_000)
    itself = support(logged, Policy(logged.propensity, policy.expected, policy.expected), np.ones(2_000))
    assert itself.effective_sample_size == pytest.approx(2_000)
    assert itself.mean_weight == pytest.approx(1)
    never = support(logged, Policy(np.zeros(2_000), policy.expected, policy.expected), np.zeros(2_000))
    assert (never.effective_sample_size, never.mean_weight, never.supported) == (0, 0, 0)
    assert np.isnan(estimate(logged, Policy(np.zeros(2_000), policy.expected, policy.expected))["snips"].value)


@pytest.mark.parametrize(
    ("reward", "propensity", "match"),
    [
        ([1.0], [0.0], r"\(0, 1\]"),
        ([1.0], [1.5], r"\(0, 1\]"),
        ([np.nan], [0.5], "finite"),
        ([1.0, 0.0], [0.5], "shape"),
    ],
)
def test_what_is_no_log_is_refused(reward: list[float], propensity: list[float], match: str) -> None:
    with pytest.raises(ValueError, match=match):
        Logged(np.array(reward), np.array(propensity), np.zeros(len(reward), dtype=np.int64))


def test_the_reward_model_learns_from_others_only() -> None:
    rng = np.random.default_rng(6)
    user_row = np.repeat(np.arange(20), 60)
    features = rng.random((1_200, 2))
    reward = (features[:, 0] > 0.5).astype(float)
    other = features.copy()
    other[:, 0] = 1 - other[:, 0]
    same, exchanged = cross_fitted(features, reward, user_row, [features, other])
    assert np.abs(same - reward).mean() < 0.15
    assert np.abs(exchanged - (1 - reward)).mean() < 0.15
    # a user's own rewards do not reach that user's predictions
    altered = np.where(user_row == 3, 1 - reward, reward)
    again = cross_fitted(features, altered, user_row, [features])[0]
    assert (again[user_row == 3] == same[user_row == 3]).all()
