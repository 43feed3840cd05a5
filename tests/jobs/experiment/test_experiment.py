"""Experiments: intervals that hold at every look, split checks, and acting on harm."""

import json
import math
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jobs.ab import make
from jobs.cli import app
from jobs.clusters import ratio
from jobs.experiment.compare import Arms, against, by_group, cpdr, sample_ratio
from jobs.experiment.pairs import Shown, pair_results
from jobs.experiment.sequential import best_look, look, running
from jobs.experiment.watch import Action, act, actions, withdrawn
from rewrite.bundle import pack
from rewrite.registry import Registry
from serving.exposures import ExposureLog

START = datetime(2026, 1, 5, tzinfo=UTC)
NAMES = ("holdout", "champion", "challenger")


def arms(rates: dict[str, float], users: int = 300, turns: int = 20, seed: int = 0) -> Arms:
    """Users of each arm differ in how well things go for them."""
    rng = np.random.default_rng(seed)
    arm = np.repeat(rng.integers(0, len(rates), users), turns)
    row = np.repeat(np.arange(users), turns)
    own = rng.normal(0, 0.03, users)[row]
    rate = np.clip(np.array(list(rates.values()))[arm] + own, 0, 1)
    devices = [("speaker", "phone")[n % 2] for n in range(len(row))]
    index = np.array([NAMES.index(name) for name in rates])
    return Arms(NAMES, (rng.random(len(row)) < rate).astype(float), index[arm], row, {"device": devices})


def test_an_always_valid_interval_is_wider_and_its_p_value_agrees_with_it() -> None:
    for value in np.linspace(-0.1, 0.1, 41):
        for found in (look(float(value), 0.01, 0.02), best_look(float(value), 0.01, (0.02, 0.1))):
            assert found.high - found.low > 2 * 1.96 * 0.01
            assert (found.p_value < 0.05) == (found.low > 0 or found.high < 0)


def test_several_tunings_find_great_and_small_differences_early() -> None:
    great, small = (0.25, 0.06), (0.018, 0.005)
    assert look(*great, 0.02).low < 0 < best_look(*great, (0.02, 0.1)).low
    assert look(*small, 0.5).low < 0 < best_look(*small, (0.02, 0.1)).low


def test_looking_every_day_fools_fixed_intervals_and_not_these() -> None:
    rng = np.random.default_rng(0)
    fooled = {"fixed": 0, "always": 0, "several": 0}
    for _ in range(400):
        sums = rng.normal(0, 1, (60, 50)).sum(axis=1).cumsum()
        counts = np.arange(1, 61) * 50
        means, errors = sums / counts, 1 / np.sqrt(counts)
        fooled["fixed"] += bool((np.abs(means) > 1.96 * errors).any())
        looks = [(float(m), float(e)) for m, e in zip(means, errors, strict=True)]
        fooled["always"] += min(look(*one, 0.05).p_value for one in looks) < 0.05
        fooled["several"] += min(best_look(*one, (0.02, 0.1)).p_value for one in looks) < 0.05
    assert fooled["fixed"] / 400 > 0.25
    assert fooled["always"] / 400 <= 0.05
    assert fooled["several"] / 400 <= 0.05


def test_a_real_difference_is_found_sooner_or_later() -> None:
    looks = [look(0.05, 0.2 / math.sqrt(n), 0.05) for n in range(1, 500)]
    assert looks[0].p_value > 0.5
    assert looks[-1].p_value < 0.001
    assert running(looks)[-1].low == max(one.low for one in looks) > 0


@pytest.mark.parametrize(
    ("value", "error", "p_value"), [(0.1, math.inf, 1), (math.nan, 0.1, 1), (0.1, 0.0, 0), (0.0, 0.0, 1)]
)
def test_looks_at_the_edges(value: float, error: float, p_value: float) -> None:
    assert look(value, error, 0.02).p_value == p_value


def test_clustered_errors_see_that_turns_of_a_user_go_together() -> None:
    row = np.repeat(np.arange(50), 100)
    values = np.repeat(np.random.default_rng(1).random(50), 100)
    ones = np.ones(len(row))
    assert ratio(values, ones, row).error > 8 * ratio(values, ones, np.arange(len(row))).error


def test_harm_is_seen_and_no_difference_is_not() -> None:
    harmful = against(arms({"holdout": 0.1, "champion": 0.25}), "champion", "holdout")
    assert harmful["harm"]
    assert harmful["always_valid"]["low"] > 0
    same = against(arms({"holdout": 0.1, "champion": 0.1}), "champion", "holdout")
    assert not same["harm"]
    assert same["change"]["low"] < 0 < same["change"]["high"]


def test_a_handful_of_users_condemns_nobody() -> None:
    few = against(arms({"holdout": 0.0, "champion": 0.9}, users=20), "champion", "holdout")
    assert not few["harm"]
    assert not few["enough_users"]


def test_an_arm_without_turns_has_no_rate() -> None:
    found = arms({"holdout": 0.1, "champion": 0.1})
    assert math.isnan(cpdr(found, "challenger").value)
    assert not against(found, "challenger", "champion")["harm"]


def test_groups_are_compared_apart() -> None:
    found = by_group(arms({"holdout": 0.1, "champion": 0.1}), "champion", "holdout")
    assert [(g["group"], g["value"]) for g in found] == [("device", "phone"), ("device", "speaker")]


def test_a_broken_split_is_seen() -> None:
    found = arms({"holdout": 0.1, "champion": 0.1}, users=2_000, turns=1)
    assert sample_ratio(found, {"holdout": 0.5, "champion": 0.5, "challenger": 0.0})["sound"]
    broken = sample_ratio(found, {"holdout": 0.4, "champion": 0.6, "challenger": 0.0})
    assert not broken["sound"]
    assert broken["p_value"] < 1e-6


def test_users_in_an_arm_that_nobody_planned_break_the_split() -> None:
    found = arms({"holdout": 0.1, "champion": 0.1, "challenger": 0.1})
    assert not sample_ratio(found, {"holdout": 0.5, "champion": 0.5})["sound"]


def shown(defect: float, held: float, users: int = 40, turns: int = 5, pair: str = "a") -> list[Shown]:
    rng = np.random.default_rng(2)
    used = [Shown(pair, "b", f"u{u}", False, float(rng.random() < defect)) for u in range(users) for _ in range(turns)]
    return used + [
        Shown(pair, "b", f"h{u}", True, float(rng.random() < held)) for u in range(users) for _ in range(turns)
    ]


@pytest.mark.parametrize(
    ("defect", "held", "verdict"), [(0.9, 0.2, "withdraw"), (0.05, 0.9, "keep"), (0.3, 0.3, "watch")]
)
def test_a_pair_is_judged_by_its_own_holdout(defect: float, held: float, verdict: str) -> None:
    found = pair_results(shown(defect, held))[0]
    assert found.verdict == verdict
    assert found.wins + found.losses == 200
    assert found.holdout_turns == 200


def test_without_a_holdout_of_its_own_a_pair_is_judged_by_all_held_out_turns() -> None:
    bad = [s for s in shown(0.95, 0.0) if not s.held]
    assert pair_results(bad)[0].verdict == "watch"
    assert pair_results(bad, base_rate=0.6)[0].verdict == "withdraw"


def test_one_user_alone_cannot_withdraw_a_pair() -> None:
    alone = [Shown("a", "b", "u1", False, 1.0) for _ in range(500)]
    assert pair_results(alone, base_rate=0.9)[0].verdict == "watch"


def test_two_users_with_bad_luck_withdraw_nothing() -> None:
    few = [Shown("a", "b", f"u{n}", False, 1.0) for n in range(5)]
    assert pair_results(few, base_rate=0.3)[0].verdict == "watch"


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    registry = Registry(tmp_path / "reg")
    for text in ("old", "new"):
        pack(tmp_path / text, lambda part, text=text: (part / "t").write_text(text) and None, {"parents": []})  # type: ignore[misc]
        registry.promote(registry.publish(tmp_path / text))
    return registry


def mined(folder: Path, bundle: str, defect: float, held: float, users: int = 200) -> Path:
    """A mining run's turns: every fifth user is held out."""
    rng = np.random.default_rng(3)
    rows: list[dict[str, Any]] = []
    for user in range(users):
        holdout = user % 5 == 0
        for n in range(15):
            bad = rng.random() < (held if holdout else defect)
            rewrite = {"text": "play b", "source": "global", "bundle": bundle, "propensity": 0.8, "holdout": holdout}
            rows.append(
                {"user_id": f"u{user}", "timestamp": START + timedelta(minutes=n), "text": "play a", "device": "phone",
                 "domain": "music", "rewrite": rewrite, "defect_probability": 0.95 if bad else 0.05}
            )  # fmt: skip
    (folder / "turns").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "turns" / "part-0.parquet")
    return folder


SPLIT = {"holdout": 0.2, "champion": 0.8, "challenger": 0.0}


def test_a_harmful_champion_is_rolled_back_and_its_pair_withdrawn_once(registry: Registry, tmp_path: Path) -> None:
    champion, previous = registry.resolve("champion"), registry.resolve("previous")
    report = make(mined(tmp_path / "mined", champion or "", 0.5, 0.1), champion, None, SPLIT)
    wanted = actions(report)
    assert [a.kind for a in wanted] == ["roll back", "withdraw"]
    assert len(act(registry, wanted, "test")) == 2
    assert registry.resolve("champion") == previous
    assert withdrawn(registry.root) == {("play a", "play b")}
    assert act(registry, wanted, "test") == []
    assert registry.history()[-1]["reason"].startswith("CPDR is at least")


def test_no_watch_goes_back_to_a_bundle_that_was_rolled_back(registry: Registry) -> None:
    good, bad = registry.resolve("previous"), registry.resolve("champion")
    assert act(registry, [Action("roll back", "harm", bad or "")], "test")[0].startswith("rolled back")
    said = act(registry, [Action("roll back", "harm", good or "")], "test")
    assert said == ["NOT rolled back, as no other bundle is known to be better; promote one, or stop the service: harm"]
    assert registry.aliases() == {"champion": good, "previous": bad}
    registry.promote(bad or "", reason="mended")
    registry.promote(good or "")
    assert act(registry, [Action("roll back", "harm", good or "")], "test")[0].startswith("rolled back")


def spoilt(bundle: str) -> list[dict[str, Any]]:
    """A log of five good days and two hours of a bundle that breaks every other turn of those not held out."""
    rows = []
    for day in range(6):
        for user in range(80):
            now, held = day == 5, user % 4 == 0
            bad = user % 2 if now and not held else user % 40 == 0 and day == user % 5
            time = START + timedelta(days=day, minutes=user + 10)
            decided = {"text": "play b" if now else None, "source": "global", "bundle": bundle if now else "before"}
            rows.append(
                {"interaction_id": f"{day}-{user}", "user_id": f"u{user}", "timestamp": time,
                 "utterance": f"Play {user % 8}", "status": "error" if bad else "ok",
                 "rewrite": {**decided, "propensity": 0.25 if held else 0.75, "holdout": held}}
            )  # fmt: skip
    return rows


@pytest.mark.parametrize("form", ["parquet", "jsonl with exposures"])
def test_the_hourly_watch_rolls_back_from_the_logs_alone(registry: Registry, tmp_path: Path, form: str) -> None:
    champion, previous = registry.resolve("champion") or "", registry.resolve("previous")
    rows, state = spoilt(champion), tmp_path / "state"
    (tmp_path / "logs").mkdir()
    if form == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "logs" / "a.parquet")
    else:
        log = ExposureLog(state / "exposures")
        for row in rows:
            decision = {"kind": "decision", "interaction_id": row["interaction_id"], "rewrite": row.pop("rewrite")}
            assert log.append({**decision, "user_id": row["user_id"]})
            row["timestamp"] = row["timestamp"].isoformat()
        log.close()
        lines = [*map(json.dumps, rows), json.dumps({**rows[0], "interaction_id": "x", "timestamp": "yesterday"})]
        (tmp_path / "logs" / "a.jsonl").write_text("\n".join(lines))
    watch = ["experiment", "watch", str(tmp_path / "logs"), "--registry", str(registry.root), "--state", str(state)]
    runner = CliRunner()
    told = runner.invoke(app, [*watch, "--holdout-share", "0.25"])
    assert told.exit_code == 0, told.output
    assert "on texts that go well when left alone: 66.67 % fail" in told.output
    assert registry.resolve("champion") == champion
    done = runner.invoke(app, [*watch, "--holdout-share", "0.25", "--act"])
    assert f"rolled back to {previous}" in done.output
    assert registry.resolve("champion") == previous


def test_a_good_champion_stays(registry: Registry, tmp_path: Path) -> None:
    champion = registry.resolve("champion")
    report = make(mined(tmp_path / "mined", champion or "", 0.1, 0.4), champion, None, SPLIT)
    assert actions(report) == []
    assert report["pairs"][0]["verdict"] == "keep"


def test_nothing_is_rolled_back_on_a_broken_split(registry: Registry, tmp_path: Path) -> None:
    champion = registry.resolve("champion")
    broken = {"holdout": 0.5, "champion": 0.5, "challenger": 0.0}
    report = make(mined(tmp_path / "mined", champion or "", 0.5, 0.1), champion, None, broken)
    assert [a.kind for a in actions(report)] == ["withdraw"]


def test_a_harmful_challenger_is_stopped_and_the_champion_stays(registry: Registry, tmp_path: Path) -> None:
    champion, challenger = registry.resolve("champion"), registry.resolve("previous")
    assert challenger is not None
    registry.point("challenger", challenger)
    folder = mined(tmp_path / "mined", champion or "", 0.1, 0.1)
    turns = pq.read_table(folder / "turns").to_pylist()
    for turn in turns:
        if not turn["rewrite"]["holdout"] and int(turn["user_id"][1:]) % 2:
            turn["rewrite"]["bundle"] = challenger
            turn["defect_probability"] = 0.95 if turn["timestamp"].minute % 2 else 0.05
    pq.write_table(pa.Table.from_pylist(turns), folder / "turns" / "part-0.parquet")
    report = make(folder, champion, challenger, {"holdout": 0.2, "champion": 0.4, "challenger": 0.4})
    act(registry, actions(report), "test")
    assert registry.aliases() == {"champion": champion, "previous": challenger}
