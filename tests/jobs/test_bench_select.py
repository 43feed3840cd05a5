"""`reprise bench select`: cells resume, sentences stay apart, the table has the keys that others read."""

import json
from pathlib import Path

import pytest

from jobs.bench import select_runs
from jobs.bench.select import select
from jobs.bench.select_report import report, table
from tests.jobs.nlu_files import stream_file, train_file

COMMON = {"budgets": "0.02,0.1", "without": "secret", "epochs": 2, "steps": 3}
STRATEGIES = "random,integrated gradients"


def measure(folder: Path, seeds: int, minutes: float | None = None, labels: str = "logged") -> dict[str, object]:
    out = folder / "rows.json"
    select(
        folder / "train.parquet", folder / "stream.parquet", out, folder / "work", seeds, strategies=STRATEGIES,
        labels=labels, ablations=False, minutes=minutes, plot=folder / "curve.svg", threads=1, **COMMON,
    )  # fmt: skip
    return dict(json.loads(out.read_text()))


def test_the_rows_have_what_other_programs_read(tmp_path: Path) -> None:
    train_file(tmp_path)
    stream_file(tmp_path)
    found = measure(tmp_path, seeds=2)
    rows = found["rows"]
    assert isinstance(rows, list)
    kinds = [("nothing", 0.0), *((s, b) for b in (0.02, 0.1) for s in ("random", "integrated gradients"))]
    assert [(r["strategy"], r["budget"]) for r in rows] == kinds
    assert all({"strategy", "budget", "semer_all", "semer_tail", "p_value", "seeds"} <= r.keys() for r in rows)
    assert found["seeds_done"] == 2
    assert (tmp_path / "curve.svg").exists()

    cells = (tmp_path / "work" / "cells.jsonl").read_text().splitlines()
    assert len(cells) == 10
    # a torn last line is done again, the others are kept as they are
    (tmp_path / "work" / "cells.jsonl").write_text("\n".join([*cells[:-1], cells[-1][:20]]) + "\n")
    again = measure(tmp_path, seeds=2)["rows"]
    assert isinstance(again, list)
    assert sorted(r["semer_all"] for r in again) == pytest.approx(sorted(r["semer_all"] for r in rows), abs=0.02)
    assert len((tmp_path / "work" / "cells.jsonl").read_text().splitlines()) == 11


def test_time_up_reports_what_was_run(tmp_path: Path) -> None:
    train_file(tmp_path)
    stream_file(tmp_path)
    found = measure(tmp_path, seeds=3, minutes=0.0)
    assert found["rows"] == []
    assert found["seeds_done"] == 0


def test_a_sentence_is_in_one_part_only() -> None:
    traffic = [{"sentence_id": n // 3, "recognised": f"t{n}"} for n in range(300)]
    parts = select_runs.split(traffic, "recognised", seed=0)
    ids = [{row["sentence_id"] for row in part} for part in parts]
    assert sum(map(len, parts)) == 300
    assert not ids[0] & (ids[1] | ids[2])
    assert not ids[1] & ids[2]
    assert select_runs.split(traffic, "recognised", seed=1)[0] != parts[0]


def test_a_change_of_the_code_is_another_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    train_file(tmp_path)
    stream_file(tmp_path)
    settings = select_runs.Settings(
        tmp_path / "train.parquet", tmp_path / "stream.parquet", tmp_path, 1, (0.1,), ("random",), None, "logged", 1, 1,
        None, 1,
    )  # fmt: skip
    names = [name for name, _ in select_runs.code()]
    assert {"selection/training.py", "selection/strategies.py", "jobs/nlu.py", "rewrite/text.py"} <= set(names)
    before = settings.key()
    assert settings.key() == before
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("a = 1")
    same = select_runs.code(tmp_path)
    (tmp_path / "selection" / "model.py").write_text("a = 2")
    changed = [new[0] for new, old in zip(select_runs.code(tmp_path), same, strict=True) if new != old]
    assert changed == ["selection/model.py"]
    monkeypatch.setattr(select_runs, "code", lambda: same)
    assert settings.key() != before


def cell(seed: int, strategy: str, budget: float, all_: float) -> dict[str, object]:
    same = {"added": 1, "semer_tail": all_, "intent_accuracy": 0.5, "candidates": 9, "label_accuracy": 0.9, "judged": 5}
    return {"seed": seed, "strategy": strategy, "budget": budget, "semer_all": all_, **same}


def test_p_values_are_paired_by_seed() -> None:
    facts = {"train": "t", "stream": "s", "train_rows": 3}
    cells = []
    for seed in range(10):
        cells += [cell(seed, "nothing", 0.0, 0.5 + seed / 100), cell(seed, "random", 0.01, 0.49 + seed / 100)]
        cells += [cell(seed, "integrated gradients", 0.01, 0.48 + seed / 100)]
    cells.append(cell(11, "random", 0.01, 0.0))  # a seed without its pair does not count
    found = report(cells, facts)
    random, ours = found["rows"][1:]
    assert random["p_value"] == pytest.approx(1 / 1024)
    assert ours["p_value"] == pytest.approx(1 / 1024)
    assert random["seeds"] == 10
    assert ours["change_all"] == pytest.approx(-0.0367, abs=1e-3)
    assert found["rows"][0]["p_value"] is None
    assert "integrated gradients" in table(found)


def test_unknown_strategies_and_budgets_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown strategies"):
        select_runs.known("hope", False)
    with pytest.raises(ValueError, match="numbers with commas"):
        select_runs.numbers("a,b")
