"""The quality bench on a handful of pairs: the task as its scorer draws it, and every row by hand."""

import json
from inspect import signature
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.base import held_out
from jobs.bench.pairs import PairTask, curve, left_alone, plain, scores
from jobs.bench.personal import surest
from jobs.bench.quality import _generator, quality
from jobs.bench.voicelogs import measure_voicelogs
from jobs.learn import LearnConfig
from jobs.pretrain import read_pairs
from jobs.references import Answers
from tests.rewrite.world import tiny_generator

ADJECTIVES, NOUNS = ("ancient", "silver", "golden", "broken"), ("bridges", "river", "morning", "street")
PLACES = [f"{a} {b}" for a in ADJECTIVES for b in NOUNS]
SPOKEN = [f"{verb} {place}" for verb in ("play", "find", "call") for place in PLACES]


def measure(**options: object) -> None:
    """The command with its own defaults, but one thread."""
    defaults = {name: p.default for name, p in signature(quality).parameters.items()}
    quality(**{**defaults, "threads": 1, **options})  # type: ignore[arg-type]


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    heard = [t.replace("e", "a").replace("play", "clay") for t in SPOKEN] + [t.replace("i", "ee") for t in SPOKEN]
    table = pa.table({"recognised": [*heard, SPOKEN[0]], "spoken": [*SPOKEN, *SPOKEN, SPOKEN[0]]})
    pq.write_table(table, tmp_path / "pairs.parquet")
    (tmp_path / "texts.txt").write_text("\n".join(["Stop!", *SPOKEN]) + "\n")
    return tmp_path / "pairs.parquet", tmp_path / "texts.txt"


def test_texts_are_compared_in_plain_form() -> None:
    assert plain("Play “Tom’s” song, < unk > 2x!") == "play tom's song 2x"


def test_a_query_of_the_catalogue_is_no_task(files: tuple[Path, Path]) -> None:
    task = PairTask.read(files[0], [files[1]], 1500)
    assert "stop" in task.texts
    assert not set(task.queries) & set(task.texts)
    assert set(task.meant) <= set(task.texts)
    assert task == PairTask.read(files[0], [files[1]], 1500)
    assert len(PairTask.read(files[0], [files[1]], 7).queries) == 7


def test_unseen_are_the_pairs_that_the_base_model_never_saw(tmp_path: Path) -> None:
    spoken = [f"play song {number}" for number in range(200)]
    pq.write_table(pa.table({"recognised": [f"{t} a" for t in spoken], "spoken": spoken}), tmp_path / "p.parquet")
    seen = {meant for heard, meant in read_pairs(tmp_path / "p.parquet") if not held_out(meant)}
    task = PairTask.read(tmp_path / "p.parquet", [], 1500, unseen=True)
    assert not set(task.meant) & seen
    assert len(task.meant) + len(seen) == 200


def test_a_failed_try_before_is_another_hearing_of_the_same_text() -> None:
    task = PairTask(("a", "b", "c"), ("x", "x", "y"), ("x", "y"))
    assert task.heard_before() == (("b",), ("a",), ())
    assert task.of([2]) == PairTask(("c",), ("y",), ("x", "y"))


def test_scores_count_the_surest_answers_first() -> None:
    task = PairTask(("a", "b", "c", "d"), ("w", "x", "y", "z"), ("w", "x", "y", "z"))
    answers = Answers(("w", "x", "q", None), np.array([0.9, 0.2, 0.5, 0.0]))
    found = scores(task, answers)
    assert found == {"p_at_1": 0.5, "precision_at_50": 0.5, "precision_at_70": 0.5, "precision_at_80": 2 / 3}
    assert curve(task, answers)[0] == (0.25, 1.0)


def test_left_alone_counts_what_stays_below_the_surest_share() -> None:
    present = np.linspace(0.1, 1.0, 10)
    assert left_alone(present, np.array([0.3, 0.39, 0.5, 0.9])) == 0.5


def test_every_row_is_measured_with_and_without_the_model(files: tuple[Path, Path], tmp_path: Path) -> None:
    tiny_generator().save(tmp_path / "model")
    measure(
        pairs=files[0], catalogue=[files[1]], model=str(tmp_path / "model"), sample=40, folds=3,
        json=tmp_path / "q.json", plot=tmp_path / "q.png",
    )  # fmt: skip
    report = json.loads((tmp_path / "q.json").read_text())
    rows = report["systems"]
    assert {"reprise", "reprise without the model", "channel without the ranker", "nearest text"} <= rows.keys()
    assert all(set(row) == {"p_at_1", "precision_at_50", "precision_at_70", "precision_at_80"} for row in rows.values())
    assert rows["nearest text"]["p_at_1"] > 0.8
    assert report["model"]
    assert report["context"]["queries"] > 0
    assert (tmp_path / "q.png").stat().st_size > 1000


def test_without_a_model_the_ranker_still_answers(files: tuple[Path, Path], tmp_path: Path) -> None:
    measure(pairs=files[0], catalogue=[files[1]], model="none", sample=30, folds=3, json=tmp_path / "q.json")
    report = json.loads((tmp_path / "q.json").read_text())
    assert not report["model"]
    assert report["systems"]["reprise"] == report["systems"]["reprise without the model"]


def test_the_model_that_is_named_is_taken_for_pairs_and_for_voice_logs(
    files: tuple[Path, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValueError, match="cannot load a generator from 'nowhere/model'"):
        measure(pairs=files[0], catalogue=[files[1]], model="nowhere/model")
    asked: list[LearnConfig] = []
    monkeypatch.setattr(
        "jobs.bench.voicelogs.measure_voicelogs", lambda logs, work, users, learning, done: asked.append(learning)
    )
    for model in (None, "none", "base"):
        measure(voicelogs=tmp_path, model=model)
        taken = _generator(model)
        assert (taken is None) == (model == "none")
    assert [learning.model for learning in asked] == [None, None, "base"]


def test_nothing_to_measure_is_an_error(files: tuple[Path, Path], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="nothing to measure: give --pairs"):
        measure()
    pq.write_table(pa.table({"text": ["a"]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="lacks recognised, spoken; got text"):
        PairTask.read(tmp_path / "t.parquet", [], 10)


def test_only_the_surest_answers_are_kept() -> None:
    found = surest(Answers(("a", "b", "c"), np.array([0.2, 0.9, 0.9])), 2)
    assert found.rewrites == (None, "b", "c")


def test_voice_logs_lacking_a_file_are_refused_by_its_name(tmp_path: Path) -> None:
    pq.write_table(pa.table({"interaction_id": ["a"]}), tmp_path / "history.parquet")
    with pytest.raises(FileNotFoundError, match=r"no future\.parquet in .*expected history\.parquet, future\.parquet"):
        measure_voicelogs(tmp_path, None, 5, LearnConfig())
