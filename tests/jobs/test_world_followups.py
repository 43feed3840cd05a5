"""Labelled follow-ups of simulated users."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.bench.corrections import measure
from jobs.correction_pairs import read_pairs
from jobs.fit_kinds import fit_kinds
from jobs.simulate import DEMO
from jobs.world.followups import SESSION_GAP_S, followups, pairs_table
from jobs.world.grammar import spoken_catalogue
from jobs.world.simulator import Settings, Turn, simulate
from jobs.world.speak import CATALOGUE_SEED
from mining import kinds


@pytest.fixture(scope="module")
def turns() -> list[Turn]:
    catalogue = spoken_catalogue(np.random.default_rng(CATALOGUE_SEED))
    table = pq.read_table(DEMO / "recognitions.parquet")
    return simulate(catalogue, table, Settings(users=25, days=8, fresh_day=6), np.random.default_rng(3))


def test_every_pair_is_two_turns_of_one_session_labelled_by_why_the_second_was_said(turns: list[Turn]) -> None:
    rows = pairs_table(turns).to_pylist()
    ordered = sorted(turns, key=lambda turn: (turn.asked.user_id, turn.asked.seconds))
    expected = []
    for before, after in pairwise(ordered):
        gap = after.asked.seconds - before.asked.seconds
        if before.asked.user_id != after.asked.user_id or gap > SESSION_GAP_S:
            continue
        if after.reformulates is not before:
            label = "new_command"
        elif before.asked.utterance == after.asked.utterance or before.intended != after.intended:
            label = "command_correction"
        else:
            label = "asr_correction" if before.asked.utterance != before.intended else "command_correction"
        expected.append((before.asked.utterance, after.asked.utterance, before.status == "ok", label))
    assert [(r["first"], r["second"], r["executed"], r["label"]) for r in rows] == expected
    assert {row["label"] for row in rows} == set(kinds.CLASSES)


def test_the_order_of_the_turns_does_not_matter(turns: list[Turn]) -> None:
    assert pairs_table(turns[::-1]).equals(pairs_table(turns))


def test_neighbouring_pairs_of_a_user_are_each_others_window(turns: list[Turn], tmp_path: Path) -> None:
    pq.write_table(pairs_table(turns), tmp_path / "pairs.parquet")
    read, _ = read_pairs(tmp_path / "pairs.parquet")
    assert sum(pair.before is not None for pair in read) > len(read) / 4


def test_nobody_makes_no_pairs_but_a_table_of_the_same_form(turns: list[Turn]) -> None:
    assert pairs_table([]).schema == pairs_table(turns).schema


def test_a_model_of_likeness_learned_from_them_beats_the_rules_on_other_users(tmp_path: Path) -> None:
    followups(tmp_path / "train.parquet", 60, 14, 1)
    followups(tmp_path / "test.parquet", 30, 14, 2)
    fit_kinds(tmp_path / "train.parquet", tmp_path / "kinds.json", 3, likeness=True)
    rows = measure(tmp_path / "test.parquet", model_path=tmp_path / "kinds.json")["systems"]
    assert list(rows) == ["reprise", "rules", "not executed", "shipped"]
    assert rows["reprise"]["f1"] > rows["rules"]["f1"] + 0.01
    assert rows["shipped"]["f1"] > rows["rules"]["f1"] + 0.01
    assert rows["reprise"]["macro_f1"] > rows["rules"]["macro_f1"]


def test_the_same_seed_gives_the_same_pairs(tmp_path: Path) -> None:
    followups(tmp_path / "a.parquet", 3, 2, 5)
    followups(tmp_path / "b.parquet", 3, 2, 5)
    read: list[pa.Table] = [pq.read_table(tmp_path / f"{name}.parquet") for name in "ab"]
    assert read[0].equals(read[1])
