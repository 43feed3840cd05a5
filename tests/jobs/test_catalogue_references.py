"""References fitted to a catalogue: what they answer, and that none of them answers where it should not."""

import numpy as np
import pytest

from jobs import catalogue_references
from jobs.catalogue_references import FITTED, MinedLookUp, fit, out_of_fold
from jobs.references import nearest
from rewrite.encoder import EncoderConfig

pytest.importorskip("faiss")
pytest.importorskip("symspellpy")

TEXTS = ["play the golden river", "call my mother", "set a timer for ten minutes", "turn off the kitchen light"]
PAIRS = [
    ("clay the golden river", TEXTS[0]),
    ("clay the golden river", TEXTS[0]),
    ("clay the golden river", TEXTS[1]),
    ("tall my mother", TEXTS[1]),
    ("set a dime for ten minutes", TEXTS[2]),
    ("turn of the chicken light", TEXTS[3]),
]


@pytest.fixture(autouse=True)
def few_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    small = EncoderConfig(dimensions=32, buckets=4096, steps=20, groups=2, group=2)
    monkeypatch.setattr(catalogue_references, "ENCODER", small)


@pytest.mark.parametrize("name", FITTED)
def test_an_answer_is_of_the_catalogue_and_a_query_of_the_catalogue_is_left_alone(name: str) -> None:
    queries = ["clay the golden river", "tall my mother", TEXTS[2], "", "zzzz qq"]
    answers = fit(name, TEXTS, PAIRS).answer(queries)
    assert answers.rewrites[:3] == (TEXTS[0], TEXTS[1], None)
    assert set(answers.rewrites) <= {*TEXTS, None}
    assert answers.confidence.shape == (5,)
    assert all((c == 0) == (t is None) for c, t in zip(answers.confidence[:3], answers.rewrites[:3], strict=True))


@pytest.mark.parametrize("name", FITTED)
def test_a_query_gets_the_same_answer_alone_and_among_others(name: str) -> None:
    reference, queries = fit(name, TEXTS, PAIRS), ["clay the golden rover", "col my mother", "clay the golden river"]
    together = reference.answer(queries)
    alone = [reference.answer([query]) for query in queries]
    assert together.rewrites == tuple(a.rewrites[0] for a in alone)
    np.testing.assert_allclose(together.confidence, [a.confidence[0] for a in alone], rtol=1e-5)


@pytest.mark.parametrize("name", FITTED)
def test_no_queries_get_no_answers(name: str) -> None:
    assert fit(name, TEXTS, PAIRS).answer([]).rewrites == ()


def test_the_look_up_answers_with_what_most_pairs_say_and_never_with_the_query() -> None:
    answers = MinedLookUp([*PAIRS, ("stop", "stop")]).answer(["clay the golden river", "stop", "never heard"])
    assert answers.rewrites == (TEXTS[0], None, None)
    assert answers.confidence.tolist() == [2, 0, 0]


def test_spelling_is_corrected_before_the_nearest_text_is_sought() -> None:
    texts, query = ["please wake me", "pleading woke"], "pleese wak mee"
    assert nearest([query], texts, 0.0).confidence[0] < 90
    answers = fit("SymSpell, then nearest", texts, []).answer([query])
    assert answers.rewrites == ("please wake me",)
    assert answers.confidence[0] == 100


def test_dense_retrieval_works_without_pairs_and_with_one_text_only() -> None:
    assert fit("dense retrieval", TEXTS, []).answer(["cal my mothr"]).rewrites == (TEXTS[1],)
    assert fit("dense retrieval", TEXTS[:1], []).answer(["clay the river"]).rewrites == (TEXTS[0],)


def test_the_confidence_of_dense_retrieval_is_the_cosine() -> None:
    reference, query = fit("dense retrieval", TEXTS, []), "cal my mothr"
    vectors = reference._encoder.encode([query, TEXTS[1]])
    assert reference.answer([query]).confidence[0] == pytest.approx(vectors[0] @ vectors[1], abs=1e-5)


def test_out_of_fold_answers_know_no_pair_of_their_own_fold() -> None:
    queries, meant = zip(*PAIRS, strict=True)
    alone = out_of_fold("mined look-up", queries, meant, np.array([0, 0, 0, 1, 2, 3]), TEXTS)
    assert alone.rewrites == (None,) * 6
    split = out_of_fold("mined look-up", queries, meant, np.array([0, 1, 0, 1, 2, 3]), TEXTS)
    assert split.rewrites[0] == TEXTS[0]


def test_an_unknown_reference_and_an_empty_catalogue_are_refused() -> None:
    with pytest.raises(ValueError, match="unknown reference 'oracle'; expected one of nearest text"):
        fit("oracle", TEXTS, PAIRS)
    with pytest.raises(ValueError, match="empty catalogue"):
        fit("nearest text", [], PAIRS)
