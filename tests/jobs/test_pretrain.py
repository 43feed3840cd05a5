"""The base model's script on a handful of pairs."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.base import held_out
from jobs.pretrain import corpus_of, own_pairs, pretrain, read_pairs, read_recordings, read_texts, spoken_form
from rewrite.generator import Generator


def test_spoken_form_is_what_a_recogniser_would_write() -> None:
    assert spoken_form("Add “Eggs, milk” — to Tom’s list!") == "add eggs milk to tom's list"


def test_pairs_heard_right_and_texts_too_long_are_left_out() -> None:
    corpus = corpus_of([("Stop!", "stop"), ("top", "stop"), ("top", "stop"), ("x", "y" * 200)], ["Play", "z" * 200])
    assert corpus.pairs == [("top", "stop", ())]
    assert corpus.texts == ["play", "stop"]


def test_recordings_of_the_demo_s_last_week_are_not_trained_on(tmp_path: Path) -> None:
    rows = [{"text": "stop", "take": take, "recognised": heard} for take, heard in ((0, "top"), (1, "shop"))]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "r.parquet")
    assert own_pairs(tmp_path / "r.parquet") == [("top", "stop")]


def test_recordings_give_all_that_was_heard_but_of_second_takes(tmp_path: Path) -> None:
    rows = [
        {"text": "stop", "take": 0, "recognised": "top", "nbest": ["top", "shop"]},
        {"text": "stop", "take": 1, "recognised": "stub", "nbest": []},
    ]
    path = tmp_path / "spoken.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert read_recordings(path) == [("top", "stop"), ("shop", "stop")]


def test_recordings_weigh_as_much_as_the_other_pairs_together() -> None:
    corpus = corpus_of([("top", "stop"), ("pay", "play")], [], [("a", "b"), ("c", "d"), ("e", "f"), ("top", "stop")])
    assert corpus.pairs[2:] == [("a", "b", ()), ("c", "d", ()), ("e", "f", ())]
    assert corpus.pair_weights.tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3, 2 / 3])
    assert "b" in corpus.texts


@pytest.mark.parametrize("line", ['{"text": "stop", "tak', '{"text": "stop", "take": 0}', "[1]"])
def test_a_line_that_is_no_recording_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "spoken.jsonl"
    path.write_text('{"text": "stop", "take": 0, "recognised": "top", "nbest": []}\n' + line)
    with pytest.raises(ValueError, match=r"spoken.jsonl:2 is no recording .*cut short"):
        read_recordings(path)


def test_texts_without_a_column_of_texts_are_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"words": ["stop"]}), tmp_path / "t.parquet")
    with pytest.raises(ValueError, match="has columns words; expected text or spoken"):
        read_texts(tmp_path / "t.parquet")


def test_a_base_model_is_written_and_can_be_loaded(tmp_path: Path) -> None:
    pretrain(tmp_path / "base", None, None, None, grammar_texts=0, steps=1, seed=0, threads=1, device="cpu")
    assert json.loads((tmp_path / "base" / "training.json").read_text())["steps"] == 1
    assert Generator.load(tmp_path / "base").log_probs("channel", ["stop"], ["top"]).shape == (1,)
    again = tmp_path / "again"
    pretrain(
        again, None, None, None, grammar_texts=0, start=tmp_path / "base", steps=1, seed=0, threads=1, device="cpu"
    )
    assert json.loads((again / "training.json").read_text())["start"]["steps"] == 1


def test_a_share_of_the_texts_is_kept_for_measuring() -> None:
    texts = [f"play song {number}" for number in range(4000)]
    assert 0.2 < sum(map(held_out, texts)) / len(texts) < 0.3
    assert held_out(texts[0]) == held_out(texts[0])


def test_pairs_are_told_apart_by_their_spoken_form(tmp_path: Path) -> None:
    pq.write_table(pa.table({"recognised": ["Add X!"], "spoken": ["Add “Eggs”"]}), tmp_path / "p.parquet")
    assert read_pairs(tmp_path / "p.parquet") == [("add x", "add eggs")]
