"""Trained models in the place of rules and EM, and readings in the place of texts."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.fit_defects import fit_defects, labelled_levels
from jobs.fit_kinds import fit_kinds
from jobs.mine import Models, run
from jobs.rundir import manifest_of, sha256
from mining import likeness
from mining.config import MineConfig
from mining.defects import DefectModel, micros, prior_model
from mining.likeness_model import SHIPPED, LikenessModel
from mining.pair_features import Pair
from mining.signals import LEVELS
from tests.mining import logs
from tests.mining.test_kinds import labelled

CONFIG = MineConfig(min_users=2, min_days=1, pair_users=2, pair_days=1, personal_shards=2, chain_min_success=0.2)


def retried() -> list[logs.Row]:
    """Four users who are misheard and say it again; others say the same in fewer words, which the NLU reads alike."""
    understood = {"domain": "music", "intent": "play", "slots": [{"name": "album", "value": "harvest moon"}]}
    rows = []
    for n in range(4):
        at = logs.START + timedelta(days=n, hours=3)
        failed = {"status": "no_match", "response": "sorry", "intent": None}
        said = [("play harvest spoon", at, failed), ("play harvest moon", at + timedelta(seconds=9), understood)]
        said.append(("harvest moon", at + timedelta(hours=2), understood if n < 2 else failed))
        for text, when, values in said:
            number = 5000 + len(rows)
            rows.append(logs.turn(number, user_id=f"v{n}", timestamp=when, utterance=text, **values))
    return rows


@pytest.fixture(scope="module")
def mined(spark: Any, tmp_path_factory: Any) -> tuple[Path, Path, Path]:
    """A run with both models and states that are readings; the models' files."""
    folder = tmp_path_factory.mktemp("models")
    fit_kinds(labelled(folder / "pairs.parquet", 240), folder / "kinds.json")
    flat = {name: np.full_like(table, 1 / table.shape[1]) for name, table in prior_model().tables.items()}
    flat["signal_status"] = np.array([[0.1, 0.8, 0.1], [0.1, 0.1, 0.8]])
    (folder / "defects.json").write_text(DefectModel(0.5, flat).to_json())
    models = Models.read(folder / "kinds.json", folder / "defects.json")
    config = MineConfig(**{**CONFIG.__dict__, "states": "reading"})
    log = logs.write(logs.random_log(11) + retried(), folder / "log.parquet")
    run([log], folder / "out", config, models=models)
    return folder / "out", folder / "kinds.json", folder / "defects.json"


@pytest.mark.spark
def test_the_run_names_its_models_by_their_hashes(mined: Any) -> None:
    out, kinds, defects = mined
    config = manifest_of(out)["config"]
    assert (config["kinds_id"], config["defects_id"], config["states"]) == (sha256(kinds), sha256(defects), "reading")


@pytest.mark.spark
def test_the_given_defect_model_judges_every_turn(mined: Any) -> None:
    rows = pq.read_table(mined[0] / "turns").to_pylist()
    assert {row["status"] for row in rows} == {"ok", "no_match"}
    for row in rows:
        assert row["defect_probability"] == pytest.approx(8 / 9 if row["status"] == "no_match" else 1 / 9, abs=1e-6)


@pytest.mark.spark
def test_the_trained_model_says_how_sure_it_is_of_every_follow_up(mined: Any) -> None:
    rows = pq.read_table(mined[0] / "turns").to_pylist()
    followed = [row for row in rows if row["followup_kind"] is not None]
    assert followed
    for row in rows:
        shares = row["followup_probabilities"]
        assert (shares is None) == (row["followup_kind"] is None)
        if shares is not None:
            assert sum(shares.values()) == pytest.approx(1, abs=3e-6)
    same = [row for row in followed if row["followup"]["text"] == row["effective_text"]]
    assert same
    assert {row["followup_kind"] for row in same} == {"repetition"}


@pytest.mark.spark
def test_the_shipped_model_judges_by_name_and_is_on_record(spark: Any, tmp_path: Path) -> None:
    log = logs.write(logs.random_log(11) + retried(), tmp_path / "log.parquet")
    run([log], tmp_path / "out", CONFIG, models=Models.read(Path("shipped"), None))
    assert manifest_of(tmp_path / "out")["config"]["kinds_id"] == sha256(SHIPPED)
    rows = pq.read_table(tmp_path / "out" / "turns").to_pylist()
    followed = [row for row in rows if row["followup_kind"] is not None]
    model = LikenessModel.from_json(SHIPPED.read_text())
    for row in (row for row in followed if row["text"] == row["effective_text"]):
        executed = 1 - row["defect_probability"]
        pair = Pair(row["effective_text"], row["followup"]["text"], executed, 1.0)
        (expected,) = model.probabilities(likeness.of_pairs([pair]).columns())
        assert list(row["followup_probabilities"].values()) == pytest.approx(expected.tolist(), abs=1e-3)
    heard = {(r["effective_text"], r["followup"]["text"]): r["followup_kind"] for r in followed}
    assert heard["play harvest spoon", "play harvest moon"] == "correction"


@pytest.mark.spark
def test_rewrites_between_readings_are_given_as_texts(mined: Any) -> None:
    rows = pq.read_table(mined[0] / "rewrites").to_pylist()
    assert ("play harvest spoon", "play harvest moon") in {(row["source"], row["target"]) for row in rows}
    said = {row["effective_text"] for row in pq.read_table(mined[0] / "turns").to_pylist()}
    assert {text for row in rows for text in (row["source"], row["target"])} <= said
    assert all(row["source"] != row["target"] for row in rows)


@pytest.mark.spark
def test_a_defect_model_is_fitted_on_labelled_turns_of_a_run(mined: Any, tmp_path: Path) -> None:
    out = mined[0]
    turns = pq.read_table(out / "turns")
    failed = [status == "no_match" for status in turns["status"].to_pylist()]
    known = pa.table({"interaction_id": turns["interaction_id"], "defect": failed}).slice(0, 120)
    pq.write_table(known, tmp_path / "labels.parquet")
    fit_defects(out, tmp_path / "labels.parquet", tmp_path / "defects.json")
    model = DefectModel.from_json((tmp_path / "defects.json").read_text())
    assert model.weights()["signal_status"][2] > model.weights()["signal_status"][1]
    levels, defects = labelled_levels(out, tmp_path / "labels.parquet")
    assert levels.shape == (120, len(LEVELS))
    assert defects.sum() == sum(failed[:120])
    judged = micros(model, {name: levels[:, n].astype(int) for n, name in enumerate(LEVELS)})
    assert ((judged >= 500_000) == (defects > 0.5)).mean() > 0.9


def test_labels_of_another_log_and_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "run" / "turns").mkdir(parents=True)
    (tmp_path / "run" / "manifest.json").write_text("{}")
    (tmp_path / "run" / "_SUCCESS").touch()
    table = {"interaction_id": ["a"], **{name: pa.array([0], pa.int32()) for name in LEVELS}}
    pq.write_table(pa.table(table), tmp_path / "run" / "turns" / "part-00000.parquet")
    pq.write_table(pa.table({"interaction_id": ["b"], "defect": [True]}), tmp_path / "labels.parquet")
    with pytest.raises(ValueError, match="none of its 1 turns is in"):
        labelled_levels(tmp_path / "run", tmp_path / "labels.parquet")
    pq.write_table(pa.table({"id": ["b"]}), tmp_path / "labels.parquet")
    with pytest.raises(ValueError, match=r"missing \['defect', 'interaction_id'\]; got \['id'\]"):
        labelled_levels(tmp_path / "run", tmp_path / "labels.parquet")


@pytest.mark.parametrize("text", ["{}", "not json", json.dumps({"mean": [1.0]})])
def test_a_file_that_is_no_model_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "model.json").write_text(text)
    with pytest.raises(ValueError, match=r"model\.json: not a model of this kind"):
        Models.read(tmp_path / "model.json", None)
    with pytest.raises(ValueError, match=r"model\.json: not a model of this kind"):
        Models.read(defects=tmp_path / "model.json")
    with pytest.raises(ValueError, match=r"^\S*none\.json: no such file"):
        Models.read(defects=tmp_path / "none.json")
