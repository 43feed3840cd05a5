"""The grammar of the demo world and the assistant that reads it."""

from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.world.assistant import NOT_UNDERSTOOD, interpret, satisfies
from jobs.world.grammar import Request, generate, make_request, phrasings, requests_of, spoken_catalogue
from jobs.world.rules import RULES
from rewrite.text import MAX_CHARS, normalise


@cache
def catalogue() -> dict[str, Request]:
    return spoken_catalogue(np.random.default_rng(20260105))


def test_the_spoken_catalogue_has_well_over_1500_texts_in_normal_form() -> None:
    assert len(catalogue()) >= 1500
    assert all(normalise(text) == text and len(text) <= MAX_CHARS for text in catalogue())


def test_the_spoken_catalogue_depends_on_its_seed_only() -> None:
    assert list(catalogue().items()) == list(spoken_catalogue(np.random.default_rng(20260105)).items())
    assert set(catalogue()) != set(spoken_catalogue(np.random.default_rng(1)))


def test_generated_texts_are_distinct_and_as_many_as_asked_for() -> None:
    texts = generate(60_000, np.random.default_rng(3))
    assert len(texts) == len(set(texts)) == 60_000
    assert texts[:100] == generate(100, np.random.default_rng(3))


@pytest.mark.slow
def test_the_grammar_holds_a_million_and_more_texts() -> None:
    assert len(generate(1_200_000, np.random.default_rng(0))) == 1_200_000


def test_the_assistant_reads_the_whole_spoken_catalogue_as_it_was_meant() -> None:
    wrong = {
        text: interpret(text)
        for text, request in catalogue().items()
        if (interpret(text).domain, interpret(text).intent, interpret(text).slots)
        != (request.domain, request.intent, request.slots)
    }
    assert wrong == {}


@given(st.integers(0, len(RULES) - 1), st.integers(0, 10**6), st.integers(0, 10**6))
def test_every_phrasing_of_a_request_is_read_as_that_request(rule: int, row: int, way: int) -> None:
    requests = requests_of(RULES[rule].intent)
    request = requests[row % len(requests)]
    texts = phrasings(request)
    reading = interpret(texts[way % len(texts)])
    assert (reading.intent, reading.slots) == (request.intent, request.slots)
    assert reading.known
    assert satisfies(reading, request)


@given(st.text(max_size=60))
def test_the_assistant_reads_anything(text: str) -> None:
    reading = interpret(normalise(text))
    assert 0 <= reading.confidence <= 1
    assert (reading.intent is None) == (reading.domain is None)


@pytest.mark.parametrize(
    ("text", "intent", "slots"),
    [
        ("play marlow finch", "play_artist", {"artist": "marlow finch"}),
        ("play marla finch", "play_artist", {"artist": "marla finch"}),
        ("playing marla flinch", "play_artist", {"artist": "marla finch"}),
        ("play golden hour", "play_song", {"song": "golden hour", "artist": "the harbour lights"}),
        ("play golden hour by ezra bloom", "play_song", {"song": "golden hour", "artist": "ezra bloom"}),
        ("play petal by petal by ezra bloom", "play_song", {"song": "petal by petal", "artist": "ezra bloom"}),
        ("no i said call helen", "call", {"contact": "helen"}),
        ("wake me up at seven pm", "set_alarm", {"time": "seven p m"}),
        ("what's the weather in new york tomorrow", "weather", {"place": "new york", "day": "tomorrow"}),
    ],
)
def test_known_readings(text: str, intent: str, slots: dict[str, str]) -> None:
    reading = interpret(text)
    assert (reading.intent, dict(reading.slots)) == (intent, slots)


def test_nonsense_is_not_understood() -> None:
    assert interpret("boot phones filing either by cares") == NOT_UNDERSTOOD


def test_a_near_name_can_be_the_wrong_one() -> None:
    assert dict(interpret("play marl finch").slots)["artist"] in ("marlow finch", "marla finch")
    wanted = make_request("play_artist", {"artist": "marla finch"})
    assert not satisfies(interpret("play marlow finch"), wanted)


def test_a_title_with_the_wrong_artist_is_not_known() -> None:
    assert not interpret("play golden hour by norah pell").known


def test_titles_with_and_without_their_artist_are_the_same_request() -> None:
    texts = phrasings(make_request("play_song", {"song": "paper lanterns"}))
    assert {"play paper lanterns", "play paper lanterns by marlow finch"} <= set(texts)
    shared = phrasings(make_request("play_song", {"song": "golden hour", "artist": "ezra bloom"}))
    assert "play golden hour" not in shared
