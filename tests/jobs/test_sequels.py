"""What users went on to succeed with after a text had failed them."""

from typing import Any

import pyarrow as pa

from jobs.sequels import GAP_S, sequels
from tests.jobs.test_labels import HEARD, MEANT, table, turn

Rows = list[dict[str, Any]]


def again(user: str, *texts: str, intent: str = "play", seconds: float = 10.0) -> Rows:
    """A user is misheard and then says `texts`, of which the last one works."""
    said = [HEARD, *texts]
    return [turn(n * seconds, t, 0.1 if n == len(texts) else 0.9, user=user, intent=intent) for n, t in enumerate(said)]


def counted(rows: Rows) -> set[tuple[str | None, str | None, int]]:
    """Rows of any slots."""
    found = sequels(table(*rows), least_users=2).to_pylist()
    return {(r["text"], r["intent"], r["users"]) for r in found if r["slots"] is None}


def test_users_agree_on_an_intent_whatever_their_words() -> None:
    found = counted(again("a", MEANT) + again("b", "music please") + again("c", "stop", intent="stop"))
    assert found == {(HEARD, "play", 2), (HEARD, None, 3), (None, "play", 2), (None, "stop", 1)}


def test_one_user_alone_says_nothing_to_others() -> None:
    assert counted(again("a", MEANT) + again("a", "music please")) == {(None, "play", 1)}


def test_the_first_success_counts_where_it_comes_soon() -> None:
    soon = again("a", HEARD, MEANT) + again("b", MEANT)
    late = again("c", MEANT, seconds=GAP_S + 1) + again("d", "x", "y", "z", MEANT)
    assert (HEARD, "play", 2) in counted(soon)
    assert (HEARD, "play", 2) in counted(soon + late)


def test_what_was_rewritten_says_nothing_of_what_was_said() -> None:
    rows = again("a", MEANT) + again("b", MEANT)
    rows[0]["effective_text"] = "something else"
    assert counted(rows) == {(None, "play", 1)}


def test_a_log_without_readings_has_no_sequels() -> None:
    rows = table(*again("a", MEANT), *again("b", MEANT)).drop_columns(["intent"])
    assert sequels(rows, 2).num_rows == 0
    assert isinstance(sequels(rows, 2), pa.Table)


def test_the_same_intent_with_other_slots_is_another_reading() -> None:
    def slots(value: str) -> list[dict[str, str]]:
        return [{"name": "what", "value": value}]

    rows = again("a", MEANT) + again("b", "music please") + again("c", MEANT)
    for row, value in zip(rows, ["-", "jazz", "-", "rock", "-", "jazz"], strict=True):
        row["slots"] = slots(value)
    found = sequels(table(*rows), least_users=2).to_pylist()
    assert {"text": HEARD, "intent": "play", "slots": slots("jazz"), "users": 2} in found
    assert not any(row["slots"] == slots("rock") for row in found)
