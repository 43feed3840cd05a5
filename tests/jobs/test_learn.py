"""Learning a bundle from mined tables, and deciding a file of turns with it."""

import json
import re
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from jobs.cli import command
from jobs.learn import LearnConfig, run
from jobs.rewrite import run as rewrite
from rewrite import Rewriter
from rewrite.bundle import BundleError, verify
from rewrite.cascade import Zone
from tests.rewrite.world import SONGS, table, tiny_generator, turn_rows, write_mined


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("start")
    tiny_generator().save(folder)
    return folder


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mined(tmp_path_factory.mktemp("world") / "mined", turn_rows())


@pytest.fixture(scope="module")
def bundle(mined: Path, start: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundles") / "first"
    run(mined, out, config(start))
    return out


def config(start: Path, seed: int = 0) -> LearnConfig:
    return LearnConfig(steps=2, model=str(start), harm=1.0, seed=seed, threads=1)


NO_MODEL = LearnConfig(model=None, harm=1.0, threads=1)


def test_learning_twice_with_one_seed_gives_one_bundle(mined: Path, start: Path, bundle: Path, tmp_path: Path) -> None:
    first = verify(bundle)
    assert run(mined, tmp_path / "again", config(start)) == first["id"]
    assert verify(tmp_path / "again")["files"] == first["files"]
    assert run(mined, tmp_path / "other", config(start, seed=1)) != first["id"]


def test_nothing_but_the_bundle_is_left(bundle: Path) -> None:
    assert [p.name for p in bundle.parent.iterdir()] == ["first"]


def test_each_phase_is_said_on_stderr_and_stdout_keeps_its_one_line(
    mined: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command()(["learn", str(mined), "--out", str(tmp_path / "b"), "--harm", "1"], standalone_mode=False)
    found = capsys.readouterr()
    phases = ("reading the tables", "learning what texts mean", "fitting the decision", "packing the bundle")
    told = [line for line in found.err.splitlines() if re.match(r" *\d+\.\d s  ", line)]
    assert [any(phase in line for line in told) for phase in phases] == [True] * 4
    assert found.out == f"bundle {verify(tmp_path / 'b')['id']} written to {tmp_path / 'b'}\n"


def test_the_manifest_says_what_was_learned_from_what(bundle: Path) -> None:
    manifest = verify(bundle)
    assert manifest["config"]["seed"] == 0
    assert manifest["data_window"]["first"].startswith("2024-03-01")
    assert manifest["figures"]["turns"] == 240
    assert (bundle / "README.md").read_text().startswith("# Bundle")


@pytest.mark.parametrize(("missed", "ask"), [(True, {"low": 0.2, "high": 0.4}), (False, {"low": 1.0, "high": -1.0})])
def test_a_generator_that_would_not_be_missed_is_never_asked(
    mined: Path, start: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, missed: bool, ask: dict[str, float]
) -> None:
    monkeypatch.setattr("rewrite.fitting.is_missed", lambda *_: missed)
    monkeypatch.setattr("rewrite.fitting.zone_of", lambda *_: Zone(0.2, 0.4))
    run(mined, tmp_path / "bundle", config(start))
    thresholds = json.loads((tmp_path / "bundle" / "decision" / "decision.json").read_text())["thresholds"]
    assert thresholds["ask"] == ask
    assert Rewriter.load(tmp_path / "bundle").rewrite("play alien bridges", asr_confidence=0.4).candidates


def test_a_bundle_without_a_generator_decides_too(mined: Path, tmp_path: Path) -> None:
    run(mined, tmp_path / "bundle", NO_MODEL)
    assert not (tmp_path / "bundle" / "model").exists()
    found = Rewriter.load(tmp_path / "bundle").rewrite("play alien bridges", asr_confidence=0.4)
    assert found.text == "play ancient bridges"


def test_an_unfinished_run_of_mining_is_refused(start: Path, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="nothing is there"):
        run(tmp_path / "nothing", tmp_path / "out", config(start))
    unfinished = write_mined(tmp_path / "mined", turn_rows(users=2))
    (unfinished / "_SUCCESS").unlink()
    with pytest.raises(FileNotFoundError, match="no _SUCCESS"):
        run(unfinished, tmp_path / "out", config(start))
    assert not (tmp_path / "out").exists()


def test_a_run_that_held_nothing_back_is_refused(tmp_path: Path) -> None:
    mined = write_mined(tmp_path / "mined", turn_rows(users=2))
    manifest = (mined / "manifest.json").read_text()
    (mined / "manifest.json").write_text(manifest.replace('"holdback_from": "2024-03-09T00:00:00+00:00"', '"x": 1'))
    with pytest.raises(ValueError, match="holds no turns back"):
        run(mined, tmp_path / "out", NO_MODEL)


def test_an_empty_global_space_is_refused(tmp_path: Path) -> None:
    mined = write_mined(tmp_path / "mined", turn_rows(users=2), utterances=table("utterances", []))
    with pytest.raises(ValueError, match="empty global space"):
        run(mined, tmp_path / "out", NO_MODEL)
    assert [p.name for p in tmp_path.iterdir()] == ["mined"]


def test_too_short_a_log_cannot_be_calibrated(tmp_path: Path) -> None:
    mined = write_mined(tmp_path / "mined", turn_rows(users=6))
    with pytest.raises(ValueError, match=r"got 6 failing and 18 good turns"):
        run(mined, tmp_path / "out", NO_MODEL)
    assert [p.name for p in tmp_path.iterdir()] == ["mined"]


def test_an_existing_bundle_is_never_overwritten(mined: Path, start: Path, bundle: Path) -> None:
    before = verify(bundle)
    with pytest.raises(FileExistsError, match="never changed in place"):
        run(mined, bundle, config(start))
    assert verify(bundle) == before


def write_log(path: Path) -> list[str]:
    rows = turn_rows(users=5)
    names = ["interaction_id", "user_id", "timestamp", "utterance", "asr_confidence", "domain", "intent", "slots"]
    pq.write_table(table("turns", rows).select(names), path)
    return [r["interaction_id"] for r in rows]


def test_every_turn_of_a_file_gets_one_decision_in_its_order(bundle: Path, tmp_path: Path) -> None:
    ids = write_log(tmp_path / "log.parquet")
    made = rewrite(tmp_path / "log.parquet", bundle, tmp_path / "deep" / "decisions.parquet", threads=1)
    found = pq.read_table(tmp_path / "deep" / "decisions.parquet")
    assert found.column_names == ["interaction_id", "rewrite", "source", "confidence", "reason"]
    assert found["interaction_id"].to_pylist() == ids
    assert found["rewrite"].to_pylist() == [d.text for d in made]
    assert set(found["rewrite"].to_pylist()) >= {None, *SONGS}
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["decisions.parquet"]


def test_a_damaged_bundle_decides_nothing(bundle: Path, tmp_path: Path) -> None:
    import shutil

    write_log(tmp_path / "log.parquet")
    shutil.copytree(bundle, tmp_path / "copy")
    (tmp_path / "copy" / "decision" / "fail.txt").unlink()
    with pytest.raises(BundleError, match=r"decision/fail\.txt"):
        rewrite(tmp_path / "log.parquet", tmp_path / "copy", tmp_path / "decisions.parquet")
    assert not (tmp_path / "decisions.parquet").exists()


@pytest.mark.parametrize("stale", ["model", "data"])
def test_a_checkpoint_left_by_other_inputs_does_not_leak_into_a_bundle(
    stale: str, mined: Path, start: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_start, other_mined = start, mined
    if stale == "model":
        tiny_generator(seed=9).save(tmp_path / "other start")
        other_start = tmp_path / "other start"
    else:
        rows = [r for r in turn_rows() if r["text"] not in ("stop", "play silver river")]
        other_mined = write_mined(tmp_path / "other mined", rows)

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("jobs.learn.fit_decision", die)
        with pytest.raises(KeyboardInterrupt):
            run(other_mined, tmp_path / "out", config(other_start))
    assert run(mined, tmp_path / "out", config(start)) == verify(bundle)["id"]
