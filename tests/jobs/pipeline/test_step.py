"""Steps: keyed by all they depend on, done once."""

from pathlib import Path

import pytest

from jobs.pipeline.step import Paths, Step, key_of, run_steps


def writes(text: str) -> Step:
    return Step("a", lambda folder, needs, scratch: (folder / "out").write_text(text) and None, {"text": text})


def joins(version: int = 1) -> Step:
    def do(folder: Path, needs: Paths, scratch: Path) -> None:
        (folder / "out").write_text((needs["a"] / "out").read_text() * 2)

    return Step("b", do, needs=("a",), version=version)


def test_a_change_upstream_changes_every_key_after_it(tmp_path: Path) -> None:
    one, other = (run_steps([writes(text), joins()], tmp_path) for text in ("x", "y"))
    assert one[1].key != other[1].key
    assert (one[1].folder / "out").read_text() == "xx"
    assert (other[1].folder / "out").read_text() == "yy"


def test_a_finished_step_is_skipped(tmp_path: Path) -> None:
    first, again = (run_steps([writes("x"), joins()], tmp_path) for _ in range(2))
    assert [d.skipped for d in first] == [False, False]
    assert [d.skipped for d in again] == [True, True]
    assert [d.folder for d in first] == [d.folder for d in again]


def test_a_new_version_of_a_step_is_another_step() -> None:
    assert key_of(joins(1), {"a": "0"}) != key_of(joins(2), {"a": "0"})


def test_a_step_that_fails_leaves_nothing_but_its_scratch(tmp_path: Path) -> None:
    def do(folder: Path, needs: Paths, scratch: Path) -> None:
        (folder / "half").write_text("x")
        (scratch / "checkpoint").write_text("1")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        run_steps([writes("x"), Step("b", do, needs=("a",))], tmp_path)
    assert sorted(p.name.split("-")[0] for p in tmp_path.iterdir()) == [".scratch", "a"]


def test_a_step_cannot_need_a_later_one(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        run_steps([joins(), writes("x")], tmp_path)
