"""The simulator of the demo world: what its logs must be."""

from collections import Counter
from functools import cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from jobs.simulate import DEMO, simulate
from jobs.world import summary, tables
from jobs.world.assistant import interpret, satisfies
from jobs.world.dice import Dice, Weighted
from jobs.world.grammar import Request, spoken_catalogue
from jobs.world.hearing import Ear, mildness, recordings
from jobs.world.simulator import DAY_S, Asked, Settings, Turn
from jobs.world.simulator import simulate as play
from jobs.world.speak import CATALOGUE_SEED


@cache
def catalogue() -> dict[str, Request]:
    return spoken_catalogue(np.random.default_rng(CATALOGUE_SEED))


@cache
def shipped() -> pa.Table:
    return pq.read_table(DEMO / "recognitions.parquet")


@cache
def small() -> tuple[Turn, ...]:
    return tuple(play(catalogue(), shipped(), Settings(users=30, days=8, fresh_day=6), np.random.default_rng(5)))


def test_the_same_seed_gives_the_same_log_and_another_seed_another() -> None:
    settings = Settings(users=30, days=8, fresh_day=6)
    again = play(catalogue(), shipped(), settings, np.random.default_rng(5))
    other = play(catalogue(), shipped(), settings, np.random.default_rng(6))
    assert tables.log_table(again).equals(tables.log_table(small()))
    assert not tables.log_table(other).equals(tables.log_table(small()))


def test_turns_grow_with_users_and_days() -> None:
    rng = np.random.default_rng(5)
    large = play(catalogue(), shipped(), Settings(users=90, days=8, fresh_day=6), rng)
    assert 2 < len(large) / len(small()) < 4.5
    assert max(turn.asked.seconds for turn in large) < 8 * DAY_S


def test_a_turn_is_a_defect_exactly_if_misunderstood_or_failed_otherwise() -> None:
    for turn in small():
        wrong = not satisfies(turn.read, turn.request)
        assert wrong == (turn.cause == "misunderstood")
        assert turn.defect == (turn.cause is not None)


def test_a_reformulation_comes_after_a_defect_of_the_same_user_and_wish() -> None:
    again = [turn for turn in small() if turn.reformulates is not None]
    assert again
    for turn in again:
        before = turn.reformulates
        assert before is not None
        assert before.defect
        assert before.row < turn.row
        assert (before.asked.user_id, before.request) == (turn.asked.user_id, turn.request)


def test_status_follows_what_was_read() -> None:
    for turn in small():
        if turn.read.intent is None:
            assert turn.status == "no_match"
        assert turn.dwell_s is None or turn.status == "ok"


def test_a_service_that_always_knows_leaves_no_misunderstanding() -> None:
    """With every utterance rewritten to what was meant only other defects are left, and the log says so."""
    settings = Settings(users=20, days=6, fresh_day=5)
    heard = recordings(shipped())
    meant = {way.text: text for (text, _), spoken in heard.items() for way in (*spoken.old, *spoken.fresh)}
    meant = {guess: text for guess, text in meant.items() if guess not in catalogue()}

    def oracle(asked: Asked) -> str | None:
        said = asked.utterance.removeprefix("no ").removeprefix("i said ")
        return meant.get(said)

    before = play(catalogue(), shipped(), settings, np.random.default_rng(1))
    after = play(catalogue(), shipped(), settings, np.random.default_rng(1), oracle)
    rate = [np.mean([turn.cause == "misunderstood" for turn in turns]) for turns in (before, after)]
    assert rate[1] < rate[0] / 4
    rewrites = [row["rewrite"] for row in tables.log_table(after).to_pylist()]
    assert any(rewrite and rewrite["text"] for rewrite in rewrites)


@pytest.mark.parametrize("bad", [{"users": 0}, {"days": 0}, {"other_defect_rate": 1.5}])
def test_impossible_settings_are_refused(bad: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="settings need"):
        Settings(**bad)  # type: ignore[arg-type]


def test_one_user_is_misheard_the_same_way_again() -> None:
    rows = [
        {"text": "call ben", "voice": "slt", "take": 0, "recognised": guess, "nbest": [guess, "call bin", "cold den"]}
        for guess in ("coal ben",)
    ]
    spoken = recordings(pa.Table.from_pylist(rows))
    heard: Counter[str] = Counter()
    dice = Dice(np.random.default_rng(0))
    for _ in range(50):
        ear = Ear(spoken, "slt", 1.0, dice)
        times = Counter(ear.hear("call ben", fresh=False, slow=False).text for _ in range(40))
        assert "call ben" in times
        heard[times.most_common(1)[0][0]] += 1
    assert set(heard) == {"coal ben"}


def test_held_back_recordings_are_not_heard_before_the_fresh_day() -> None:
    rows = [
        {"text": "pause", "voice": "slt", "take": take, "recognised": guess, "nbest": [guess]}
        for take, guess in enumerate(("paws", "boris"))
    ]
    spoken = recordings(pa.Table.from_pylist(rows))
    early, late = set(), set()
    dice = Dice(np.random.default_rng(0))
    for _ in range(60):
        ear = Ear(spoken, "slt", 1.0, dice)
        early |= {ear.hear("pause", fresh=False, slow=False).text for _ in range(10)}
        late |= {ear.hear("pause", fresh=True, slow=False).text for _ in range(10)}
    assert early == {"pause", "paws"}
    assert late == {"pause", "paws", "boris"}


def test_a_text_without_recordings_is_heard_right() -> None:
    ear = Ear({}, "slt", 1.0, Dice(np.random.default_rng(0)))
    assert ear.hear("call ben", fresh=False, slow=False).text == "call ben"


def test_weighted_choices_follow_their_weights() -> None:
    dice, choice = Dice(np.random.default_rng(0)), Weighted([1.0, 0.0, 3.0])
    counts = Counter(choice.draw(dice) for _ in range(20_000))
    assert counts[1] == 0
    assert counts[2] / 20_000 == pytest.approx(0.75, abs=0.02)


def test_choosing_among_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing"):
        Weighted([])


def test_the_command_writes_the_three_tables(tmp_path: Path) -> None:
    import typer

    app = typer.Typer()
    app.command()(simulate)
    result = CliRunner().invoke(app, [str(tmp_path / "out"), "--users", "5", "--days", "4", "--seed", "1"])
    assert result.exit_code == 0, result.output
    assert "turns of 5 users" in result.output
    logs = pq.read_table(tmp_path / "out" / "logs.parquet")
    assert logs.schema.equals(tables.LOG_SCHEMA)
    assert pq.read_table(tmp_path / "out" / "truth.parquet").num_rows == logs.num_rows
    assert summary.figures(summary.load(tmp_path / "out"))["turns"] == logs.num_rows


def test_the_command_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no recordings at .*jobs\.world\.recordings"):
        simulate(tmp_path, users=1, days=1, seed=0, recognitions=tmp_path / "none.parquet")


def test_the_oracle_reads_as_the_assistant_does() -> None:
    rows = tables.oracle_table(["play jazz", "boot phones", "play jazz"]).to_pylist()
    assert [row["text"] for row in rows] == ["boot phones", "play jazz"]
    assert rows[0]["intent"] is None
    assert tables.slots_of(rows[1]) == set(interpret("play jazz").slots)


def test_near_misses_are_met_more_often_than_word_salad() -> None:
    assert mildness("play jazz", "play jas") > 1 > mildness("play jazz", "hello there mum")
    assert 0 <= mildness("play jazz", "") <= mildness("play jazz", "play jazz") <= 2.1
