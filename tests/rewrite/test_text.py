"""The one form of a text, and the keys of personal stores."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rewrite.text import USER_SEPARATOR, normalise, personal_key, personal_shard

ANY_TEXT = st.text(st.characters(exclude_categories=()))


@given(ANY_TEXT)
@example("a\u200d\u0301")
@example("\u0391\u03a3\u200b\u0301")
@example("İ\u0307")
def test_normalising_twice_changes_nothing(text: str) -> None:
    assert normalise(normalise(text)) == normalise(text)


@given(ANY_TEXT)
def test_a_normalised_text_can_be_stored_and_is_a_key(text: str) -> None:
    kept = normalise(text)
    assert kept.encode().decode() == kept
    assert USER_SEPARATOR not in kept
    assert "\0" not in kept
    assert kept == " ".join(kept.split())


@pytest.mark.parametrize(
    "raw",
    [
        "play\u0000 jazz",
        "play\u200b jazz",
        "\u202eplay jazz\u202c",
        "\u2066play\u2069 jazz",
        "play\ud800 jazz",
        f"play{USER_SEPARATOR} jazz",
        "play\ufeff jazz",
        "play\ue000 jazz",
        "play\u0378 jazz",
        "  PLAY\u3000\n jazz\t",
        "ｐｌａｙ jazz",
    ],
)
def test_what_cannot_be_seen_or_said_is_removed(raw: str) -> None:
    assert normalise(raw) == "play jazz"


def test_punctuation_stays_and_apostrophes_are_straight() -> None:
    assert normalise("What’s on, at 7:30?") == "what's on, at 7:30?"


@pytest.mark.parametrize("raw", ["", " ", "\n\u200b\t", "\u202e"])
def test_nothing_stays_nothing(raw: str) -> None:
    assert normalise(raw) == ""


def test_keys_and_shards_are_the_same_on_every_machine() -> None:
    assert personal_key("u1", "stop") == "u1␟stop"
    assert [personal_shard(user, 16) for user in ("u1", "u2", "zoë")] == [13, 8, 6]


@given(st.text(st.characters(exclude_categories=("Cs",))), st.integers(1, 64))
def test_every_user_has_a_shard(user: str, shards: int) -> None:
    assert 0 <= personal_shard(user, shards) < shards
