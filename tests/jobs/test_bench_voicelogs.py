"""The quality bench on voice logs: every row behind one protocol, and nothing made twice."""

import json
from collections.abc import Iterator, Sequence
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs import catalogue_references, learn, run_demo, simulate
from jobs.bench.settled import Settled, point_of, settle
from jobs.bench.voicelogs import Done, measure_voicelogs
from jobs.catalogue_references import FITTED
from jobs.evaluation import ALONE
from jobs.learn import LearnConfig
from jobs.operating_point import OperatingPoint
from jobs.references import Answers
from rewrite.encoder import EncoderConfig
from rewrite.judged import Judged, Want
from rewrite.spaces import Knowledge, KnownText, Personal
from rewrite.turn import Reading, Turn
from tests.jobs.test_bench_quality import measure
from tests.rewrite.world import SLOTS, SONGS, START, reading, turn_row, turn_rows, write_mined

pytest.importorskip("faiss")
pytest.importorskip("symspellpy")

LEARNING = LearnConfig(harm=1.0)
SIMPLE = {"nothing", "mined look-up, 1 user", "mined look-up, 2 users", "nearest global text > 80"}
SIMPLE |= {"nearest global text > 90", "own nearest > 80, else global"}


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    small = EncoderConfig(dimensions=32, buckets=4096, steps=20, groups=2, group=2)
    monkeypatch.setattr(catalogue_references, "ENCODER", small)


@pytest.fixture(scope="module")
def mined(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mined(tmp_path_factory.mktemp("world") / "mined", turn_rows())


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A day after the world's: misheard songs, of which one was never heard so before, and songs heard right."""
    folder = tmp_path_factory.mktemp("logs")
    said = [(heard, meant) for meant, heard in SONGS.items()] + [(meant, meant) for meant in SONGS]
    said += [("play golden warning", "play golden morning")]
    rows, truth = [], []
    for number, (heard, meant) in enumerate(said * 2):
        row = turn_row(number, f"u{number % 7:02d}", START + timedelta(days=10, hours=number), heard, heard != meant)
        rows.append(row)
        wrong = {"defect": heard != meant, "cause": "misunderstood" if heard != meant else None}
        truth.append({"interaction_id": row["interaction_id"], "intended": meant, **reading(meant), **wrong})
    oracle = [{"text": text, **reading(text)} for text in {*SONGS, *SONGS.values()}]
    write(folder / "history.parquet", rows)  # mined already
    write(folder / "future.parquet", [{k: v for k, v in r.items() if k != "defect_probability"} for r in rows])
    write(folder / "future_truth.parquet", truth)
    write(folder / "oracle.parquet", oracle)
    return folder


def write(path: Path, rows: list[dict[str, object]]) -> None:
    table = pa.Table.from_pylist(rows)
    pq.write_table(table.set_column(table.column_names.index("slots"), "slots", table["slots"].cast(SLOTS)), path)


@pytest.fixture(scope="module")
def bundle(mined: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("bundle") / "bundle"
    learn.run(mined, out, LEARNING)
    return out


def test_every_reference_stands_beside_ours_with_its_curve(
    logs: Path, mined: Path, bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    measure(voicelogs=logs, mined=mined, bundle=bundle, json=tmp_path / "q.json", plot=tmp_path / "q.png")
    report = json.loads((tmp_path / "q.json").read_text())["voicelogs"]
    rows = {"reprise", ALONE} | SIMPLE | set(FITTED)
    assert report["systems"].keys() == report["curves"].keys() == rows
    assert next(iter(report["systems"])) == "reprise"
    assert set(report["operating_points"]) == set(FITTED)
    assert report["systems"]["dense retrieval"]["fixed"]["value"] == 1  # four songs: the right one is the nearest
    assert report["curves"]["nothing"] == []
    personal = report["personal"]
    assert [row["least_confidence"] for row in personal] == sorted(row["least_confidence"] for row in personal)
    assert all(late["rewrites"] <= early["rewrites"] for early, late in pairwise(personal))
    assert personal[0]["precision"] == 1
    assert (tmp_path / "q.png").stat().st_size > 1000
    shown = capsys.readouterr().out
    assert all(name in shown for name in rows)
    assert "confidence from which a reference acts" in shown


def test_a_reference_acts_from_its_threshold_on_and_its_curve_goes_beyond() -> None:
    found = Answers(("a", "b", None), np.array([0.9, 0.4, 0.0]))
    settled = Settled(found, OperatingPoint(0.5, 1 / 3, 1.0, 0.0))
    assert settled.acting.rewrites == ("a", None, None)
    assert settled.found.rewrites == ("a", "b", None)


def test_a_threshold_rises_until_the_held_back_turns_come_to_no_harm(mined: Path) -> None:
    queries = [*SONGS.values(), *SONGS, "stob", ""]
    careful, careless = settle(mined, queries, harm_allowed=0.0), settle(mined, queries, harm_allowed=1.0)
    for name in FITTED:
        assert careful[name].point.threshold >= careless[name].point.threshold
        assert careful[name].point.harm == 0
        assert set(careful[name].acting.rewrites) <= set(careless[name].acting.rewrites)
        assert careful[name].acting.rewrites[:4] == tuple(SONGS)
        assert careful[name].acting.rewrites[4:8] == (None,) * 4  # a text that works is left alone


class Echo:
    """Answers every query with one text, always as sure."""

    def answer(self, queries: Sequence[str]) -> Answers:
        return Answers(("play silver river",) * len(queries), np.ones(len(queries)))


def test_a_rewrite_that_does_what_a_good_turn_wanted_is_no_harm() -> None:
    want = Reading.of(**{**reading("play silver river"), "slots": [("what", "silver river")]})
    known = KnownText("play silver river", want, 5, 5, 5, 1.0, 0.8)
    knowledge = Knowledge({known.text: known}, {}, {}, Personal({}))
    same = Judged(Turn("put on silver river"), 0.0, Want("put on silver river", want))
    other = Judged(Turn("stop"), 0.0, Want("stop", Reading.of("music", "stop", [])))
    assert point_of(Echo(), [same], knowledge, 0.0).precision == 1
    assert point_of(Echo(), [same, other], knowledge, 0.0).trigger_rate == 0
    assert point_of(Echo(), [same, other], knowledge, 0.5).harm == 0.5


def test_what_was_mined_and_learned_is_used_again(
    logs: Path, mined: Path, bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "bundle").symlink_to(bundle)
    monkeypatch.setattr(learn, "run", forbidden)
    first = measure_voicelogs(logs, tmp_path, 5, LEARNING, Done(mined))
    assert first == measure_voicelogs(logs, None, 5, LearnConfig(), Done(mined, bundle))
    with pytest.raises(ValueError, match="learned from another log or with other settings; choose another --work"):
        measure_voicelogs(logs, tmp_path, 5, LearnConfig(harm=0.5), Done(mined))


def forbidden(*_: object) -> None:
    raise AssertionError("learned again")


@pytest.fixture
def stopped() -> Iterator[None]:
    """Spark ends with the test that started it."""
    yield
    run_demo._stop_spark()


@pytest.mark.slow
@pytest.mark.usefixtures("stopped")
def test_one_command_runs_the_whole_loop_on_simulated_logs(tmp_path: Path) -> None:
    simulate.simulate(tmp_path, users=120, seed=7)
    measure(voicelogs=tmp_path, min_users=3, work=tmp_path / "work", json=tmp_path / "q.json")
    report = json.loads((tmp_path / "q.json").read_text())["voicelogs"]
    assert report["min_users"] == 3
    assert report["systems"]["reprise"]["fixed"]["value"] > 0
    assert report["turns"] == pq.read_metadata(tmp_path / "work" / "future.parquet").num_rows
