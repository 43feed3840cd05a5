"""The error channel: noisy queries for texts that somebody, or nobody, has been misheard on."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite.noise import ErrorChannel

PAIRS = [("play alien bridges", "play ancient bridges"), ("play silly river", "play silver river")]
HEARD = ["stop", "what time is it", "play jazz"]
WORD = st.text("abcdefgh ", max_size=20).map(lambda text: " ".join(text.split()))


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


@given(WORD, st.integers(0, 1000))
def test_the_same_generator_state_gives_the_same_sample(text: str, seed: int) -> None:
    channel = ErrorChannel(PAIRS, HEARD)
    first = [channel.sample(text, r) for r in [rng(seed)] for _ in range(3)]
    assert first == [channel.sample(text, r) for r in [rng(seed)] for _ in range(3)]
    # A channel made from the same pairs, whatever it was asked before
    fresh = ErrorChannel(list(PAIRS), list(HEARD))
    fresh.sample("something else", rng(7))
    assert first == [fresh.sample(text, r) for r in [rng(seed)] for _ in range(3)]


def test_the_order_of_what_was_heard_does_not_matter() -> None:
    forth, back = ErrorChannel(PAIRS, HEARD), ErrorChannel(PAIRS[::-1], HEARD[::-1])
    first, second = rng(), rng()
    assert [forth.sample("play ancient bridges", first) for _ in range(50)] == [
        back.sample("play ancient bridges", second) for _ in range(50)
    ]


def test_what_was_misheard_before_is_misheard_the_same_way() -> None:
    channel, state = ErrorChannel(PAIRS), rng()
    samples = [channel.sample("play ancient bridges", state) for _ in range(300)]
    assert samples.count("play alien bridges") > 20
    # Edits overlap and may undo each other: unchanged is rare, not impossible.
    assert samples.count("play ancient bridges") < 15


def test_an_unseen_text_still_gets_a_query() -> None:
    channel, state = ErrorChannel(PAIRS, HEARD), rng()
    samples = {channel.sample("plan a silver bridge tour", state) for _ in range(100)}
    assert all(samples)
    assert len(samples) > 10


def test_a_channel_that_has_seen_nothing_returns_the_text() -> None:
    assert ErrorChannel([]).sample("play jazz", rng()) == "play jazz"


def test_pairs_that_are_equal_teach_no_error() -> None:
    channel, state = ErrorChannel([("stop", "stop")]), rng()
    assert {channel.sample("stop", state) for _ in range(50)} == {"stop"}


@pytest.mark.parametrize("text", ["", " "])
def test_an_empty_text_stays_as_it_is(text: str) -> None:
    assert ErrorChannel(PAIRS).sample(text, rng()) == text
    assert ErrorChannel(PAIRS).light("", rng()) == ""


def test_a_text_never_becomes_an_empty_query() -> None:
    channel, state = ErrorChannel([("o", "oh")]), rng()
    assert all(channel.sample("h", state) for _ in range(50))


def test_light_noise_is_at_most_two_edits() -> None:
    from rapidfuzz.distance import Levenshtein

    channel, state = ErrorChannel([]), rng()
    edits = [Levenshtein.distance("play jazz", channel.light("play jazz", state)) for _ in range(200)]
    assert set(edits) == {0, 1, 2}


@given(st.lists(st.tuples(WORD, WORD), max_size=5), WORD, st.integers(0, 100))
def test_any_pairs_make_a_channel(pairs: list[tuple[str, str]], text: str, seed: int) -> None:
    heard = ErrorChannel(pairs).sample(text, rng(seed))
    assert heard == " ".join(heard.split())
