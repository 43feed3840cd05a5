"""An evaluation end to end on a made-up world."""

import json
from pathlib import Path
from shutil import copy

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jobs.cli import app
from jobs.evaluate import EvaluateConfig, cell, print_table, run
from jobs.evaluation import ALONE, read_decisions
from jobs.metrics import METRICS, Estimate
from tests.jobs.worlds import (
    GARBLED,
    oracle_rows,
    random_world,
    truth_row,
    turn_row,
    write,
    write_decisions,
    write_mined,
    write_world,
)
from tests.reference.scoring import score


def config(folder: Path, **more: object) -> EvaluateConfig:
    files = {"turns": folder / "turns.parquet", "truth": folder / "truth.parquet"}
    return EvaluateConfig(**files, **{"decisions": folder / "decisions.parquet", "draws": 50, **more})  # type: ignore[arg-type]


def all_cured(folder: Path, texts: list[str]) -> None:
    """Garbled texts, each of another user, and decisions that cure them all."""
    write(folder / "turns.parquet", [turn_row(n, f"u{n}", t) for n, t in enumerate(texts)])
    truth = [truth_row(f"i{n:04d}", GARBLED[t], True, "misunderstood") for n, t in enumerate(texts)]
    write(folder / "truth.parquet", truth)
    write_decisions(folder / "decisions.parquet", [GARBLED[t] for t in texts])


@pytest.mark.parametrize("seed", range(5))
def test_every_number_is_that_of_the_obvious_scorer(tmp_path: Path, seed: int) -> None:
    write_world(tmp_path, seed, turns=200)
    logged, truth, made = random_world(seed, 200)
    expected = score([t["utterance"] for t in logged], made, truth, {r["text"]: r for r in oracle_rows()})
    found = run(config(tmp_path, oracle=tmp_path / "oracle.parquet")).ours.estimates
    assert {m: found[m].value for m in METRICS} == pytest.approx(expected)


def test_without_an_oracle_right_means_the_intended_text(tmp_path: Path) -> None:
    write(tmp_path / "turns.parquet", [turn_row(0, "u", "stob"), turn_row(1, "u", "stob")])
    write(tmp_path / "truth.parquet", [truth_row(f"i000{n}", "stop", True, "misunderstood") for n in (0, 1)])
    write_decisions(tmp_path / "decisions.parquet", ["stop", "be quiet"])
    evaluation = run(config(tmp_path))
    assert evaluation.judged_by == "intended"
    assert evaluation.ours.outcomes.right.tolist() == [True, False]


def test_a_rewrite_equal_to_the_query_is_no_rewrite(tmp_path: Path) -> None:
    write(tmp_path / "turns.parquet", [turn_row(0, "u", "Stop "), turn_row(1, "u", "stop")])
    write(tmp_path / "truth.parquet", [truth_row(f"i000{n}", "stop", False, None) for n in (0, 1)], cause=pa.string())
    write_decisions(tmp_path / "decisions.parquet", ["stop", "stop"])
    assert run(config(tmp_path)).ours.estimates["trigger_rate"].value == 0


def test_reference_rows_stand_beside_ours(tmp_path: Path) -> None:
    write_world(tmp_path)
    mined = write_mined(tmp_path / "mined")
    evaluation = run(config(tmp_path, mined=mined, json_out=tmp_path / "e.json"))
    written = json.loads((tmp_path / "e.json").read_text())
    assert list(written["systems"])[:2] == ["reprise", "nothing"]
    assert len(evaluation.systems) == 7
    assert set(written["systems"]["reprise"]) == set(METRICS)
    assert written["systems"]["nothing"]["precision"]["value"] is None


def test_two_runs_write_the_same_numbers(tmp_path: Path) -> None:
    write_world(tmp_path)
    for name in ("a.json", "b.json"):
        run(config(tmp_path, json_out=tmp_path / name, seed=3))
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()


def test_the_lead_over_the_best_reference_is_negative_where_ours_cures_more(tmp_path: Path) -> None:
    all_cured(tmp_path, list(GARBLED) * 10)
    lead = run(config(tmp_path)).lead()
    assert lead is not None
    assert lead.high < 0


def test_ours_without_the_session_is_no_reference_however_good(tmp_path: Path) -> None:
    texts = list(GARBLED)
    all_cured(tmp_path, texts)
    alone = read_decisions(tmp_path / "decisions.parquet", [f"i{n:04d}" for n in range(len(texts))])
    evaluation = run(config(tmp_path), {ALONE: alone})
    assert [s.name for s in evaluation.systems] == ["reprise", "nothing", ALONE]
    assert evaluation.best_reference is not None
    assert evaluation.best_reference.name == "nothing"


def two_decisions(folder: Path) -> None:
    """Ours cure every turn, yesterday.parquet every other one."""
    texts = list(GARBLED) * 10
    all_cured(folder, texts)
    write_decisions(folder / "yesterday.parquet", [GARBLED[t] if n % 2 else None for n, t in enumerate(texts)])


def test_other_decisions_are_compared_with_ours_and_are_no_reference(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    two_decisions(tmp_path)
    files = {"json_out": tmp_path / "e.json", "html_out": tmp_path / "e.html"}
    evaluation = run(config(tmp_path, beside=(tmp_path / "yesterday.parquet",), **files))
    assert [s.name for s in evaluation.systems] == ["reprise", "nothing", "yesterday"]
    assert evaluation.best_reference is not None
    assert evaluation.best_reference.name == "nothing"
    assert evaluation.leads()["yesterday"].value == pytest.approx(-0.5)
    written = json.loads((tmp_path / "e.json").read_text())
    assert written["cpdr_change_minus_beside"]["yesterday"]["value"] == pytest.approx(-0.5)
    assert "ours minus that of <b>yesterday</b>" in (tmp_path / "e.html").read_text()
    print_table(evaluation)
    assert "CPDR change, ours minus yesterday: −50.0 points" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["reprise", "nothing"])
def test_other_decisions_named_like_another_row_are_refused(tmp_path: Path, name: str) -> None:
    two_decisions(tmp_path)
    (tmp_path / "yesterday.parquet").rename(tmp_path / f"{name}.parquet")
    with pytest.raises(ValueError, match=f"two rows would be named {name}"):
        run(config(tmp_path, beside=(tmp_path / f"{name}.parquet",)))


def test_the_same_decisions_beside_twice_are_refused(tmp_path: Path) -> None:
    two_decisions(tmp_path)
    yesterday = tmp_path / "yesterday.parquet"
    with pytest.raises(ValueError, match="two rows would be named yesterday"):
        run(config(tmp_path, beside=(yesterday, yesterday)))
    ids = pq.read_table(yesterday)["interaction_id"].to_pylist()
    with pytest.raises(ValueError, match="two rows would be named yesterday"):
        run(config(tmp_path, beside=(yesterday,)), {"yesterday": read_decisions(yesterday, ids)})


def test_the_command_compares_as_often_as_it_is_told(tmp_path: Path) -> None:
    two_decisions(tmp_path)
    copy(tmp_path / "yesterday.parquet", tmp_path / "older.parquet")
    given = {name: str(tmp_path / f"{name}.parquet") for name in ("turns", "truth", "decisions", "yesterday", "older")}
    options = ["--truth", given["truth"], "--decisions", given["decisions"], "--draws", "10"]
    beside = ["--beside", given["yesterday"], "--beside", given["older"]]
    found = CliRunner().invoke(app, ["evaluate", given["turns"], *options, *beside])
    assert found.exit_code == 0
    assert "ours minus yesterday: −50.0 points" in found.output
    assert "ours minus older: −50.0 points" in found.output


def test_neither_bundle_nor_decisions_is_an_error(tmp_path: Path) -> None:
    write_world(tmp_path)
    with pytest.raises(ValueError, match="neither --bundle nor --decisions"):
        run(config(tmp_path, decisions=None))


def test_a_log_without_rows_is_an_error(tmp_path: Path) -> None:
    write_world(tmp_path)
    pq.write_table(pq.read_table(tmp_path / "turns.parquet").slice(0, 0), tmp_path / "turns.parquet")
    with pytest.raises(ValueError, match="got no rows"):
        run(config(tmp_path))


def test_a_folder_that_is_no_mining_run_is_an_error(tmp_path: Path) -> None:
    write_world(tmp_path)
    with pytest.raises(FileNotFoundError, match="no table turns"):
        run(config(tmp_path, mined=tmp_path))


def test_decisions_that_miss_a_turn_are_refused(tmp_path: Path) -> None:
    path = write_decisions(tmp_path / "d.parquet", [None, "stop"])
    with pytest.raises(ValueError, match=r"1 of 3 turns .*i0007"):
        read_decisions(path, ["i0000", "i0001", "i0007"])


def test_decisions_that_decide_a_turn_twice_are_refused(tmp_path: Path) -> None:
    path = write_decisions(tmp_path / "d.parquet", [None, "stop"])
    once = pq.read_table(path)
    pq.write_table(pa.concat_tables([once, once]), path)
    with pytest.raises(ValueError, match="got 4 rows of 2 interaction ids; expected one row for each"):
        read_decisions(path, ["i0000", "i0001"])


def test_a_file_that_holds_no_decisions_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "d.parquet", [{"interaction_id": "i", "text": "x"}])
    with pytest.raises(ValueError, match="expected also rewrite"):
        read_decisions(path, ["i"])
    with pytest.raises(FileNotFoundError, match="no decisions"):
        read_decisions(tmp_path / "none.parquet", [])


def test_a_log_of_one_user_has_an_interval_of_no_width(tmp_path: Path) -> None:
    write(tmp_path / "turns.parquet", [turn_row(n, "u", "stob") for n in range(4)])
    write(tmp_path / "truth.parquet", [truth_row(f"i000{n}", "stop", True, "misunderstood") for n in range(4)])
    write_decisions(tmp_path / "decisions.parquet", ["stop", None, None, None])
    fixed = run(config(tmp_path)).ours.estimates["fixed"]
    assert (fixed.low, fixed.value, fixed.high) == (0.25, 0.25, 0.25)


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        ("precision", "25.0 % [20.0, 30.0]"),
        ("harm", "25.00 % [20.00, 30.00]"),
        ("cpdr_change", "+25.0 % [+20.0, +30.0]"),
    ],
)
def test_a_cell_shows_the_value_and_its_interval(metric: str, expected: str) -> None:
    assert cell(Estimate(0.25, 0.2, 0.3), metric) == expected


def test_a_metric_without_a_value_is_a_dash() -> None:
    nan = float("nan")
    assert cell(Estimate(nan, nan, nan), "precision") == "-"
