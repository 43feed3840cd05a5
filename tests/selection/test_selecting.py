"""Influence, importance, strategies, picking."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from selection.examples import Utterance
from selection.influence import Influence, Misreading, importance
from selection.selecting import Candidate, Options, pick
from selection.strategies import STRATEGIES, Scene, explain_mistakes, surprise
from tests.selection.grammar import trained, utterances

FREE = Options(per_intent=1, per_domain=1, near_duplicate=1.1)


def misreading(right: str, wrong: str, said: str, against: list[float], towards: list[float]) -> Misreading:
    return Misreading(said, right, wrong, tuple(said.split()), np.array(against), np.array(towards))


def candidate(text: str, intent: str = "play", domain: str = "music", count: int = 1) -> Candidate:
    return Candidate(Utterance(text, domain, intent), count, count)


def candidates() -> list[Candidate]:
    texts = ("play red sun", "put on something", "lights off", "wake me at nine", "quiet", "turn it off", "silence")
    intents = ("play", "play", "light_off", "alarm_set", "alarm_stop", "light_off", "alarm_stop")
    return [candidate(t, i, "any", count) for count, (t, i) in enumerate(zip(texts, intents, strict=True), start=1)]


def scene(seed: int = 0, held: list[Utterance] | None = None) -> Scene:
    odd = Utterance("turn something on in the kitchen", "music", "play")
    wrong = [Utterance("quiet in the hall", "alarm", "alarm_stop"), odd]
    counts = {"play": 24, "light_off": 3, "light_on": 3, "alarm_set": 3, "alarm_stop": 3}
    return Scene(trained(), held if held is not None else [*wrong, *utterances()[:5]], counts, seed)


def test_blame_is_against_the_right_class_or_for_the_wrong_one() -> None:
    mistake = misreading("a", "b", "x y z", [-1, 2, 0], [0.5, -3, 0.25])
    assert mistake.blame().tolist() == [1.5, 0, 0.25]


def test_influence_sums_over_the_mistakes_of_a_confusion() -> None:
    mistakes = [
        misreading("a", "b", "x x", [-1, -1], [0, 0]),
        misreading("a", "b", "x y", [-1, 0], [0, 2]),
        misreading("a", "c", "x", [-8], [0]),
    ]
    found = Influence.of(mistakes)
    assert found.tables == {("a", "b"): {"x": 3, "y": 2}, ("a", "c"): {"x": 8}}
    assert found.mistakes == {("a", "b"): 2, ("a", "c"): 1}
    assert found.by_class() == {"a": {"x": 11, "y": 2}}
    assert found.by_class(0.5) == {"a": {"x": 11, "y": 2}, "b": {"x": -1.5, "y": -1}, "c": {"x": -4}}
    assert found.top(("a", "b"), 1) == [("x", 3)]


def test_rare_confusions_can_be_left_out() -> None:
    mistakes = [misreading("a", "b", "x", [-1], [0])] * 2 + [misreading("a", "c", "x", [-1], [0])]
    assert list(Influence.of(mistakes, fewest_mistakes=2).tables) == [("a", "b")]


def test_only_the_class_that_the_words_were_missing_counts() -> None:
    found = Influence({("a", "b"): {"x": 4.0}})
    assert importance(["x y z w", "x", "x"], [["a"], ["a"], ["b"]], found, None, 0, decay=1).tolist() == [4, 4, 0]
    assert importance(["x y z w", "x", "x"], [["a"], ["a"], ["b"]], found, None, 1, decay=1).tolist() == [1, 4, 0]


def test_an_utterance_counts_for_its_intent_and_its_slots() -> None:
    found = Influence({("a", "b"): {"x": 4.0}, ("slot s", "no slot"): {"x": 1.0, "y": 2.0}})
    assert importance(["x y", "x y"], [["a", "slot s"], ["slot s"]], found, None, 0, decay=1).tolist() == [7, 3]


def test_missed_slots_are_explained_at_their_first_word() -> None:
    held = [Utterance("play the purple rain", "music", "play", (("artist", "the purple rain"),))]
    found, _ = explain_mistakes(Scene(trained(), held, {}, slots=True))
    ((reading,),) = trained().read([held[0].text])
    assert [m.right for m in found] == ([] if reading.tags[1] == "B-artist" else ["slot artist"])
    assert explain_mistakes(Scene(trained(), held, {})) == ([], 0)


def test_a_word_said_twice_counts_once() -> None:
    assert importance(["x x"], [["a"]], Influence({("a", "b"): {"x": 4.0}}), None, 0).tolist() == [4]


def test_words_that_were_picked_before_are_worth_less() -> None:
    found = Influence({("a", "b"): {"x": 4.0, "y": 3.0}})
    texts, classes = ["x", "x ", "y"], [["a"], ["a"], ["a"]]
    assert importance(texts, classes, found, None, 0, decay=0.5).tolist() == [4, 2, 3]
    assert importance(texts, classes, found, None, 0, decay=1).tolist() == [4, 4, 3]
    assert importance(texts, classes, found, None, 0, decay=0).tolist() == [4, 0, 3]


@given(st.lists(st.lists(st.sampled_from("xyz"), min_size=1, max_size=3), max_size=8))
def test_without_decay_an_utterance_is_worth_its_own_words(bags: list[list[str]]) -> None:
    texts, worth = [" ".join(bag) for bag in bags], {"x": 4.0, "y": 3.0}
    plain = [sum(worth.get(word, 0) for word in set(bag)) / len(bag) ** 0.5 for bag in bags]
    found = importance(texts, [["a"]] * len(texts), Influence({("a", "b"): worth}), decay=1)
    assert found.tolist() == pytest.approx(plain)


def test_words_that_led_to_a_class_wrongly_speak_against_it() -> None:
    found = Influence({("a", "b"): {"x": 4.0}, ("b", "a"): {"y": 3.0}})
    assert importance(["x y", "y"], [["a"], ["a"]], found, None, 0).tolist() == [1, 0]
    assert importance(["x y", "y"], [["a"], ["a"]], found, None, 0, penalty=0).tolist() == [4, 0]


def test_weights_multiply() -> None:
    found = Influence({("a", "b"): {"x": 4.0}})
    assert importance(["x", "x z"], [["a"], ["a"]], found, [0.0, 0.5], 0).tolist() == [0, 2]


def test_what_the_model_reads_as_labelled_surprises_it_little() -> None:
    model = trained()
    ((reading,),) = model.read(["stop"])
    other = next(name for name in model.labels.intents if name != reading.intent)
    known, new = surprise(model, [candidate("stop", reading.intent), candidate("stop", other)])
    assert 0 <= known < new <= 1


def test_quotas_hold() -> None:
    many = [candidate(f"play {n}") for n in range(10)] + [candidate(f"stop {n}", "stop") for n in range(10)]
    scores = np.arange(20.0)[::-1]
    picks = pick(many, scores, 10, Options(per_intent=0.3, per_domain=1, near_duplicate=1.1))
    assert [many[p.row].utterance.intent for p in picks] == ["play"] * 3 + ["stop"] * 3
    picks = pick(many, scores, 10, Options(per_intent=1, per_domain=0.4, near_duplicate=1.1))
    assert len(picks) == 4


def test_near_duplicates_are_picked_once() -> None:
    many = [candidate("play the red sun"), candidate("the sun red play"), candidate("play the red sun now")]
    assert [p.row for p in pick(many, np.array([3.0, 2, 1]), 3, Options(1, 1, 0.8))] == [0]
    assert [p.row for p in pick(many, np.array([3.0, 2, 1]), 3, Options(1, 1, 0.9))] == [0, 2]


def test_what_has_no_score_is_never_picked() -> None:
    assert [p.row for p in pick(candidates()[:2], np.array([-np.inf, 0]), 5, FREE)] == [1]


@given(st.permutations(range(7)), st.integers(0, 5))
def test_ties_do_not_depend_on_the_order_of_the_rows(order: list[int], seed: int) -> None:
    many = candidates()
    options = Options(1, 1, 1.1, seed)
    plain = [many[p.row].utterance.text for p in pick(many, np.zeros(7), 4, options)]
    shuffled = [many[row] for row in order]
    assert [shuffled[p.row].utterance.text for p in pick(shuffled, np.zeros(7), 4, options)] == plain


def test_another_seed_breaks_ties_otherwise() -> None:
    many = [candidate(f"play {n}") for n in range(30)]
    picked = {tuple(p.row for p in pick(many, np.zeros(30), 5, Options(1, 1, 1.1, seed))) for seed in range(4)}
    assert len(picked) > 1


@pytest.mark.parametrize(
    ("many", "scores", "message"),
    [([], [], "got no candidates"), ([candidate("x")], [np.nan], "NaN"), ([candidate("x")], [], "0 scores for 1")],
)
def test_what_cannot_be_picked_from_is_refused(many: list[Candidate], scores: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        pick(many, np.array(scores), 1, FREE)


def test_a_quota_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="per_intent is 0"):
        Options(per_intent=0)


@pytest.mark.parametrize("name", STRATEGIES)
def test_every_strategy_scores_each_candidate_whatever_the_order(name: str) -> None:
    many = candidates()
    scores = STRATEGIES[name](scene(), many)
    assert scores.shape == (7,)
    assert not np.isnan(scores).any()
    again = STRATEGIES[name](scene(), many[::-1])
    assert again[::-1] == pytest.approx(scores, abs=1e-4)


def test_integrated_gradients_picks_words_of_the_missed_class() -> None:
    scores = STRATEGIES["integrated gradients"](scene(), candidates())
    by_text = {c.utterance.text: score for c, score in zip(candidates(), scores, strict=True)}
    missed = {m.right for m in explain_mistakes(scene())[0]}
    assert all(by_text[c.utterance.text] == -np.inf for c in candidates() if c.utterance.intent not in missed)
    assert max(by_text.values()) > 0


def test_mistakes_are_explained_with_their_error() -> None:
    found, over = explain_mistakes(scene())
    assert over == 0
    assert {m.text for m in found} <= {"quiet in the hall", "turn something on in the kitchen"}
    assert all(m.right != m.wrong and m.error <= 0.05 and len(m.words) == len(m.blame()) for m in found)


def test_a_model_without_mistakes_asks_for_nothing() -> None:
    right = scene(held=utterances()[:3])
    assert np.isneginf(STRATEGIES["integrated gradients"](right, candidates())).all()
    assert STRATEGIES["gradient similarity"](right, candidates()).tolist() == [0] * 7


def test_random_prefers_what_was_heard_more_often() -> None:
    many = [candidate(f"play {n}", count=50 if n < 50 else 1) for n in range(100)]
    picked = [p.row for seed in range(5) for p in pick(many, STRATEGIES["random"](scene(seed), many), 20, FREE)]
    assert np.mean([row < 50 for row in picked]) > 0.8


def test_stratified_random_keeps_the_shares_of_the_training_set() -> None:
    many = [candidate(f"play {n}") for n in range(40)] + [candidate(f"wake {n}", "alarm_set") for n in range(40)]
    picks = pick(many, STRATEGIES["class-stratified random"](scene(), many), 9, FREE)
    assert sum(many[p.row].utterance.intent == "play" for p in picks) == 8


def test_frequency_and_uncertainty_order_as_they_say() -> None:
    assert np.argmax(STRATEGIES["frequency"](scene(), candidates())) == 6
    sure, unsure = candidate("play hello by mika"), candidate("turn the light in the hall")
    for name in ("entropy", "margin"):
        first, second = STRATEGIES[name](scene(), [sure, unsure])
        assert second > first
