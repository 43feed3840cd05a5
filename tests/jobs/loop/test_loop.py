"""The simulated life: time in slices, quick judgements, events, and the account of it."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from jobs.experiment.quick import quick_defects
from jobs.loop.account import account, spans
from jobs.loop.events import Events, attack_rows, spoil
from jobs.loop.life import Life, LifeConfig, Told
from jobs.loop.picture import picture
from jobs.world.grammar import make_request
from jobs.world.hearing import Spoken, right_hearing
from jobs.world.living import LivingWorld
from jobs.world.simulator import DAY_S, Settings, Simulation
from rewrite.bundle import pack, verify

START = datetime(2026, 1, 5, tzinfo=UTC)


def said_things() -> tuple[dict[str, Any], dict[tuple[str, str], Spoken]]:
    """The catalogue, and how some of it is heard."""
    from jobs.world.grammar import spoken_catalogue
    from jobs.world.speak import CATALOGUE_SEED

    catalogue = spoken_catalogue(np.random.default_rng(CATALOGUE_SEED))
    assert make_request("stop", {})
    return catalogue, {(text, "v"): Spoken((), (), right_hearing(text)) for text in list(catalogue)[:50]}


def world(users: int = 6) -> LivingWorld:
    catalogue, spoken = said_things()
    return LivingWorld(Simulation(catalogue, spoken, Settings(users=users, days=3), np.random.default_rng(4)))


def said(turns: list[Any]) -> set[tuple[str, float, str]]:
    return {(turn.asked.user_id, turn.asked.seconds, turn.asked.utterance) for turn in turns}


def test_a_day_in_quarters_is_the_same_day() -> None:
    whole, parts = world(), world()
    quarters = [turn for n in range(4) for turn in parts.play((n + 1) / 4 * DAY_S)]
    day = whole.play(DAY_S)
    assert len(day) > 5
    assert said(day) == said(quarters)


def test_time_goes_on_and_rows_are_never_used_twice() -> None:
    living = world()
    first, second = living.play(DAY_S), living.play(2 * DAY_S)
    assert {turn.row for turn in first + second} == set(range(len(first) + len(second)))
    for user in living.people:
        ends = [t.asked.seconds for t in first if t.asked.user_id == user]
        later = [t.asked.seconds for t in second if t.asked.user_id == user]
        assert not ends or not later or max(ends) < min(later)


class Watched(Life):
    """A life that only notes when it is watched, and when the bad push comes."""

    looks: list[float]
    pushes: list[float]

    def _watch(self, at: float, tables: list[Any]) -> None:
        self.looks.append(at)

    def _push_badly(self, at: float) -> None:
        self.pushes.append(at)


def test_the_watch_looks_every_hour_and_the_bad_push_comes_once(tmp_path: Path) -> None:
    config = LifeConfig(users=6, days=2, events=Events(loop_from=9, bad_push=1.3))
    catalogue, spoken = said_things()
    life = Watched(config, catalogue, spoken, lambda logs: None, tmp_path)  # type: ignore[arg-type, return-value]
    life.looks, life.pushes, life.service.bundle = [], [], "b"
    life.live()
    assert life.looks == [day + (hour + 1) / 24 for day in range(2) for hour in range(24)]
    assert life.pushes == [1 + 7 / 24]


def row(second: float, text: str = "a", user: str = "u", **more: Any) -> dict[str, Any]:
    plain = {"status": "ok", "interrupted": False, "dwell_s": None}
    return {"user_id": user, "timestamp": START + timedelta(seconds=second), "utterance": text, **plain, **more}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([row(0)], [0]),
        ([row(0, status="no_match")], [1]),
        ([row(0, interrupted=True)], [1]),
        ([row(0, dwell_s=2.0)], [1]),
        ([row(0, dwell_s=200.0)], [0]),
        ([row(0, "play jazz"), row(20, "play jaz")], [1, 0]),
        ([row(0, "play jazz"), row(20, "weather")], [0, 0]),
        ([row(0, "play jazz"), row(90, "play jaz")], [0, 0]),
        ([row(20, "play jaz"), row(0, "play jazz")], [0, 1]),
        ([row(0, "play jazz"), row(20, "play jaz", user="v")], [0, 0]),
    ],
)
def test_quick_defects_by_their_signs(rows: list[dict[str, Any]], expected: list[int]) -> None:
    kinds = {"dwell_s": pa.float64()}
    table = pa.Table.from_pylist(rows)
    for name, kind in kinds.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    assert quick_defects(table).tolist() == expected


def test_an_attack_comes_from_its_own_accounts_and_says_what_it_wants_to_hear() -> None:
    rows = attack_rows(3, ["play jazz"], "stop", 4, np.random.default_rng(0))
    assert len(rows) == 8
    assert {r["user_id"] for r in rows} == {f"x{n:05d}" for n in range(4)}
    assert {(r["utterance"], r["interrupted"]) for r in rows} == {("play jazz", True), ("stop", False)}
    assert len({r["interaction_id"] for r in rows}) == 8


def test_a_spoiled_bundle_verifies_and_has_no_threshold(tmp_path: Path) -> None:
    def write(folder: Path) -> None:
        (folder / "decision").mkdir()
        thresholds = {"p_fail": 0.1, "gain": {"personal": 0.2, "global": 0.3}}
        (folder / "decision" / "decision.json").write_text(json.dumps({"thresholds": thresholds, "other": 1}))

    pack(tmp_path / "good", write, {"data_window": {}})
    spoil(tmp_path / "good", tmp_path / "bad")
    assert verify(tmp_path / "bad")["id"] != verify(tmp_path / "good")["id"]
    found = json.loads((tmp_path / "bad" / "decision" / "decision.json").read_text())
    assert found["thresholds"] == {"p_fail": 0.0, "gain": {"personal": -1.0, "global": -1.0}}
    assert found["other"] == 1


CONFIG = LifeConfig(users=60, days=12, events=Events(loop_from=3, attack=6, shift=8, bad_push=10.5))


def told(treated: float, held: float, seed: int = 0) -> Told:
    rng = np.random.default_rng(seed)
    found = Told()
    for day in range(CONFIG.days):
        for user in range(CONFIG.users):
            out = user % 4 == 0
            rate = held if out or day < 4 else treated
            for _ in range(6):
                bad = bool(rng.random() < rate)
                known = {"day": day, "user": f"u{user}", "defect": bad, "held": out}
                found.rows.append({**known, "rewritten": False, "to_target": False})
    found.note(10.5, "bad push")
    found.note(10.75, "rollback")
    return found


def test_the_account_finds_the_gain_the_harm_and_the_hours_to_recover() -> None:
    good = account(told(0.08, 0.16), told(0.16, 0.16, 1), CONFIG)
    assert good["spans"]["all with the loop"]["change"]["high"] < 0
    assert good["days_worse_than_holdout"] == []
    assert any("rolled back after 6 hours" in line for line in good["summary"])
    bad = account(told(0.5, 0.1), told(0.1, 0.1, 1), CONFIG)
    assert set(bad["days_worse_than_holdout"]) >= set(range(5, 12))


def test_spans_follow_the_events() -> None:
    assert {name: (r.start, r.stop) for name, r in spans(CONFIG).items()} == {
        "before the loop": (0, 4), "all with the loop": (4, 12), "quiet": (4, 6), "from attack": (6, 8),
        "from shift": (8, 10), "from bad push": (10, 12),
    }  # fmt: skip
    calm = replace(CONFIG, events=Events(loop_from=3))
    assert set(spans(calm)) == {"before the loop", "all with the loop", "quiet"}


def test_the_picture_is_the_same_for_the_same_numbers() -> None:
    from dataclasses import asdict

    result = {"config": asdict(CONFIG), **account(told(0.08, 0.16), told(0.16, 0.16, 1), CONFIG)}
    once, again = picture(result), picture(result)
    assert once == again
    assert once.count("<svg") == 1
