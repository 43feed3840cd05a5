"""The decode benchmark: its rivals answer what they should, and its rows carry what other programs read."""

import json
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from jobs.bench import decode, decode_goals, rivals
from jobs.bench.decode_runs import misheard, read_texts
from rewrite.generator import Generator, GeneratorConfig
from rewrite.trie_build import Ragged
from tests.reference.brute_force import best_members
from tests.reference.dict_trie import DictTrie

torch.set_num_threads(1)
TEXTS = [
    "play jazz",
    "play jazz now",
    "play rock",
    "stop",
    "turn on the lights",
    "turn off the lights",
    "what time is it",
]


def _command() -> typer.Typer:
    app = typer.Typer()
    app.command()(decode.decode)
    return app


@pytest.fixture(scope="module")
def generator() -> Generator:
    shape = GeneratorConfig(d_model=16, encoder_layers=1, decoder_layers=1, heads=2, ffn_dim=16, max_positions=64)
    return Generator.build(shape, seed=0)


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("rival", [rivals.DictConstrained, rivals.MarisaConstrained, rivals.CsrConstrained])
def test_a_rival_with_a_beam_for_every_branch_finds_the_best_member(rival: Any, generator: Generator) -> None:
    members = [generator.vocabulary.target(text) for text in TEXTS]
    shape = rivals.Shape(generator.model, generator.vocabulary.eos_id, 7, max(map(len, members)))
    system = rival(shape, Ragged.of(members))
    ids, mask = generator.pad([generator.vocabulary.source("forward", text) for text in ("play jas", "lights of")])
    for row, answer in enumerate(system(ids, mask, 1)):
        length = int(mask[row].sum())
        best = best_members(generator.model, ids[row : row + 1, :length], mask[row : row + 1, :length], members, 1)
        assert list(answer) in members
        if rival is rivals.CsrConstrained:  # the others stop when enough beams have ended, not when the best has
            assert answer == best[0][0]


@pytest.mark.parametrize("length", [1, 2, 6])
def test_static_with_a_beam_for_every_branch_finds_the_best_member_of_one_length(
    length: int, generator: Generator
) -> None:
    rng = np.random.default_rng(length)
    members = [[*rng.integers(100, 103, length).tolist(), generator.vocabulary.eos_id] for _ in range(8)]
    shape = rivals.Shape(generator.model, generator.vocabulary.eos_id, 8, length + 1)
    system = rivals.StaticConstrained(shape, Ragged.of(members))
    ids, mask = generator.pad([generator.vocabulary.source("forward", text) for text in ("play jas", "lights of")])
    for row, answer in enumerate(system(ids, mask, 1)):
        size, one = int(mask[row].sum()), slice(row, row + 1)
        assert answer == best_members(generator.model, ids[one, :size], mask[one, :size], members, 1)[0][0]
    with pytest.raises(ValueError, match="members of one length"):
        rivals.StaticConstrained(shape, Ragged.of([*members, [5] * 9 + [generator.vocabulary.eos_id]]))


def test_the_flat_trie_has_the_members_of_nested_dicts() -> None:
    members = [[3, 4, 1], [3, 1], [3, 4, 5, 1], [5, 1]]
    flat, oracle = rivals.flat_trie(Ragged.of(members)), DictTrie(members)

    def walk(node: int, prefix: list[int]) -> list[list[int]]:
        found = []
        edges = range(int(flat.start[node]), int(flat.start[node + 1]))
        assert [int(flat.token[edge]) for edge in edges] == oracle.next_ids(prefix)
        for edge in edges:
            here, child = [*prefix, int(flat.token[edge])], int(flat.child[edge])
            found += [here] if child < 0 else walk(child, here)
        return found

    assert sorted(walk(0, [])) == oracle.members()


@pytest.mark.filterwarnings("ignore")
def test_rows_carry_what_other_programs_read(generator: Generator, tmp_path: Path) -> None:
    generator.save(tmp_path / "model")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    arguments = ["--sizes", "3,12", "--batches", "1,2", "--ks", "2", "--queries", "2"]
    paths = {"texts": "texts.txt", "model": "model", "json": "rows.json", "plot": "rows.png"}
    for name, path in paths.items():
        arguments += [f"--{name}", str(tmp_path / path)]
    result = CliRunner().invoke(_command(), arguments, catch_exceptions=False)
    assert result.exit_code == 0
    rows = json.loads((tmp_path / "rows.json").read_text())["rows"]
    assert {row["size"] for row in rows} == {3, 12}
    assert {row["texts"] for row in rows if "static" not in row["key"]} == {3, 12}
    assert len(rows) == 2 * 2 * 7
    assert len([row for row in rows if row["key"] in ("static", "ours, static")]) == 2 * 2 * 2
    for row in rows:
        assert {"system", "texts", "batch", "k", "ms_per_query", "forwards_per_query", "proved_share"} <= row.keys()
        if row["system"] == "reprise":
            assert row["proved_share"] == 1.0
            assert row["missed_share"] == 0.0
            assert row["bytes_per_text"] > 0
            assert row["store_bytes_per_text"] > len(marisa_trie.Trie().tobytes()) / row["texts"]
    assert (tmp_path / "rows.png").stat().st_size > 1000


@pytest.mark.filterwarnings("ignore")
def test_a_file_is_added_to_and_its_cells_are_not_measured_again(generator: Generator, tmp_path: Path) -> None:
    generator.save(tmp_path / "model")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    path = tmp_path / "rows.json"
    fixed = ["--queries", "1", "--json", str(path), "--batches", "1", "--ks", "1", "--sizes", "3"]
    fixed += ["--texts", str(tmp_path / "texts.txt"), "--model", str(tmp_path / "model")]

    def keys(*arguments: str) -> list[str]:
        CliRunner().invoke(_command(), [*fixed, *arguments], catch_exceptions=False)
        return [row["key"] for row in json.loads(path.read_text())["rows"]]

    assert keys("--systems", "ours") == ["ours"]
    first = path.read_text()
    assert keys("--systems", "ours") == ["ours"]
    assert path.read_text() == first
    assert keys("--systems", "ours,csr,step") == ["ours", "csr", "step"]
    step = json.loads(path.read_text())["rows"][-1]
    assert step["constraint_ms"] == pytest.approx(step["step_ms"] - step["free_step_ms"])
    with pytest.raises(ValueError, match="was measured with queries 1, now 2"):
        keys("--queries", "2")


def test_goals_say_what_is_missed() -> None:
    def row(key: str, ms: float, **other: Any) -> dict[str, Any]:
        about = {"size": 1_000_000, "texts": 1_000_000, "batch": 1, "k": 1, "proved_share": 0.5, "bytes_per_text": 27.0}
        return about | {"key": key, "ms_per_query": 1.0, "cpu_ms_per_query": ms} | other

    step = row("step", 0.0, constraint_ms=0.02, constraint_share=0.2)
    ours = row("ours", 10.0, store_bytes_per_text=23.0)
    found = decode_goals.goals([ours, row("dict", 60.0), row("free", 5.0), step], on_cpu=True)
    assert [(goal["got"], goal["met"]) for goal in found] == [
        (6.0, True), (0.5, False), (0.5, False), (27.0, True), (23.0, False), (0.02, True), (0.2, False),
    ]  # fmt: skip
    assert decode_goals.line(found[1]).startswith("MISSED      0.5 of 1 times faster than generate without")


def test_a_misheard_text_differs_by_few_characters() -> None:
    rng = np.random.default_rng(0)
    for _ in range(50):
        heard = misheard("turn on the lights", 3, rng)
        assert abs(len(heard) - 18) <= 3
    assert misheard("stop", 0, rng) == "stop"


def test_texts_are_read_once_each(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_text("Play Jazz\nplay jazz\n\nstop\n")
    assert read_texts(path) == ["play jazz", "stop"]
