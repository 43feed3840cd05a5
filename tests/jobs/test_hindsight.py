"""A bundle on the days that were held back: with what was known then, by trees that have not seen the user."""

import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from jobs.counterfactual.exposures import NothingExposed
from jobs.hindsight import Hindsight, in_hindsight, with_evidence_of
from jobs.learn import History, LearnConfig, read_table, run
from jobs.loop.events import spoil
from jobs.offpolicy import judge_bundle
from rewrite import Rewriter
from tests.rewrite.world import SINCE, SONGS, turn_row, turn_rows, write_mined

LATE = "play late hit"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rows = tmp_path_factory.mktemp("world"), turn_rows()
    late = [
        turn_row(9_000 + user, f"u{user:02d}", rows[-1]["timestamp"] + timedelta(hours=user), LATE, False)
        for user in range(6)
    ]
    run(write_mined(folder / "mined", [*rows, *late]), folder / "bundle", LearnConfig(model=None, harm=1.0, threads=1))
    return folder / "bundle"


@pytest.fixture(scope="module")
def then(bundle: Path) -> Hindsight:
    return in_hindsight(History.read(bundle.parent / "mined"), bundle)


def test_what_came_up_on_the_held_back_days_was_not_known_then(bundle: Path, then: Hindsight) -> None:
    assert LATE in Rewriter.load(bundle).scorer.knowledge.known
    assert LATE not in then.scorer.knowledge.known
    assert then.rewrite("play alien bridges", asr_confidence=0.4).text == "play ancient bridges"


def test_the_decision_is_the_one_that_was_packed(bundle: Path, then: Hindsight) -> None:
    packed = Rewriter.load(bundle).decider
    rows = np.random.default_rng(0).random((50, len(packed._fail_model.feature_name())))
    assert then.decider.p_fail(rows) == pytest.approx(packed.p_fail(rows))
    assert then.decider.thresholds == packed.thresholds


def test_a_user_is_judged_by_trees_of_other_folds(then: Hindsight) -> None:
    """Where the trees that saw none of a fold never rewrite, its users alone feel it."""
    fold = then._fold_of["u03"]
    quiet = then._unseen[fold].decider
    silent = replace(quiet.thresholds, p_fail=2.0)
    before, quiet.thresholds = quiet.thresholds, silent
    try:
        answers = {
            user: then.rewrite("play alien bridges", user_id=user, asr_confidence=0.4).text for user in then._fold_of
        }
    finally:
        quiet.thresholds = before
    assert {user for user, text in answers.items() if text is None} == {
        u for u, f in then._fold_of.items() if f == fold
    }


def test_another_bundle_decides_with_the_same_evidence(bundle: Path, then: Hindsight) -> None:
    other = with_evidence_of(then.scorer, bundle)
    assert LATE not in other.scorer.knowledge.known
    assert other.rewrite("play alien bridges", asr_confidence=0.4).text == "play ancient bridges"


def test_a_bundle_is_judged_on_the_held_back_days_alone(bundle: Path, tmp_path: Path) -> None:
    """Every fifth user is held out; what is rewritten goes well, as the log says, and what is left alone fails."""
    mined = tmp_path / "mined"
    shutil.copytree(bundle.parent / "mined", mined)
    turns = read_table(mined, "turns").sort_by("interaction_id")
    rows = []
    for user, text in zip(turns["user_id"].to_pylist(), turns["text"].to_pylist(), strict=True):
        held, found = int(user[1:]) % 5 == 0, {heard: meant for meant, heard in SONGS.items()}.get(text)
        chance = 1.0 if found is None else 0.2 if held else 0.8
        rows.append({"text": found, "source": None, "bundle": "b", "propensity": chance, "holdout": held})
    failed = [
        p if row["text"] is None or row["holdout"] else 0.03
        for p, row in zip(turns["defect_probability"].to_pylist(), rows, strict=True)
    ]
    column = turns.column_names.index("defect_probability")
    turns = turns.set_column(column, "defect_probability", pa.array(failed)).append_column("rewrite", pa.array(rows))
    acted = [
        text if row["text"] is None or row["holdout"] else row["text"]
        for text, row in zip(turns["text"].to_pylist(), rows, strict=True)
    ]
    turns = turns.append_column("effective_text", pa.array(acted))
    pq.write_table(turns, mined / "turns" / "part-0.parquet")
    inside = pc.greater_equal(turns["timestamp"], pa.scalar(SINCE, turns["timestamp"].type)).to_pylist()
    found = judge_bundle(mined, bundle)
    assert found["champion"] is None
    assert found["turns"] == sum(inside)
    assert found["over_nothing"]["dr"]["low"] > 0.1
    assert judge_bundle(mined, bundle, champion=bundle)["champion"]["turns"] == sum(inside)
    with pytest.raises(NothingExposed):
        judge_bundle(mined, bundle, without={"b"})


def test_a_bundle_that_was_tampered_with_is_judged_as_it_is(bundle: Path, then: Hindsight, tmp_path: Path) -> None:
    spoil(bundle, tmp_path / "faulty")
    faulty = in_hindsight(History.read(bundle.parent / "mined"), tmp_path / "faulty")
    assert faulty.decider.thresholds == Rewriter.load(tmp_path / "faulty").decider.thresholds
    assert faulty.rewrite("stop", asr_confidence=0.9).text is not None
    assert then.rewrite("stop", asr_confidence=0.9).text is None
