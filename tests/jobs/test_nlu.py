"""`reprise nlu`, `select` and `retrain`, end to end on a small grammar."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import cli
from jobs.nlu import TrainOptions, run_training
from jobs.nlu_rows import hold_out, read_rows
from jobs.pretrained import load_model
from jobs.select import rows_to_pick
from rewrite.bundle import BundleError, verify
from selection.examples import Utterance
from tests.jobs.nlu_files import held_out_file, mined_folder, train_file, write_parquet


def call(*args: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(arg) for arg in args])
    return int(stopped.value.code or 0)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.parquet, held.parquet, mined/ and a trained bundle `base`."""
    folder = tmp_path_factory.mktemp("nlu")
    rows = read_rows(train_file(folder), without="secret")
    run_training(rows, folder / "base", TrainOptions(epochs=30, rate=5e-3, hold_out=0.3))
    held_out_file(folder)
    mined_folder(folder)
    return folder


def test_training_writes_a_verified_bundle_with_its_card(base: Path) -> None:
    manifest = verify(base / "base")
    assert manifest["kind"] == "nlu"
    assert manifest["intent_counts"]["light_on"] >= 3
    assert "SemER" in (base / "base" / "README.md").read_text()
    assert not list(base.glob(".base.checkpoints"))


def test_the_commands_train_and_evaluate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = train_file(tmp_path)
    trained = call("nlu", "train", rows, "--out", tmp_path / "b", "--epochs", 2, "--without", "secret", "--reference")
    assert trained == 0
    assert "TF-IDF + logistic regression" in capsys.readouterr().out
    picture, figures = tmp_path / "confusion.svg", tmp_path / "figures.json"
    told = ("--confusion", picture, "--of", "intent", "--json", figures, "--reference", rows)
    assert call("nlu", "evaluate", tmp_path / "b", rows, *told) == 0
    found = json.loads(figures.read_text())
    assert 0 <= found["figures"]["intent_accuracy"] <= 1
    assert found["reference"]["intent_accuracy"] > 0.5
    assert "light_off" in picture.read_text() or picture.stat().st_size > 5000


def test_the_same_seed_gives_the_same_bundle(tmp_path: Path) -> None:
    rows = read_rows(train_file(tmp_path), without="secret")
    ids = {run_training(rows, tmp_path / name, TrainOptions(epochs=1))["id"] for name in ("a", "b")}
    assert len(ids) == 1


def test_a_damaged_bundle_is_not_opened(base: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(base / "base", tmp_path / "base")
    weights = tmp_path / "base" / "model" / "nlu.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\xff")
    with pytest.raises(BundleError, match="corrupt"):
        load_model(tmp_path / "base")


def test_what_is_held_out_was_met_in_training() -> None:
    rows = [Utterance(f"t{n}", f"d{n % 7}", f"i{n % 7}") for n in range(50)]
    train, held = hold_out(rows, 0.5, 0)
    assert {u.intent for u in train} == {u.intent for u in rows}
    assert len(train) + len(held) == 50
    assert held


def test_a_file_without_the_columns_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_parquet(tmp_path / "x.parquet", [{"words": "a"}])
    assert call("nlu", "train", tmp_path / "x.parquet", "--out", tmp_path / "b") == 2
    assert "has no column text" in capsys.readouterr().err


def test_a_file_without_rows_is_told_as_such(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pq.write_table(
        pa.table({"text": pa.array([], pa.string()), "intent": pa.array([], pa.string())}), tmp_path / "x.parquet"
    )
    assert call("nlu", "train", tmp_path / "x.parquet", "--out", tmp_path / "b") == 2
    assert "x.parquet holds no rows; expected labelled rows" in capsys.readouterr().err


def test_slots_of_another_text_column_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"text": f"play {n}", "intent": "play", "slots": [{"name": "s", "value": "else"}]} for n in range(9)]
    write_parquet(tmp_path / "x.parquet", rows)
    assert call("nlu", "train", tmp_path / "x.parquet", "--out", tmp_path / "b") == 2
    assert "do not align" in capsys.readouterr().err


@pytest.mark.parametrize(("budget", "rows"), [(0.005, 5), (0.0001, 1), (0.9994, 999), (1, 1), (1.0, 1), (25, 25)])
def test_a_budget_is_a_share_below_one_and_a_number_of_rows_from_one_on(budget: float, rows: int) -> None:
    assert rows_to_pick(budget, 1000) == rows


@pytest.mark.parametrize("budget", [0, -1, 1.5, "nan", "inf"])
def test_a_budget_that_is_neither_share_nor_number_is_refused(
    budget: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = ("--model", tmp_path, "--held-out", tmp_path, "--out", tmp_path / "p.jsonl", "--budget", budget)
    assert call("select", tmp_path, *told) == 2
    assert f"no budget; got --budget {budget}; expected a share of the training rows" in capsys.readouterr().err


def test_select_and_retrain(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picked, page = tmp_path / "picked.jsonl", tmp_path / "picked.html"
    told = ("--model", base / "base", "--held-out", base / "held.parquet", "--out", picked, "--html", page)
    assert (
        call(
            "select",
            base / "mined",
            *told,
            "--budget",
            3,
            "--near-duplicate",
            1.1,
            "--per-intent",
            1,
            "--per-domain",
            1,
        )
        == 0
    )
    out = capsys.readouterr().out
    assert "heard with too little confidence" in out
    assert "no second turn of a reformulation" in out
    rows = [json.loads(line) for line in picked.read_text().splitlines()]
    blamed = {row["text"]: [word for word, _ in row["words"]] for row in rows}
    assert blamed.keys() <= {"hush", "turn it hush in the room"}
    assert {"turn", "in", "the"} & set(blamed["turn it hush in the room"])
    assert "completeness error" in page.read_text()

    new, report = tmp_path / "new", tmp_path / "gate.json"
    told = ("--model", base / "base", "--train", base / "train.parquet", "--without", "secret")
    told = (*told, "--held-out", base / "held.parquet", "--out", new, "--report", report, "--html", tmp_path / "r.html")
    code = call("retrain", picked, *told, "--steps", 60)
    verdict = json.loads(report.read_text())
    assert code == (0 if verdict["passed"] else 3)
    assert verdict["after"] < verdict["before"]
    assert code == 0
    manifest = verify(new)
    assert manifest["parents"] == [verify(base / "base")["id"]]
    assert manifest["added"] == len(rows)
    assert "Confusions before and after" in (tmp_path / "r.html").read_text()


def test_the_gate_keeps_the_old_model(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # what was asked of the model again and again, under a wrong label
    harmful = tmp_path / "harmful.jsonl"
    said = [
        {"text": f"play {n} by mika", "domain": "alarm", "intent": "alarm_stop", "slots": []}
        for n in ("hello", "red sun")
    ]
    harmful.write_text("".join(json.dumps(row) + "\n" for row in said))
    told = ("--model", base / "base", "--train", base / "train.parquet", "--held-out", base / "train.parquet")
    assert call("retrain", harmful, *told, "--out", tmp_path / "new") == 2  # nothing is left to rehearse
    held = write_parquet(
        tmp_path / "held.parquet",
        [
            {"text": f"put on {s} by adele now", "domain": "music", "intent": "play", "slots": []}
            for s in ("hello", "x", "y")
        ],
    )
    told = (*told[:4], "--held-out", held, "--out", tmp_path / "new", "--without", "secret")
    assert call("retrain", harmful, *told) == 3
    assert "the old model stays" in capsys.readouterr().out
    assert not (tmp_path / "new").exists()


def test_an_empty_candidate_set_says_why(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ("--model", base / "base", "--held-out", base / "held.parquet", "--out", tmp_path / "p.jsonl")
    assert call("select", base / "mined", *told, "--min-users", 50) == 2
    assert "too few users" in capsys.readouterr().err
    assert not (tmp_path / "p.jsonl").exists()


def test_an_unknown_strategy_is_refused(base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    told = ("--model", base / "base", "--held-out", base / "held.parquet", "--out", tmp_path / "p.jsonl")
    assert call("select", base / "mined", *told, "--strategy", "hope") == 2
    assert "unknown strategy 'hope'" in capsys.readouterr().err


def test_selected_rows_with_unknown_labels_are_refused(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "dance", "domain": "music", "intent": "dance", "slots": []}) + "\n")
    told = ("--model", base / "base", "--train", base / "train.parquet", "--held-out", base / "held.parquet")
    assert call("retrain", rows, *told, "--out", tmp_path / "new", "--without", "secret") == 2
    assert "unknown label intent dance" in capsys.readouterr().err
