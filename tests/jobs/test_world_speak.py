"""The speech job: its plan is fixed by the seed, whatever was spoken before, and its rows become one table."""

import json
import shutil
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.world.recordings import gather, read
from jobs.world.speak import SECOND_TAKE_SHARE, VOICES, catalogue_texts, plan, speak, texts_of
from jobs.world.tables import write


def test_every_text_is_spoken_once_by_each_voice_and_some_once_more() -> None:
    texts = catalogue_texts()
    takes = Counter(recording.take for recording in plan(texts, VOICES, 0))
    assert takes[0] == len(texts) * len(VOICES)
    assert takes[1] / len(texts) == pytest.approx(SECOND_TAKE_SHARE, abs=0.04)
    keys = [recording.key for recording in plan(texts, VOICES, 0)]
    assert len(set(keys)) == len(keys)


def test_a_recording_does_not_depend_on_its_neighbours() -> None:
    texts = catalogue_texts()
    all_of_them = set(plan(texts, VOICES, 0))
    assert set(plan(texts[5:9], VOICES, 0)) <= all_of_them


def test_texts_come_from_parquet_and_lines_once_each_in_an_order_of_their_own(tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [f"play song {n}" for n in range(30)]}), tmp_path / "a.parquet")
    (tmp_path / "b.txt").write_text("stop\n\nplay song 3 \n")
    found = texts_of([tmp_path / "a.parquet", tmp_path / "b.txt"])
    assert sorted(found) == sorted({*(f"play song {n}" for n in range(30)), "stop"})
    assert found != sorted(found)
    assert found == texts_of([tmp_path / "b.txt", tmp_path / "a.parquet"])


def test_of_a_recording_made_twice_the_first_is_kept() -> None:
    row = {"text": "a", "voice": "slt", "take": 0, "stretch": 1.0, "snr_db": 30.0, "confidence": 0.1}
    lines = [
        {**row, "recognised": "first", "nbest": ["first", ""]},
        {**row, "recognised": "second", "nbest": ["second"]},
        {**row, "take": 1, "recognised": "", "nbest": []},
    ]
    found = gather(lines).to_pylist()
    assert [(entry["recognised"], entry["nbest"]) for entry in found] == [("first", ["first"])]


@pytest.mark.skipif(shutil.which("flite") is None, reason="needs the Debian package flite")
def test_speech_is_16_khz_samples_and_the_same_each_time(tmp_path: Path) -> None:
    recording = next(iter(plan(["play jazz"], ("slt",), 0)))
    first, second = speak(recording, tmp_path), speak(recording, tmp_path)
    assert first.dtype == np.int16
    assert len(first) > 8000
    assert (first == second).all()


def test_a_table_made_before_is_read_as_its_lines_were(tmp_path: Path) -> None:
    line = {"text": "a", "voice": "slt", "take": 0, "stretch": 1.25, "snr_db": 30.5, "confidence": 0.125}
    lines = [{**line, "recognised": "b", "nbest": ["b", "c"]}]
    (tmp_path / "a.jsonl").write_text(json.dumps(lines[0]) + "\n")
    write(gather(lines), tmp_path / "a.parquet")
    assert read(tmp_path / "a.parquet") == read(tmp_path / "a.jsonl") == lines
