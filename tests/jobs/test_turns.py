"""Logs on disk to turns: what can be read, and the session before each turn."""

import json
import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.turns import CONTEXT_GAP_S, CONTEXT_TURNS, DECISION_COLUMNS, read_log, turns_of
from rewrite.text import normalise
from rewrite.turn import Reading

START = datetime(2024, 3, 1, 8, tzinfo=UTC)


def row(number: int, user: str = "u1", second: float = 0.0, text: str | None = None, **other: Any) -> dict[str, Any]:
    made = {
        "interaction_id": f"i{number}",
        "user_id": user,
        "timestamp": START + timedelta(seconds=second),
        "utterance": f"Text {number}" if text is None else text,
    }
    return made | other


def log(*rows: dict[str, Any]) -> pa.Table:
    return pa.Table.from_pylist(list(rows))


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no log at .*gone\.parquet"):
        read_log(tmp_path / "gone.parquet")


@pytest.mark.parametrize("missing", ["interaction_id", "user_id", "timestamp", "utterance"])
def test_a_log_without_a_required_column_is_refused(missing: str, tmp_path: Path) -> None:
    pq.write_table(log(row(1)).drop_columns([missing]), tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=f"column {missing} is missing"):
        read_log(tmp_path / "log.parquet")


WRONG: list[tuple[list[dict[str, Any]], str]] = [
    ([row(1) | {"user_id": 7}], "column user_id has type int64; expected string"),
    ([row(1, rewrite="jazz")], "column rewrite has type string; expected a struct with text"),
    ([row(1, slots=["jazz"])], r"column slots has type list<.*>; expected a list of structs with name and value"),
    ([row(1, asr_confidence="high")], "column asr_confidence has type string; expected double"),
    ([row(1) | {"timestamp": 1709280000}], "column timestamp has type int64; expected a timestamp in UTC"),
    (
        [row(n) | {"timestamp": time} for n, time in enumerate(["2026-01-31T08:00:00Z", None, "yesterday", "today"])],
        "row 3 has the timestamp 'yesterday'; expected ISO 8601",
    ),
    ([row(1), row(2), row(1)], r"1 interaction ids occur more than once \(the first: 'i1'\); expected each once"),
    (
        [row(n, asr_confidence=value) for n, value in enumerate([0.5, None, 25.0, 98.0])],
        "column asr_confidence is 25 to 98 in 2 of 4 rows; expected 0 to 1; is it in per cent",
    ),
    ([row(1, nlu_confidence=-1)], "column nlu_confidence is -1 to -1 in 1 of 1 rows; expected 0 to 1"),
]


@pytest.mark.parametrize(("rows", "said"), WRONG)
def test_values_that_no_log_has_are_refused_with_the_file(rows: list[Any], said: str, tmp_path: Path) -> None:
    pq.write_table(log(*rows), tmp_path / "log.parquet")
    with pytest.raises(ValueError, match=rf"log\.parquet: {said}"):
        read_log(tmp_path / "log.parquet")


def test_columns_of_other_types_with_the_same_values_are_read(tmp_path: Path) -> None:
    table = log(row(1, **FULL), row(2, asr_confidence=float("nan")), row(3) | {"interaction_id": None})
    table = table.set_column(1, "user_id", table["user_id"].dictionary_encode())
    table = table.set_column(0, "interaction_id", table["interaction_id"].cast(pa.large_string()))
    table = table.drop_columns(["domain"])
    pq.write_table(table.append_column("domain", pa.nulls(3)), tmp_path / "log.parquet")
    assert len(turns_of(read_log(tmp_path / "log.parquet"))) == 3


@pytest.mark.parametrize("name", ["log.parquet", "log.jsonl"])
@pytest.mark.parametrize("content", [b"", b"PAR1 not really", b'{"interaction_id": "i1", "user', b"\x00\xff\xfe"])
def test_a_corrupt_file_is_refused(name: str, content: bytes, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    said = r"as a log|cannot be read as parquet|not JSON lines|empty; expected JSON lines"
    with pytest.raises(ValueError, match=rf"{name}.*({said})"):
        read_log(tmp_path / name)


def test_a_truncated_parquet_file_is_refused(tmp_path: Path) -> None:
    pq.write_table(log(*map(row, range(50))), tmp_path / "whole.parquet")
    whole = (tmp_path / "whole.parquet").read_bytes()
    (tmp_path / "half.parquet").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"cannot read .* as a log"):
        read_log(tmp_path / "half.parquet")


def test_outcomes_are_never_read(tmp_path: Path) -> None:
    outcome = {"status": "ok", "interrupted": False, "dwell_s": 3.0, "response": "playing"}
    pq.write_table(log(row(1, asr_confidence=0.5, **outcome)), tmp_path / "log.parquet")
    names = read_log(tmp_path / "log.parquet").column_names
    assert set(names) <= {*DECISION_COLUMNS, "rewrite"}
    assert "asr_confidence" in names


FULL = {
    "asr_confidence": 0.5,
    "asr_nbest": ["Play JAZZ", "play chess"],
    "domain": "music",
    "intent": "play",
    "slots": [{"name": "what", "value": "jazz"}],
    "nlu_confidence": 0.75,
    "device": "speaker",
    "locale": "en-GB",
}


@pytest.mark.parametrize("name", ["log.parquet", "log.jsonl"])
def test_every_decision_column_reaches_the_turn(name: str, tmp_path: Path) -> None:
    rows = [row(1, **FULL), row(2, second=30.5)]
    if name.endswith("parquet"):
        pq.write_table(log(*rows), tmp_path / name)
    else:
        lines = [json.dumps(r | {"timestamp": r["timestamp"].isoformat()}) for r in rows]
        (tmp_path / name).write_text("\n".join(lines) + "\n")
    first, second = turns_of(read_log(tmp_path / name))
    assert (first.interaction_id, first.user_id, first.utterance) == ("i1", "u1", "Text 1")
    assert first.timestamp_s == START.timestamp()
    assert first.asr_nbest == ("play jazz", "play chess")
    assert first.reading == Reading("music", "play", frozenset({("what", "jazz")}))
    assert (first.asr_confidence, first.nlu_confidence, first.device, first.locale) == (0.5, 0.75, "speaker", "en-GB")
    assert (first.turns, first.gap_s) == ((), None)
    assert second.reading == Reading()
    assert (second.asr_confidence, second.asr_nbest, second.device) == (None, (), None)
    assert (second.turns, second.gap_s) == (("text 1",), 30.5)


def test_a_log_of_the_required_columns_alone_is_enough() -> None:
    (turn,) = turns_of(log(row(1)))
    assert (turn.utterance, turn.reading, turn.asr_confidence) == ("Text 1", Reading(), None)


def test_a_missing_utterance_is_empty() -> None:
    first, second = turns_of(log(row(1), row(2) | {"utterance": None}))
    assert (first.utterance, second.utterance) == ("Text 1", "")


def test_no_rows_are_no_turns() -> None:
    assert turns_of(log(row(1)).slice(0, 0)) == []


def test_the_context_is_the_same_users_last_turns_newest_last() -> None:
    rows = [row(n, second=10 * n) for n in range(6)] + [row(9, user="u2", second=55)]
    turns = turns_of(log(*rows))
    assert turns[0].turns == ()
    assert turns[2].turns == ("text 0", "text 1")
    assert turns[5].turns == ("text 2", "text 3", "text 4")
    assert turns[6].turns == ()


def test_an_earlier_turn_is_what_it_was_rewritten_to(tmp_path: Path) -> None:
    """The service acted on the rewrite, except in the holdout; the turn itself is decided by what was said."""
    made = {"text": "play thaw", "holdout": False}
    rows = [
        row(1, second=0, text="pay tall", rewrite=made),
        row(2, second=20, text="pay tall", rewrite=made | {"holdout": True}),
        row(3, second=40, text="louder", rewrite=None),
        row(4, second=60, text="once more", rewrite=None),
    ]
    pq.write_table(log(*rows), tmp_path / "log.parquet")
    turns = turns_of(read_log(tmp_path / "log.parquet"))
    assert turns[3].turns == ("play thaw", "pay tall", "louder")
    assert [turn.utterance for turn in turns] == ["pay tall", "pay tall", "louder", "once more"]


def test_of_mined_turns_the_text_that_was_acted_on_is_the_earlier_one() -> None:
    mined = [("pay tall", "play thaw"), ("once more", "once more")]
    rows = [log(row(n, second=9 * n, text=said)) for n, (said, _) in enumerate(mined)]
    table = pa.concat_tables(rows).append_column("text", pa.array([said for said, _ in mined]))
    table = table.append_column("effective_text", pa.array([acted for _, acted in mined]))
    assert turns_of(table)[1].turns == ("play thaw",)


def test_a_longer_gap_ends_the_context() -> None:
    at = [0.0, CONTEXT_GAP_S, 2 * CONTEXT_GAP_S + 0.001, 2 * CONTEXT_GAP_S + 1]
    turns = turns_of(log(*(row(n, second=second) for n, second in enumerate(at))))
    assert [t.turns for t in turns] == [(), ("text 0",), (), ("text 2",)]
    assert turns[1].gap_s == CONTEXT_GAP_S
    assert turns[2].gap_s is None


SECONDS = st.lists(st.tuples(st.sampled_from(["u1", "u2", "u22"]), st.integers(0, 1000)), unique=True, max_size=20)


@given(SECONDS, st.randoms(use_true_random=False))
def test_the_context_is_never_later_and_does_not_depend_on_row_order(
    times: list[tuple[str, int]], shuffler: random.Random
) -> None:
    rows = [row(n, user, second) for n, (user, second) in enumerate(times)]
    if not rows:
        return
    shuffled = rows[:]
    shuffler.shuffle(shuffled)
    found = {t.interaction_id: t for t in turns_of(log(*shuffled))}
    for n, (user, second) in enumerate(times):
        expected: list[int] = []
        at = second
        for earlier, m in sorted(((s, m) for m, (u, s) in enumerate(times) if u == user and s < second), reverse=True):
            if at - earlier > CONTEXT_GAP_S or len(expected) == CONTEXT_TURNS:
                break
            expected.insert(0, m)
            at = earlier
        turn = found[f"i{n}"]
        assert turn.turns == tuple(normalise(f"Text {m}") for m in expected)
        assert turn.gap_s == (second - times[expected[-1]][1] if expected else None)


def test_turns_of_the_same_second_have_one_context_whatever_the_row_order() -> None:
    rows = [row(1, text="a"), row(2, text="b"), row(3, second=5, text="c")]
    forth = {t.interaction_id: t for t in turns_of(log(*rows))}
    assert forth == {t.interaction_id: t for t in turns_of(log(*rows[::-1]))}


def test_a_turn_without_a_time_neither_has_a_context_nor_hides_one() -> None:
    rows = [row(1), row(2) | {"timestamp": None}, row(3, second=5), row(4, second=9)]
    for order in ([0, 1, 2, 3], [3, 1, 0, 2], [1, 3, 2, 0], [2, 0, 1, 3]):
        found = {t.interaction_id: t for t in turns_of(log(*(rows[n] for n in order)))}
        assert found["i2"].turns == ()
        assert found["i2"].timestamp_s is None
        assert found["i4"].turns == ("text 1", "text 3")


def test_times_without_any_zone_are_utc() -> None:
    (turn,) = turns_of(log(row(1) | {"timestamp": START.replace(tzinfo=None)}))
    assert turn.timestamp_s == START.timestamp()


@pytest.mark.parametrize("value", ["2024-03-01T08:00:00Z", "2024-03-01T09:00:00+01:00"])
def test_times_as_text_are_read(value: str) -> None:
    (turn,) = turns_of(log(row(1) | {"timestamp": value}))
    assert turn.timestamp_s == START.timestamp()


@pytest.mark.parametrize(
    "value",
    [
        "yesterday",
        pytest.param(
            1709280000,
        ),
    ],
)
def test_times_that_are_none_are_refused_as_user_errors(value: Any) -> None:
    with pytest.raises(ValueError, match="time"):
        turns_of(log(row(1) | {"timestamp": value}))
