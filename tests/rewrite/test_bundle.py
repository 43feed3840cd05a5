"""Bundles: whole or not at all, verified before use, never changed in place."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from rewrite.bundle import BundleError, load, pack, verify
from rewrite.rewriter import Rewriter


def write(folder: Path) -> None:
    (folder / "deep").mkdir()
    (folder / "a.txt").write_text("alpha")
    (folder / "deep" / "b.bin").write_bytes(bytes(range(9)))


def write_nothing(folder: Path) -> None:
    pass


@pytest.fixture
def copy(bundle: Path, tmp_path: Path) -> Path:
    """The learned bundle, to be damaged."""
    return Path(shutil.copytree(bundle, tmp_path / "copy"))


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "pattern",
    [
        "model/*.safetensors",
        "model/config.json",
        "global/utterances.marisa",
        "global/*.parquet",
        "global/trie/*",
        "personal/shard-*.marisa",
        "decision/decision.json",
        "decision/fail.txt",
        "decision/*.safetensors",
        "README.md",
    ],
)
def test_a_flipped_bit_is_found_and_its_file_named(pattern: str, copy: Path) -> None:
    path = next(p for p in sorted(copy.glob(pattern)) if p.stat().st_size)
    flip(path)
    with pytest.raises(BundleError, match=f"corrupt: {path.relative_to(copy)} has sha256"):
        Rewriter.load(copy)


def test_every_file_of_a_learned_bundle_is_checked(bundle: Path) -> None:
    files = {str(p.relative_to(bundle)) for p in bundle.rglob("*") if p.is_file()}
    assert set(verify(bundle)["files"]) == files - {"manifest.json"}
    assert not [name for name in files if name.endswith((".pkl", ".pickle", ".pt", ".bin"))]


@pytest.mark.parametrize("name", ["model/config.json", "personal/shard-003.marisa", "decision/right.txt"])
def test_a_missing_file_is_named(name: str, copy: Path) -> None:
    (copy / name).unlink()
    with pytest.raises(BundleError, match=f"misses {name}"):
        load(copy)


@pytest.mark.parametrize("how", ["longer", "shorter", "empty"])
def test_a_file_of_another_length_is_corrupt(how: str, tmp_path: Path) -> None:
    pack(tmp_path / "b", write, {})
    content = {"longer": "alphabet", "shorter": "alph", "empty": ""}[how]
    (tmp_path / "b" / "a.txt").write_text(content)
    with pytest.raises(BundleError, match=r"corrupt: a\.txt"):
        verify(tmp_path / "b")


def test_a_file_too_many_is_refused(tmp_path: Path) -> None:
    pack(tmp_path / "b", write, {})
    (tmp_path / "b" / "deep" / "c.bin").write_text("smuggled in")
    with pytest.raises(BundleError, match=r"deep/c\.bin"):
        verify(tmp_path / "b")


@pytest.mark.parametrize(
    "manifest", [None, "", "{", "[]", "null", "{}", '{"format": 1}', '{"format": 99, "files": {}}', "\x00\xff"]
)
def test_a_folder_that_is_no_bundle_is_refused(manifest: str | None, tmp_path: Path) -> None:
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(BundleError, match=r"is not a bundle|has bundle format 99"):
        Rewriter.load(tmp_path)
    with pytest.raises(BundleError, match="is not a bundle"):
        Rewriter.load(tmp_path / "nothing here")


@pytest.mark.parametrize("there", ["bundle", "file", "empty folder"])
def test_nothing_is_packed_over_what_exists(there: str, tmp_path: Path) -> None:
    out = tmp_path / "out"
    if there == "bundle":
        pack(out, write, {"n": 1})
    elif there == "file":
        out.write_text("mine")
    else:
        out.mkdir()
    before = {str(p): p.read_bytes() if p.is_file() else None for p in sorted(tmp_path.rglob("*"))}
    with pytest.raises(FileExistsError, match="never changed in place"):
        pack(out, write, {"n": 2})
    assert {str(p): p.read_bytes() if p.is_file() else None for p in sorted(tmp_path.rglob("*"))} == before


def test_a_failing_write_leaves_nothing_behind(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        pack(tmp_path / "out", fail, {})
    assert list(tmp_path.iterdir()) == []
    pack(tmp_path / "out", write, {})
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_facts_that_are_no_json_leave_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        pack(tmp_path / "out", write, {"when": object()})
    assert list(tmp_path.iterdir()) == []


def test_the_same_content_has_the_same_id_and_other_content_another(tmp_path: Path) -> None:
    def renamed(folder: Path) -> None:
        write(folder)
        (folder / "a.txt").rename(folder / "c.txt")

    def altered(folder: Path) -> None:
        write(folder)
        (folder / "a.txt").write_text("alphb")

    writers: list[Any] = [write, write, renamed, altered, write_nothing]
    ids = [pack(tmp_path / str(row), w, {"row": row}) for row, w in enumerate(writers)]
    assert ids[0] == ids[1]
    assert len(set(ids)) == 4
    manifest = json.loads((tmp_path / "1" / "manifest.json").read_text())
    assert manifest["id"] == ids[1]
    assert manifest["row"] == 1
    assert verify(tmp_path / "1") == manifest


def test_a_bundle_may_be_moved(tmp_path: Path) -> None:
    bundle_id = pack(tmp_path / "new folder" / "b", write, {})
    (tmp_path / "new folder").rename(tmp_path / "moved")
    assert verify(tmp_path / "moved" / "b")["id"] == bundle_id
