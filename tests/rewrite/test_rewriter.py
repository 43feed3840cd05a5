"""The rewriter end to end, on a bundle learned from a tiny world."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewrite.cascade import ALWAYS, NEVER, Zone
from rewrite.decision import REASONS, Decision
from rewrite.features import FORWARD_COLUMNS
from rewrite.rewriter import SIFTED, SIFTED_BARE, Considered, Rewriter, Scorer, contenders
from rewrite.text import normalise
from rewrite.turn import Reading, Turn
from tests.rewrite.world import SONGS, reading, tiny_generator, turn_rows


@pytest.fixture(scope="module")
def rewriter(bundle: Path) -> Rewriter:
    return Rewriter.load(bundle)


def heard(text: str, user: str | None = None, confidence: float = 0.4, **other: object) -> Turn:
    read = reading(text)
    understood = Reading.of(read["domain"], read["intent"], read["slots"])
    return Turn(text, user_id=user, asr_confidence=confidence, reading=understood, **other)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def turns() -> list[Turn]:
    """Misheard, fine, own, strange: with and without a user, with and without a session."""
    users = [None, "u00", "u01", "nobody", "u0"]
    made = [heard(text, user) for text in [*SONGS, *SONGS.values()] for user in users]
    made += [heard("kall friend 3", user) for user in users] + [heard("call friend 3", "u03", 0.9)]
    made += [heard("play silly river", "u05", turns=("play silly liver",), gap_s=9.0), heard("stop", "u01", 0.9)]
    return [*made, Turn(""), Turn("x"), Turn("日本語 ?"), Turn("play " * 90), Turn("play " * 2000)]


def answers(decisions: list[Decision]) -> list[tuple[object, ...]]:
    return [(d.text, d.source, d.confidence, d.reason, d.p_fail, len(d.candidates)) for d in decisions]


def test_a_turn_is_decided_the_same_alone_in_a_batch_in_any_order_and_after_reload(
    rewriter: Rewriter, turns: list[Turn], bundle: Path
) -> None:
    alone = answers([rewriter.rewrite_turn(turn) for turn in turns])
    assert answers(rewriter.rewrite_batch(turns)) == alone
    assert answers(rewriter.rewrite_batch(turns[::-1]))[::-1] == alone
    assert answers(Rewriter.load(bundle).rewrite_batch(turns)) == alone
    # The world is learnable: otherwise doing nothing at all would pass.
    assert {row[3] for row in alone} >= {"rewritten", "empty", "too_long"}
    assert len({row[0] for row in alone}) > 4


def test_what_is_returned_is_in_force_and_never_the_query(rewriter: Rewriter, turns: list[Turn]) -> None:
    rows = turn_rows()
    mine = {(r["user_id"], r["text"]) for r in rows if r["defect_probability"] < 0.5}
    shared = {*SONGS, "stop"}
    rewritten = 0
    for turn, decision in zip(turns, rewriter.rewrite_batch(turns), strict=True):
        assert decision.reason in REASONS
        assert (decision.text is None) == (decision.source is None) == (decision.reason != "rewritten")
        assert 0 <= decision.confidence <= 1
        for text in [decision.text, *(c.text for c in decision.candidates)]:
            assert text is None or text in shared or (turn.user_id, text) in mine
            assert text != normalise(turn.utterance)
        if decision.text is not None:
            rewritten += 1
            own = (turn.user_id, decision.text) in mine
            assert decision.source == ("personal" if own else "global")
            assert decision.text in {c.text for c in decision.candidates}
    assert rewritten > 5


@pytest.mark.parametrize(("meant", "misheard"), SONGS.items())
def test_what_many_said_again_is_rewritten_for_a_user_without_history(
    meant: str, misheard: str, rewriter: Rewriter
) -> None:
    decision = rewriter.rewrite_turn(heard(misheard, "somebody new"))
    assert (decision.text, decision.source) == (meant, "global")
    assert rewriter.rewrite_turn(heard(misheard)).text == meant
    assert rewriter.rewrite_turn(heard(misheard.upper() + "\u200b")).text == meant


def test_an_own_text_is_used_for_its_user_alone(rewriter: Rewriter) -> None:
    def own(user: str) -> set[str]:
        decision = rewriter.rewrite_turn(heard("kall friend 3", user), explain=True)
        return {c.text for c in decision.candidates if c.space == "personal"}

    assert "call friend 3" in own("u03")
    for user in ("u0", "u04", "u033", "nobody"):
        assert "call friend 3" not in own(user)


@pytest.mark.parametrize("text", ["", "  ", "\u200b\n", "\ud800"])
def test_an_empty_query_is_left_alone(text: str, rewriter: Rewriter) -> None:
    decision = rewriter.rewrite(text, user_id="u01")
    assert (decision.text, decision.reason, decision.candidates) == (None, "empty", ())


def test_an_over_long_query_is_left_alone(rewriter: Rewriter) -> None:
    assert rewriter.rewrite("a" * 10_000).reason == "too_long"
    assert rewriter.rewrite("a" * 501).reason == "too_long"
    assert rewriter.rewrite("a" * 500).reason != "too_long"
    assert rewriter.rewrite("a" + " " * 10_000).reason not in ("too_long", "empty")


def test_explaining_a_turn_does_not_change_what_is_decided(rewriter: Rewriter, turns: list[Turn]) -> None:
    for turn in turns[:20]:
        plain, explained = rewriter.rewrite_turn(turn), rewriter.rewrite_turn(turn, explain=True)
        assert answers([plain])[0][:5] == answers([explained])[0][:5]
        gains = [c.gain for c in explained.candidates]
        assert gains == sorted(gains, reverse=True)


def asking(bundle: Path, zone: Zone) -> Rewriter:
    """The bundle's rewriter, the generator asked in this zone."""
    made = Rewriter.load(bundle)
    made.decider.thresholds = replace(made.decider.thresholds, ask=zone)
    return made


def test_outside_the_zone_the_generator_is_not_run_and_the_sure_ones_are_rewritten(bundle: Path) -> None:
    never = asking(bundle, NEVER)
    never.scorer.generator = object()  # type: ignore[assignment]  # whoever runs it now, fails
    for meant, misheard in SONGS.items():
        found = never.rewrite_turn(heard(misheard))
        assert found.text == meant
        assert {str(c.features["channel"]) for c in found.candidates} == {"nan"}
        assert len(found.candidates) <= SIFTED_BARE


def test_inside_the_zone_every_candidate_is_scored(bundle: Path, turns: list[Turn]) -> None:
    always = asking(bundle, ALWAYS)
    explained = [c for turn in turns for c in always.rewrite_turn(turn, explain=True).candidates]
    assert explained
    assert "nan" not in {str(c.features["channel"]) for c in explained}


def test_a_bundle_that_search_gives_nothing_does_not_search(bundle: Path, turns: list[Turn]) -> None:
    always = asking(bundle, ALWAYS)
    for search in (True, False):
        always.decider.thresholds = replace(always.decider.thresholds, search=search)
        decided = [always.rewrite_turn(turn, explain=True) for turn in turns]
        assert any("search" in c.sources for d in decided for c in d.candidates) == search


def test_whether_a_turn_is_asked_about_depends_on_it_alone(bundle: Path, turns: list[Turn]) -> None:
    unasked = asking(bundle, NEVER)
    best = sorted(max((c.gain for c in d.candidates), default=-1.0) for d in unasked.rewrite_batch(turns))
    some = asking(bundle, Zone(best[len(best) // 4], best[3 * len(best) // 4]))
    alone = [some.rewrite_turn(turn, explain=True) for turn in turns]
    scored = {str(c.features["channel"]) == "nan" for d in alone for c in d.candidates[:1]}
    assert scored == {True, False}  # both ways are gone
    assert answers(some.rewrite_batch(turns[::-1]))[::-1] == answers([some.rewrite_turn(turn) for turn in turns])


def test_keyword_and_turn_forms_agree(rewriter: Rewriter) -> None:
    turn = heard("play silly river", "u05", turns=("stop",), gap_s=5.0)
    by_name = rewriter.rewrite(turn.utterance, "u05", ["stop"], gap_s=5.0, asr_confidence=0.4, reading=turn.reading)
    assert answers([by_name]) == answers([rewriter.rewrite_turn(turn)])


def test_how_earlier_texts_are_typed_does_not_matter(rewriter: Rewriter) -> None:
    turn = heard("play silly river", "u05", turns=("play silver river",), gap_s=5.0, asr_nbest=("play silver river",))
    typed = replace(turn, turns=("PLAY  Silver River",), asr_nbest=("PLAY  Silver River",))
    plain, other = rewriter.rewrite_turn(turn, explain=True), rewriter.rewrite_turn(typed, explain=True)
    # Compared as printed: NaN differs from itself.
    assert [str(c.features) for c in plain.candidates] == [str(c.features) for c in other.candidates]


def test_the_path_of_a_global_text_spells_it(rewriter: Rewriter) -> None:
    for text in SONGS:
        assert "".join(rewriter.path(text)) == text
    # Three texts begin with "play ", of which one goes on with "a", one with "g" and one with "s".
    assert rewriter.path("play ancient bridges") == ["play ", "ancient bridges"]
    assert rewriter.path("play something else") == []
    assert rewriter.path("play") == []


def test_a_path_is_cut_between_characters_only() -> None:
    from rewrite.rewriter import Scorer
    from rewrite.spaces import Knowledge, Personal
    from rewrite.trie import TokenTrie

    generator = tiny_generator()
    trie = TokenTrie.build([generator.vocabulary.target(text) for text in ("größe", "grün")])
    scorer = Scorer(Knowledge({}, {}, {}, Personal({})), generator, trie, None, {})
    assert Rewriter(scorer, None).path("größe") == ["gr", "öße"]  # type: ignore[arg-type]


def test_the_evidence_of_a_pair_is_what_was_mined(rewriter: Rewriter) -> None:
    found = rewriter.evidence("play alien bridges", "play ancient bridges")
    assert (found["pair_lower_bound"], found["text_success_lower"]) == (0.7, 0.8)
    assert "pair_lower_bound" not in rewriter.evidence("play alien bridges", "stop")
    assert rewriter.evidence("play alien bridges", "nobody says this") == {}


def proposed(scorer: Scorer, turn: Turn) -> Considered:
    found = scorer.consider(turn, normalise(turn.utterance))
    scorer.propose(found, 0.5)
    return found


def test_narrowing_is_the_same_as_never_having_rescored_the_others(rewriter: Rewriter, turns: list[Turn]) -> None:
    scorer, rng, dropped = rewriter.scorer, np.random.default_rng(0), 0
    for turn in turns[:12]:
        whole, few = proposed(scorer, turn), proposed(scorer, turn)
        worth = rng.random(len(whole.proposals))
        scorer.rescore(whole, worth)
        scorer.rescore(few, worth, 0.5)
        kept = worth[contenders(worth)]
        scorer.narrow(whole, np.flatnonzero(kept >= 0.5 * kept.max(initial=0.0)))
        dropped += len(kept) - len(few.proposals)
        assert [p.text for p in whole.proposals] == [p.text for p in few.proposals]
        np.testing.assert_allclose(whole.features, few.features, atol=1e-4)
    assert dropped > 0


def test_by_the_channel_alone_nothing_is_known_of_the_forward_direction(
    rewriter: Rewriter, turns: list[Turn], monkeypatch: pytest.MonkeyPatch
) -> None:
    scorer = rewriter.scorer
    both, alone = proposed(scorer, turns[0]), proposed(scorer, turns[0])
    worth = np.ones(len(both.proposals))
    scorer.rescore(both, worth)
    monkeypatch.setattr(scorer.generator, "score", lambda *_: pytest.fail("it was asked"))
    scorer.rescore(alone, worth, forward=False)
    assert len(alone.proposals) > 1
    assert np.isnan(alone.features[:, FORWARD_COLUMNS]).all()
    assert not np.isnan(both.features[:, FORWARD_COLUMNS]).any()
    np.testing.assert_array_equal(
        np.delete(both.features, FORWARD_COLUMNS, 1), np.delete(alone.features, FORWARD_COLUMNS, 1)
    )


def test_contenders_are_the_best_and_none_far_below() -> None:
    assert contenders(np.array([0.5, 0.01, 0.4, 0.03]), 0.05).tolist() == [0, 2, 3]
    assert contenders(np.array([0.5, 0.01, 0.4, 0.03])).tolist() == [0, 1, 2, 3]
    assert contenders(np.linspace(0.9, 1.0, 100)).tolist() == list(range(100 - SIFTED, 100))
    assert contenders(np.zeros(0), 0.1).tolist() == []
    assert contenders(np.zeros(2), 0.1).tolist() == [0, 1]


def test_earlier_texts_that_hold_nothing_are_no_turns(rewriter: Rewriter) -> None:
    song = "play ancient bridges"
    plain, blank = (rewriter.rewrite("again", turns=said, asr_confidence=0.4) for said in ([song], [song, "", " ", ""]))
    assert blank.p_fail == plain.p_fail
    # as text, as some features are NaN
    assert [(c.text, str(c.features)) for c in blank.candidates] == [
        (c.text, str(c.features)) for c in plain.candidates
    ]
    assert plain.candidates


@pytest.mark.parametrize(
    ("text", "turns"), [("again", "play jazz"), ("again", [None]), ("again", ["a", 5]), (None, [])]
)
def test_what_is_no_text_is_named(text: Any, turns: Any, rewriter: Rewriter) -> None:
    with pytest.raises(TypeError, match="turns a list of strings; got"):
        rewriter.rewrite(text, turns=turns)
