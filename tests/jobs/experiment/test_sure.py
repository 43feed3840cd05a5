"""The watch over texts that go well when left alone: what it calls sure, false alarms, and hours until it sees harm."""

from dataclasses import replace

import numpy as np
import pytest

from jobs.ab import print_arms
from jobs.experiment.compare import Arms, against
from jobs.experiment.sure import Watched, broken, sure_turns

HISTORY_DAYS = 5
TURNS_A_DAY = 1200
USERS = 300
NAMES = ("holdout", "champion")


def few(*rows: tuple[int, int, float, bool]) -> Watched:
    """Turns of (day, text, defect, alone)."""
    day, text, defect, alone = (np.array(column) for column in zip(*rows, strict=True))
    zeros = np.zeros(len(rows), dtype=np.int64)
    return Watched(defect.astype(float), day, text, zeros, alone, ~alone, alone)


def test_a_text_is_sure_by_its_turns_left_alone_on_earlier_days() -> None:
    turns = few(
        (0, 0, 0.0, True), (0, 0, 0.0, True),  # nobody knows it yet, later the same day neither
        (1, 0, 0.0, True), (1, 1, 1.0, True), (1, 2, 1.0, False), (1, 2, 0.0, True),
        (2, 0, 1.0, True), (2, 1, 0.0, True), (2, 2, 0.0, True),  # 1 failed; 2 failed only as a rewrite
        (3, 0, 0.0, True),  # one of four failed
    )  # fmt: skip
    assert sure_turns(turns).tolist() == [False, False, True, False, False, False, True, False, True, False]


def life(rng: np.random.Generator, *, spoils: float = 0.0, cures: float = 0.0, outage: float = 0.0) -> Watched:
    """Days of an assistant without a bundle, then one with it, for three quarters of the users.

    Texts fail by themselves hardly ever, or mostly; users and hours differ in how well things go. `spoils` is the share
    of good turns that the bundle breaks, `cures` of failing ones that it mends, `outage` what fails for everybody.
    """
    count = (HISTORY_DAYS + 1) * TURNS_A_DAY
    day = np.repeat(np.arange(HISTORY_DAYS + 1), TURNS_A_DAY)
    user = rng.integers(0, USERS, count)
    text = rng.zipf(1.4, count) % 300
    own, hour = rng.gamma(1.0, 0.03, USERS), rng.normal(0.0, 0.03, count // 50)
    rate = np.where(text % 7 == 0, 0.7, 0.02) + own[user] + np.repeat(hour, 50)
    now = day == HISTORY_DAYS
    held = rng.random(USERS)[user] < 0.25
    fails = (rng.random(count) < rate) | (now & (rng.random(count) < outage))
    treated = now & ~held
    ended = np.where(fails, rng.random(count) >= cures, rng.random(count) < spoils)
    return Watched(np.where(treated, ended, fails).astype(float), day, text, user, held, treated, ~treated)


def until(turns: Watched, hour: int) -> Watched:
    """What is known `hour` hours after the bundle came."""
    rows = np.arange(len(turns.day)) < HISTORY_DAYS * TURNS_A_DAY + hour * TURNS_A_DAY // 24
    return Watched(*(getattr(turns, name)[rows] for name in Watched.__dataclass_fields__))


def hours_to_alarm(turns: Watched) -> int | None:
    return next((hour for hour in range(1, 25) if broken(until(turns, hour))["harm"]), None)


def test_looking_every_hour_at_a_harmless_bundle_fools_fixed_intervals_and_not_this() -> None:
    fooled = {"fixed": 0, "always": 0, "harm": 0}
    for seed in range(80):
        turns = life(np.random.default_rng(seed))
        looks = [look for hour in range(1, 25) if (look := broken(until(turns, hour)))["enough_users"]]
        fooled["fixed"] += any(look["change"]["low"] > 0 for look in looks)
        fooled["always"] += any(look["always_valid"]["low"] > 0 for look in looks)
        fooled["harm"] += any(look["harm"] for look in looks)
    assert fooled["harm"] <= fooled["always"] <= 4 < fooled["fixed"]


def test_a_bundle_that_breaks_what_works_is_seen_within_hours_though_it_cures_as_much() -> None:
    lives = [life(np.random.default_rng(seed), spoils=0.35, cures=0.9) for seed in range(20)]
    assert np.median([hours_to_alarm(turns) or 24 for turns in lives]) <= 3
    by_all_turns = [against(arms_of(until(turns, 3)), "champion", "holdout")["harm"] for turns in lives]
    assert np.mean(by_all_turns) < 0.5


def arms_of(turns: Watched) -> Arms:
    """The last day's turns as the comparison of all turns takes them."""
    now = turns.day == HISTORY_DAYS
    return Arms(NAMES, turns.defect[now], turns.treated[now].astype(np.int64), turns.user_row[now], {})


def test_what_breaks_for_everybody_is_seldom_taken_for_the_bundle_s_fault() -> None:
    lives = [life(np.random.default_rng(seed), outage=0.2) for seed in range(20)]
    assert all(broken(turns)["always_valid"]["low"] > 0.01 for turns in lives)
    assert sum(hours_to_alarm(turns) is not None for turns in lives) <= 6


def test_few_users_condemn_nobody() -> None:
    turns = life(np.random.default_rng(1), spoils=0.9)
    assert broken(turns)["harm"]
    few_users = replace(turns, treated=turns.treated & (turns.user_row < 15))
    assert not broken(few_users)["harm"]
    nobody_beside = replace(turns, held=turns.held & (turns.day < HISTORY_DAYS))
    assert not broken(nobody_beside)["harm"]


def test_a_bound_from_too_few_users_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    some = life(np.random.default_rng(3), spoils=0.5)
    split = {"users": {}, "p_value": None, "sound": True}
    said = {}
    for name, turns in (("few", few((0, 0, 0.0, True), (1, 0, 0.0, True), (1, 0, 1.0, False))), ("enough", some)):
        print_arms({"arms": {}, "sure_texts": {"champion": broken(turns)}, "sample_ratio": split})
        said[name] = capsys.readouterr().out
    assert "(too few users to act on)\n" in said["few"]
    assert "too few" not in said["enough"]
    assert "  HARM\n" in said["enough"]
