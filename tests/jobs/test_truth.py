"""What counts as a right rewrite, and what is said of a truth file that does not fit."""

from pathlib import Path

import pytest

from jobs.truth import Deed, Want, read_oracle, read_truth, satisfied
from tests.jobs.worlds import truth_row, write, write_world

JAZZ = frozenset({("genre", "jazz")})


def test_another_intent_is_not_what_was_wanted() -> None:
    assert not satisfied("stop", Deed("stop", frozenset()), Want("play jazz", "music", "play_music", JAZZ))


def test_a_missing_slot_is_wrong_and_one_too_many_is_not() -> None:
    want = Want("play jazz", "music", "play_music", JAZZ)
    assert not satisfied("play", Deed("play_music", frozenset()), want)
    assert satisfied("play jazz loud", Deed("play_music", JAZZ | {("volume", "loud")}), want)


def test_half_of_the_wanted_slots_is_wrong() -> None:
    want = Want("play jazz in the kitchen", "music", "play_music", JAZZ | {("room", "kitchen")})
    assert not satisfied("play jazz", Deed("play_music", JAZZ), want)


def test_a_defect_of_another_cause_cannot_be_cured(tmp_path: Path) -> None:
    rows = [truth_row(f"i{n}", "stop", True, cause) for n, cause in enumerate(("misunderstood", "other"))]
    truth = read_truth(write(tmp_path / "t.parquet", rows), ["i0", "i1"])
    assert truth.defect.tolist() == [True, True]
    assert truth.curable.tolist() == [True, False]


def test_without_causes_every_defect_can_be_cured(tmp_path: Path) -> None:
    row = truth_row("i0", "stop", True, None)
    del row["cause"]
    assert read_truth(write(tmp_path / "t.parquet", [row]), ["i0"]).curable.tolist() == [True]


def test_a_text_that_nobody_knows_is_wrong() -> None:
    assert not satisfied("play jazz", None, Want("play jazz", "music", "play_music", JAZZ))


def test_a_plain_command_needs_its_intent_only() -> None:
    assert satisfied("be quiet", Deed("stop", frozenset()), Want("stop", "audio", "stop", frozenset()))


@pytest.mark.parametrize(("text", "right"), [("who wrote it", True), ("who is he", False)])
def test_a_question_without_slots_needs_half_of_its_words(text: str, right: bool) -> None:
    want = Want("who wrote hamlet play", "qa", "ask", frozenset())
    assert satisfied(text, Deed("ask", frozenset()), want) is right


def test_truth_is_read_in_the_order_of_the_turns(tmp_path: Path) -> None:
    write_world(tmp_path, turns=5)
    forward = read_truth(tmp_path / "truth.parquet", ["i0000", "i0003"])
    backward = read_truth(tmp_path / "truth.parquet", ["i0003", "i0000"])
    assert forward.wants == backward.wants[::-1]


def test_a_turn_without_truth_is_named(tmp_path: Path) -> None:
    write_world(tmp_path, turns=5)
    with pytest.raises(ValueError, match=r"1 of 2 turns .*i9999"):
        read_truth(tmp_path / "truth.parquet", ["i0000", "i9999"])


def test_a_missing_file_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no truth table; got .*none.parquet; expected"):
        read_truth(tmp_path / "none.parquet", [])


def test_a_table_with_other_columns_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", [{"interaction_id": "i", "wrong": 1}])
    with pytest.raises(
        ValueError, match=r"is no truth table; got columns interaction_id, wrong; expected also intended"
    ):
        read_truth(path, ["i"])
    with pytest.raises(ValueError, match="is no oracle table"):
        read_oracle(path)


def test_a_corrupt_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t.parquet").write_bytes(b"PAR1 and then nothing of use PAR1")
    with pytest.raises(ValueError, match=r"cannot read .*; is the file complete\?"):
        read_truth(tmp_path / "t.parquet", [])
