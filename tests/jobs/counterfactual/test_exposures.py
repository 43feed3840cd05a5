"""Exposures as arrays: what was done, what another bundle would do, and whether the log can tell."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import offpolicy
from jobs.counterfactual.exposures import NothingExposed, of_some_users, policies, read_exposed
from rewrite.decision import Decision

START = datetime(2026, 1, 5, tzinfo=UTC)


class Challenger:
    """Rewrites by table."""

    def __init__(self, table: dict[str, str]) -> None:
        self.table = table
        self.scorer = SimpleNamespace(knowledge=SimpleNamespace(known={}, look_up={}))

    def rewrite_turn(self, turn: Any) -> Decision:
        text = self.table.get(turn.utterance)
        return Decision(text, "global" if text else None, 0.5, "rewritten" if text else "unsure", 0.5)


def row(number: int, user: str, utterance: str, found: str | None, held: bool, defect: float) -> dict[str, Any]:
    propensity = 1.0 if found is None else 0.2 if held else 0.8
    rewrite = {"text": found, "source": None, "bundle": "b", "propensity": propensity, "holdout": held}
    return {
        "interaction_id": f"i{number}", "user_id": user, "timestamp": START + timedelta(minutes=number),
        "utterance": utterance, "text": utterance, "rewrite": rewrite, "defect_probability": defect,
    }  # fmt: skip


def write(folder: Path, rows: Sequence[dict[str, Any]]) -> Path:
    (folder / "turns").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(list(rows)), folder / "turns" / "part-0.parquet")
    return folder


@pytest.fixture
def mined(tmp_path: Path) -> Path:
    rows = [row(0, "a", "x", "y", False, 0.2), row(1, "b", "x", "y", True, 0.9), row(2, "c", "z", None, False, 0.1)]
    return write(tmp_path, [*rows, {**row(3, "d", "x", None, False, 0.5), "rewrite": None}])


def test_what_was_done_is_what_was_found_unless_held_out(mined: Path) -> None:
    exposed = read_exposed(mined)
    assert exposed.done == ["y", None, None]
    assert exposed.reward.tolist() == pytest.approx([0.8, 0.1, 0.9])
    assert exposed.propensity.tolist() == [0.8, 0.2, 1.0]


def test_a_challenger_that_agrees_is_supported_and_one_that_invents_is_not(mined: Path) -> None:
    exposed = read_exposed(mined)
    agrees = policies(exposed, Challenger({"x": "y"}))  # type: ignore[arg-type]
    assert agrees.challenger.target_prob.tolist() == agrees.champion.target_prob.tolist() == [1, 0, 1]
    assert agrees.nothing.target_prob.tolist() == [0, 1, 1]
    assert agrees.could.tolist() == pytest.approx([1, 1, np.nan], nan_ok=True)  # nobody would rewrite the third
    silent = policies(exposed, Challenger({}), Challenger({"x": "y"}))  # type: ignore[arg-type]
    assert silent.challenger.target_prob.tolist() == [0, 1, 1]
    assert silent.champion.target_prob.tolist() == [1, 0, 1]
    assert silent.could.tolist() == pytest.approx([1, 1, np.nan], nan_ok=True)
    invents = policies(exposed, Challenger({"x": "new", "z": "new"}))  # type: ignore[arg-type]
    assert invents.challenger.target_prob.tolist() == [0, 0, 0]
    assert invents.could.tolist() == [0, 0, 0]


def test_a_rewritten_turn_is_judged_as_it_was_said(tmp_path: Path) -> None:
    """Of a rewritten turn the log has the reading of the rewrite, under which nobody would rewrite anything."""
    rows = [
        {**row(0, "a", "x", "y", False, 0.1), "intent": "rewritten", "nlu_confidence": 0.9},
        {**row(1, "b", "x", "y", True, 0.9), "intent": "misread", "nlu_confidence": 0.2},
        {**row(2, "c", "w", "y", False, 0.1), "intent": "rewritten", "nlu_confidence": 0.9},
    ]
    turns = read_exposed(write(tmp_path, rows)).turns
    assert [(t.utterance, t.reading.intent, t.nlu_confidence) for t in turns] == [
        ("x", "misread", 0.2),
        ("x", "misread", 0.2),
        ("w", None, None),
    ]


def test_earlier_turns_and_those_of_condemned_bundles_are_left_out(mined: Path) -> None:
    assert len(read_exposed(mined, START + timedelta(minutes=1)).turns) == 2
    late = read_exposed(mined).after(START + timedelta(minutes=1))
    assert [turn.user_id for turn in late.turns] == ["c"]
    assert late.reward.tolist() == pytest.approx([0.9])
    with pytest.raises(NothingExposed, match="from 2026-01-06"):
        read_exposed(mined, START + timedelta(days=1))
    with pytest.raises(NothingExposed):
        read_exposed(mined, without={"b"})


def test_harmful_rewrites_are_left_off_with_proof(tmp_path: Path) -> None:
    """Every rewrite fails and every turn held out succeeds: doing nothing is proven better, and going on is not."""
    rows = [
        row(9 * user + n, f"u{user}", "x", "y", user % 5 == 0, 0.05 if user % 5 == 0 else 0.95)
        for user in range(400)
        for n in range(2)
    ]
    mined = write(tmp_path, rows)
    silent = offpolicy.judge(read_exposed(mined), Challenger({}))  # type: ignore[arg-type]
    assert silent["gains"]["dr"]["low"] > 0.5
    assert silent["support"]["supported"] == 1
    assert silent["enough_held_out"]
    assert silent["over_nothing"]["dr"]["value"] == 0
    same = offpolicy.judge(read_exposed(mined), Challenger({"x": "y"}))  # type: ignore[arg-type]
    assert same["gains"]["snips"]["value"] == 0
    assert same["over_nothing"]["dr"]["high"] < -0.5


def test_of_many_turns_some_whole_users_are_kept(mined: Path) -> None:
    rows = [row(n, f"u{n % 10}", "x", "y", False, 0.5) for n in range(100)]
    kept = of_some_users(pa.Table.from_pylist(rows), 25)
    assert kept.num_rows == 30
    assert len(set(kept["user_id"].to_pylist())) == 3


def test_a_log_without_propensities_is_refused(tmp_path: Path) -> None:
    unknown = {"text": "y", "source": "global", "bundle": "b", "propensity": None, "holdout": False}
    mined = write(
        tmp_path, [row(0, "a", "x", "y", False, 0.1), {**row(1, "b", "x", "y", False, 0.1), "rewrite": unknown}]
    )
    assert len(read_exposed(mined).turns) == 1
    with pytest.raises(ValueError, match="propensity"):
        read_exposed(write(tmp_path / "none", [{**row(0, "a", "x", "y", False, 0.1), "rewrite": unknown}]))
