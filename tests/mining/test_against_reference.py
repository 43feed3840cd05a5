"""Spark against plain-Python mining, row by row."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.mine import Models, run
from jobs.rundir import manifest_of
from mining import defects, signals
from mining.config import MineConfig
from tests.mining import logs
from tests.reference import mining as reference

pytestmark = pytest.mark.spark

CONFIG = MineConfig(
    min_users=3,
    min_days=2,
    pair_users=2,
    pair_days=1,
    burst_users=99,
    max_user_votes=99,
    personal_shards=3,
    chain_min_success=0.2,
)


@pytest.fixture(scope="module")
def mined(spark: Any, tmp_path_factory: Any) -> tuple[Path, list[dict[str, Any]]]:
    """A run over a random log, and what plain Python says of it."""
    folder = tmp_path_factory.mktemp("mined")
    rows = logs.random_log(1)
    # before all others, so that their gaps are as they were: a text of one user, and one of two
    asked = [("u0", "hum along"), ("u0", "sing along"), ("u1", "sing along")]
    rows += [
        logs.turn(n, interaction_id=f"few{n}", user_id=user, timestamp=logs.START - timedelta(hours=n), utterance=text)
        for n, (user, text) in enumerate(asked, 1)
    ]
    run([logs.write(rows, folder / "log.parquet")], folder / "out", CONFIG, models=Models())  # kinds by rules
    manifest = manifest_of(folder / "out")
    split = datetime.fromisoformat(manifest["holdback_from"])
    turns = reference.sessions(rows, CONFIG.session_gap_s, CONFIG.followup_gap_s, split)
    sample = [t for t in turns if t["timestamp"] < split]
    scales, medians = _scales(sample)
    reference.signals(turns, scales, medians)
    counts: dict[tuple[int, ...], int] = {}
    for t in sample:
        key = tuple(t[name] for name in signals.LEVELS)
        counts[key] = counts.get(key, 0) + 1
    model = defects.fit(np.array(list(counts)), np.array(list(counts.values())))
    reference.score(turns, model)
    reference.kinds(turns, CONFIG.pair_gap_s)
    reference.resolutions(turns)
    return folder / "out", turns


def _scales(sample: list[dict[str, Any]]) -> tuple[signals.Scales, dict[str, float]]:
    def quantiles(name: str, q: Any) -> Any:
        return np.quantile([t[name] for t in sample if t[name] is not None], q)

    edges = [tuple(quantiles(f"{name}_confidence", signals.CONFIDENCE_QUANTILES)) for name in ("asr", "nlu")]
    medians = {}
    for intent in {t["intent"] for t in sample}:
        dwells = [t["dwell_s"] for t in sample if t["intent"] == intent and t["dwell_s"] is not None]
        if len(dwells) >= 20:
            medians[intent] = float(np.median(dwells))
    return signals.Scales(*edges, float(quantiles("dwell_s", 0.5))), medians


def table(out: Path, name: str) -> list[dict[str, Any]]:
    """A table's rows."""
    rows: list[dict[str, Any]] = pq.read_table(out / name).to_pylist()
    return rows


def same(got: list[dict[str, Any]], expected: list[dict[str, Any]], *keys: str) -> None:
    """Whole-table equality on the expected columns, floats to 2e-6."""
    assert expected, "an empty oracle proves nothing"
    want = {tuple(row[k] for k in keys): row for row in expected}
    have = {tuple(row[k] for k in keys): row for row in got}
    assert have.keys() == want.keys()
    for key, row in want.items():
        for name, value in row.items():
            if isinstance(value, float):
                assert have[key][name] == pytest.approx(value, abs=2e-6), (key, name)
            elif name == "slots":
                assert _slots(have[key][name]) == value, (key, name)
            else:
                assert have[key][name] == value, (key, name)


def _slots(slots: Any) -> Any:
    return None if slots is None else tuple((s["name"], s["value"]) for s in slots)


def test_turns_agree_on_sessions_signals_probability_and_kind(mined: Any) -> None:
    out, turns = mined
    plain = ("user_id", "text", "effective_text", "session_id", "turn_index", "gap_s", "next_gap_s", "user_day_rank")
    names = (*plain, *signals.LEVELS, "defect_probability", "followup_kind")
    expected = [{"interaction_id": t["interaction_id"], **{n: t[n] for n in names}} for t in turns]
    same(table(out, "turns"), expected, "interaction_id")
    assert len({t["followup_kind"] for t in turns}) >= 6


def test_turns_name_the_text_that_solved_the_problem(mined: Any) -> None:
    out, turns = mined
    got = {t["interaction_id"]: t["resolution"] for t in table(out, "turns")}
    expected = {t["interaction_id"]: t["resolution"] for t in turns}
    assert any(expected.values())
    for key, turn in expected.items():
        found = got[key] and (got[key]["interaction_id"], got[key]["text"])
        assert found == (turn and (turn["interaction_id"], turn["effective_text"]))


@pytest.mark.parametrize("past", [False, True])
def test_spaces_agree(mined: Any, past: bool) -> None:
    out, turns = mined
    if past:
        split = datetime.fromisoformat(manifest_of(out)["holdback_from"])
        out, turns = out / "past", [t for t in turns if t["timestamp"] < split]
    expected = reference.spaces(turns, CONFIG.min_users, CONFIG.min_days, CONFIG.pair_users)
    got = table(out, "utterances")
    same(got, [{k: v for k, v in row.items() if k not in _READING} for row in expected["utterances"]], "text")
    same(table(out, "personal"), [_without_reading(row) for row in expected["personal"]], "user", "text")
    outcomes = table(out, "text_outcomes")
    same(outcomes, expected["text_outcomes"], "text")
    assert {row["text"] for row in outcomes} & {"hum along", "sing along"} == {"sing along"}


_READING = ("domain", "intent", "slots")


def _without_reading(row: dict[str, Any]) -> dict[str, Any]:
    """Ties between readings are broken by JSON in Spark and by repr here: compared where there is no tie."""
    return {k: v for k, v in row.items() if k not in _READING}


def test_the_reading_of_a_text_is_its_most_frequent_successful_one(mined: Any) -> None:
    out, turns = mined
    compared = 0
    for row in table(out, "utterances"):
        worked = [t for t in turns if t["effective_text"] == row["text"] and t["defect_probability"] < 0.5]
        readings = [(t["domain"], t["intent"], _slots(t["slots"])) for t in worked]
        got = (row["domain"], row["intent"], _slots(row["slots"]))
        assert readings.count(got) == max(map(readings.count, readings))
        compared += 1
    assert compared


def test_reformulations_agree_and_name_their_examples(mined: Any) -> None:
    out, turns = mined
    got = table(out, "reformulations")
    same(got, reference.reformulations(turns), "source", "target", "kind")
    after = {t["interaction_id"]: t["next"]["interaction_id"] for t in turns if t["next"]}
    for row in got:
        first, second = row["examples"][0].split(">")
        assert after[first] == second


def test_the_chain_agrees_with_a_dense_solve(mined: Any) -> None:
    out, turns = mined
    nodes, edges = reference.votes(turns)
    names = sorted(nodes)
    at = {name: n for n, name in enumerate(names)}
    total = sum(node["votes"] for node in nodes.values())
    q, r = np.zeros((len(names), len(names))), np.zeros(len(names))
    for name, node in nodes.items():
        q[at[name], at[name]], r[at[name]] = node["repeat"] / node["votes"], node["success"] / node["votes"]
    for (source, target), edge in edges.items():
        share = edge["weight"] / nodes[source]["votes"]
        by_chance = nodes[target]["votes"] / total
        if len(edge["users"]) >= CONFIG.pair_users and (edge["alike"] or share >= 20 * by_chance):
            q[at[source], at[target]] = share
    worth = reference.absorbed(q, r)
    rewrites = table(out, "rewrites")
    assert rewrites
    for row in rewrites:
        exact = worth[at[row["source"]], at[row["target"]]]
        # five steps and paths above one per cent: a lower bound, and a close one
        assert row["worth"] <= exact + 1e-5
        assert row["worth"] == pytest.approx(exact, abs=0.05)
        assert row["worth"] == pytest.approx(row["reach"] * row["success"], abs=2e-6)
        assert 0 <= row["lower_bound"] <= row["worth"] + 1e-6
        assert row["users"] >= CONFIG.pair_users


def test_window_and_holdback_are_in_the_manifest(mined: Any) -> None:
    out, turns = mined
    manifest = manifest_of(out)
    times = [t["timestamp"] for t in turns]
    window = {key: datetime.fromisoformat(value) for key, value in manifest["window"].items()}
    assert window == {"first": min(times), "last": max(times)}
    assert datetime.fromisoformat(manifest["holdback_from"]).tzinfo == UTC
    for name, rows in manifest["tables"].items():
        assert len(table(out, name)) == rows
