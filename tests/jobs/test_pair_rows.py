"""Files of labelled pairs: their form, and what is said where they have another."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.correction_pairs import read_pairs
from jobs.pair_rows import HELP, LABELS
from mining import kinds

ROW: dict[str, Any] = {
    "first": "call anna",
    "response": "sorry",
    "second": "call hannah",
    "executed": False,
    "gap_s": 4.0,
    "label": "asr_correction",
}


def write(path: Path, *rows: dict[str, Any]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(list(rows)), path)
    else:
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_neighbouring_rows_that_share_a_request_are_one_window(tmp_path: Path) -> None:
    said = [("a", "b"), ("b", "c"), ("x", "y")]
    path = write(tmp_path / "pairs.parquet", *({**ROW, "first": a, "second": b} for a, b in said))
    pairs, _ = read_pairs(path)
    assert [(p.before, p.after) for p in pairs] == [(None, "c"), ("a", None), (None, None)]


def test_parquet_and_json_lines_say_the_same(tmp_path: Path) -> None:
    rows = [{**ROW, "executed": executed, "label": label} for executed, label in zip((0, 1, 0.25), LABELS, strict=True)]
    (pairs, labels), (again, same) = (read_pairs(write(tmp_path / f"pairs.{e}", *rows)) for e in ("parquet", "jsonl"))
    assert pairs == again
    assert labels.tolist() == same.tolist() == [0, 1, 2]


def test_null_is_what_nobody_knows(tmp_path: Path) -> None:
    unknown = {**ROW, "second": "call anna", "executed": None, "gap_s": None, "response": None}
    known = {**unknown, "executed": 0.5, "gap_s": -3.0, "response": ""}
    pairs, _ = read_pairs(write(tmp_path / "pairs.jsonl", ROW, unknown, ROW, unknown))
    same, _ = read_pairs(write(tmp_path / "same.jsonl", ROW, known, ROW, known))
    assert pairs == same
    assert (pairs[1].executed, pairs[1].gap_s, pairs[1].response) == (0.5, -1.0, "")
    assert (pairs[2].before_executed, pairs[2].before_gap_s) == (0.5, -1.0)
    lines = [ROW, {name: ROW[name] for name in ("first", "second", "label")}]
    assert read_pairs(write(tmp_path / "lines.jsonl", *lines))[0][1].executed == 0.5


@pytest.mark.parametrize(
    ("column", "value", "got"),
    [
        ("first", None, "got None; expected the text of a request"),
        ("second", "  ", "got '  '; expected the text of the next request"),
        ("response", 7, "got 7; expected the assistant's reply as text, or null"),
        ("executed", "no", "got 'no'; expected true, false, a probability from 0 to 1"),
        ("executed", 2, "got 2; expected true, false, a probability from 0 to 1"),
        ("gap_s", "soon", "got 'soon'; expected seconds as a number"),
        ("gap_s", float("inf"), "got inf; expected seconds as a number"),
        ("label", "new", f"got 'new'; expected one of {', '.join(LABELS)}"),
        ("label", None, f"got None; expected one of {', '.join(LABELS)}"),
    ],
)
def test_a_value_of_another_form_is_named_with_its_row(tmp_path: Path, column: str, value: Any, got: str) -> None:
    bad = {**ROW, column: value}
    with pytest.raises(ValueError, match=rf"pairs\.jsonl: {column} of row 2 is not of the form; {got}"):
        read_pairs(write(tmp_path / "pairs.jsonl", ROW, bad, ROW))
    with pytest.raises(ValueError, match=rf"{column} of row 2 \(and of 1 more of 3 rows\) is not of the form; {got}"):
        read_pairs(write(tmp_path / "pairs.jsonl", ROW, bad, bad))


def test_what_is_no_such_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(pa.table({"first": ["a"]}), tmp_path / "pairs.parquet")
    with pytest.raises(ValueError, match="missing response, second, executed, gap_s, label; got first; expected first"):
        read_pairs(tmp_path / "pairs.parquet")
    with pytest.raises(ValueError, match="no such file; expected parquet or JSON lines"):
        read_pairs(tmp_path / "nothing.parquet")
    with pytest.raises(ValueError, match="a folder; expected one file of labelled pairs"):
        read_pairs(tmp_path)
    (tmp_path / "pairs.csv").write_text("first,second\n")
    with pytest.raises(ValueError, match=r"pairs\.csv cannot be read .* expected parquet, or JSON lines named \.jsonl"):
        read_pairs(tmp_path / "pairs.csv")
    pq.write_table(pa.Table.from_pylist([ROW]).slice(0, 0), tmp_path / "empty.parquet")
    with pytest.raises(ValueError, match=r"empty\.parquet: no rows; expected labelled pairs"):
        read_pairs(tmp_path / "empty.parquet")


def test_the_help_names_every_label() -> None:
    assert LABELS == kinds.CLASSES
    assert all(label in HELP for label in kinds.CLASSES)
