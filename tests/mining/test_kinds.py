"""The model of follow-ups: how it is trained, cut and scored."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jobs.bench.corrections import measure
from jobs.fit_kinds import fit_kinds
from mining import kinds
from mining.english import English
from mining.pair_features import NAMES, Pair, features
from tests.mining.test_english import Tens


def labelled(path: Path, n: int = 60) -> Path:
    """A file of pairs in which corrections are failed repeats."""
    rng = np.random.default_rng(0)
    rows = []
    for at in range(n):
        label = int(rng.integers(3))
        first = f"call number {at}"
        second = [f"what is {at * 7}", first, f"call numbers {at}"][label]
        executed = bool(label == 0)
        rows.append(
            {
                "first": first,
                "response": "ok" if executed else "sorry",
                "second": second,
                "executed": executed,
                "gap_s": 9.0 if label else 300.0,
                "label": kinds.CLASSES[label],
            }
        )
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


@pytest.fixture(scope="module")
def model_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model trained on pairs of our own making."""
    folder = tmp_path_factory.mktemp("kinds")
    fit_kinds(labelled(folder / "train.parquet", 240), folder / "kinds.json")
    return folder / "kinds.json"


@pytest.fixture(scope="module")
def model(model_path: Path) -> kinds.KindModel:
    return kinds.KindModel.from_json(model_path.read_text())


def test_a_trained_model_tells_a_correction_from_a_new_wish(model: kinds.KindModel) -> None:
    new, repeated = model.decide(
        model.probabilities(
            kinds.matrix(
                [
                    Pair("call number 900", "what is 17", 1.0, 300.0, "ok"),
                    Pair("call number 901", "call number 901", 0.0, 9.0, "sorry"),
                ]
            )
        )
    )
    assert kinds.CLASSES[new] == "new_command"
    assert kinds.CLASSES[repeated] != "new_command"


def test_a_model_is_plain_json_that_names_its_training_data_by_hash_only(model_path: Path) -> None:
    stored = json.loads(model_path.read_text())
    named = {"names", "linear", "trees", "misheard", "english", "threshold", "asr_weight", "trained_on"}
    assert set(stored) == named
    assert set(stored["linear"]) == {"mean", "scale", "weights", "offsets"}
    assert set(stored["misheard"]) == {"mean", "scale", "vectors", "weights", "offset", "slope", "bias"}
    assert len(stored["trained_on"]) == 64


def test_a_model_of_other_features_is_refused(model_path: Path) -> None:
    stored = json.loads(model_path.read_text())
    stored["names"] = stored["names"][1:]
    with pytest.raises(ValueError, match=rf"has {len(NAMES) - 1} features; expected {len(NAMES)}"):
        kinds.KindModel.from_json(json.dumps(stored))


def test_a_model_from_before_there_were_vectors_is_refused(model_path: Path) -> None:
    stored = json.loads(model_path.read_text())
    stored["misheard"] = stored["linear"]
    with pytest.raises(ValueError, match="by a line; expected vectors"):
        kinds.KindModel.from_json(json.dumps(stored))


@pytest.mark.parametrize("trained_with", [True, False])
def test_a_model_is_refused_where_not_as_much_is_known_of_english(
    model_path: Path, monkeypatch: pytest.MonkeyPatch, trained_with: bool
) -> None:
    stored = json.loads(model_path.read_text())
    stored["english"] = trained_with
    known = {True: None, False: English(Tens())}
    monkeypatch.setattr(kinds, "english", lambda: known[trained_with])
    with pytest.raises(ValueError, match=r"was trained with(out)? pocketsphinx; expected"):
        kinds.KindModel.from_json(json.dumps(stored))


def test_saved_and_read_again_a_model_says_the_same(model: kinds.KindModel) -> None:
    rows = kinds.matrix([Pair("call anna", "call hannah", 0.0, 5.0, "sorry"), Pair("stop", "play", 1.0, 90.0)])
    again = kinds.KindModel.from_json(model.to_json())
    assert again == model
    assert np.array_equal(again.probabilities(rows), model.probabilities(rows))


@settings(max_examples=60, deadline=None)
@given(st.text(max_size=40), st.text(max_size=40), st.floats(-1e6, 1e6), st.text(max_size=40), st.none() | st.text())
def test_features_are_finite_and_named_alike_for_any_pair(
    a: str, b: str, gap: float, reply: str, near: str | None
) -> None:
    for english in (None, English(Tens())):
        found = features(Pair(a, b, 0.5, gap, reply, before=near, after=near), english)
        assert tuple(found) == NAMES
        assert np.all(np.isfinite(list(found.values())))


def test_alone_or_in_a_batch_a_pair_gets_the_same_probabilities(model: kinds.KindModel) -> None:
    pairs = [Pair(f"play song {n}", f"play songs {n}", n % 2, 10.0 * n, "sorry") for n in range(6)]
    together = model.probabilities(kinds.matrix(pairs))
    alone = np.vstack([model.probabilities(kinds.matrix([pair])) for pair in pairs])
    assert np.allclose(together, alone, atol=1e-12)
    assert np.allclose(together.sum(axis=1), 1)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=30))
def test_where_the_truth_is_certain_the_expected_macro_f1_is_the_macro_f1(rows: list[tuple[int, int]]) -> None:
    truth, guess = np.array(rows).T
    assert kinds.expected_macro_f1(np.eye(3)[truth], guess) == pytest.approx(kinds.macro_f1(truth, guess))


def test_which_correction_it_is_is_cut_by_probabilities_and_not_by_luck() -> None:
    rng = np.random.default_rng(1)
    share = rng.uniform(0.1, 0.6, 60)
    corrected = np.where(np.arange(60) % 2, 0.02, 0.95)
    found = np.stack([1 - corrected, corrected * (1 - share), corrected * share], axis=1)
    draws = [np.where(corrected > 0.5, 1 + (rng.random(60) < share), 0) for _ in range(8)]
    cuts = {kinds.best_cuts(found, labels)[1] for labels in draws}
    assert len(cuts) == 1
    assert max(cuts) > 1


def test_the_bench_scores_a_model_or_its_own_folds_but_never_a_model_on_its_training_pairs(
    tmp_path: Path, model_path: Path
) -> None:
    path = labelled(tmp_path / "pairs.parquet")
    scored = measure(path, model_path=model_path)
    assert scored["systems"]["reprise"]["f1"] == scored["f1"] > 0.9
    trained_here = measure(path, 3)
    assert "3 blocks of time" in trained_here["how"]
    assert list(trained_here["systems"]) == ["reprise", "rules", "not executed", "shipped"]
    assert trained_here["systems"]["shipped"] == scored["systems"]["shipped"]
    with pytest.raises(ValueError, match="was trained on"):
        measure(model_path.parent / "train.parquet", model_path=model_path)


def test_of_a_models_pairs_no_more_is_claimed_than_is_checked(tmp_path: Path, model_path: Path) -> None:
    path = labelled(tmp_path / "pairs.parquet")
    assert measure(path, model_path=model_path)["how"] == "kinds.json, which was trained on another file"
    stored = json.loads(model_path.read_text())
    (tmp_path / "silent.json").write_text(json.dumps({**stored, "trained_on": ""}))
    said = measure(path, model_path=tmp_path / "silent.json")["how"]
    assert said == "silent.json, which does not say what it was trained on"


@pytest.mark.parametrize("text", ["{}", "[]", '"trees"', "not json", json.dumps({"trees": "", "names": NAMES})])
def test_the_bench_refuses_what_is_no_model(tmp_path: Path, text: str) -> None:
    (tmp_path / "c.json").write_text(text)
    with pytest.raises(ValueError, match=r"c\.json: not a model of this kind \(.*\); was it written by another"):
        measure(labelled(tmp_path / "pairs.parquet"), model_path=tmp_path / "c.json")
    with pytest.raises(ValueError, match=r"none\.json: no such file"):
        measure(labelled(tmp_path / "pairs.parquet"), model_path=tmp_path / "none.json")


def test_a_kind_that_does_not_occur_is_no_part_of_the_macro_f1(tmp_path: Path, model_path: Path) -> None:
    table = pq.read_table(labelled(tmp_path / "all.parquet", 120))
    for gone in (["asr_correction"], ["asr_correction", "command_correction"]):
        kept = table.filter([label not in gone for label in table["label"].to_pylist()])
        pq.write_table(kept, tmp_path / "pairs.parquet")
        report = measure(tmp_path / "pairs.parquet", model_path=model_path)
        ours = report["systems"]["reprise"]
        assert not any(f"f1_{kind}" in ours for kind in gone)
        assert report["macro_f1"] == ours["macro_f1"] == 1.0
        assert report["f1"] == (1.0 if len(gone) == 1 else None)
    assert {name for name in ours if not name.startswith("f1_")} == {"macro_f1"}


def test_the_shipped_model_has_no_row_on_the_pairs_that_it_was_trained_on(
    tmp_path: Path, model_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = labelled(tmp_path / "pairs.parquet")
    fit_kinds(path, tmp_path / "shipped.json", 3, likeness=True)
    assert "shipped" in measure(path, model_path=model_path)["systems"]
    monkeypatch.setattr("mining.likeness_model.SHIPPED", tmp_path / "shipped.json")
    assert "shipped" not in measure(path, model_path=model_path)["systems"]
