"""The index: what it finds is scored as a scan scores it, and it finds nearly all that a scan does."""

import numpy as np
import pytest
from rapidfuzz import fuzz

from jobs.world.grammar import generate
from rewrite import index, neighbours
from rewrite.encoder import EncoderConfig, projection
from rewrite.index import VectorIndex
from rewrite.neighbours import VIEWS, Neighbours
from rewrite.sounds import phonetic

pytest.importorskip("faiss")

TEXTS = generate(3000, np.random.default_rng(1))
QUERIES = [text.replace("e", "i", 1).replace("t", "d", 1) for text in TEXTS[::60]]
CONFIG = EncoderConfig(dimensions=64, buckets=8192)


@pytest.fixture(scope="module")
def indexed() -> Neighbours:
    return Neighbours(TEXTS, indexed=True, encoder=projection(TEXTS, CONFIG))


def test_what_the_index_finds_is_scored_in_every_view(indexed: Neighbours) -> None:
    assert isinstance(indexed._first, index.Indexed)
    rows, scores = indexed._first.scored([QUERIES[0]])[0]
    assert len(rows) == len(set(rows.tolist())) == index.POOL
    assert scores.shape == (len(VIEWS), index.POOL)
    vectors = projection(TEXTS, CONFIG).encode([QUERIES[0], *(TEXTS[row] for row in rows)])
    ratios = [fuzz.ratio(QUERIES[0], TEXTS[row]) for row in rows]
    far = np.square(vectors[1:] - vectors[0]).sum(1)
    np.testing.assert_allclose(scores[:2], [ratios, -far], rtol=1e-4, atol=1e-4)
    nearest = np.argsort(-scores[0], kind="stable")[: index.SOUNDED // 2]
    sounds = [fuzz.ratio(phonetic(QUERIES[0]), phonetic(TEXTS[row])) for row in rows[nearest]]
    np.testing.assert_allclose(scores[2][nearest], sounds, rtol=1e-4)


def test_the_index_finds_what_was_meant_as_a_scan_does(indexed: Neighbours) -> None:
    scanned = Neighbours(TEXTS, indexed=False)
    for found in (indexed, scanned):
        near = [dict(found.near(query, 10)) for query in QUERIES]
        assert np.mean([meant in texts for meant, texts in zip(TEXTS[::60], near, strict=True)]) > 0.97


def test_texts_added_and_removed_count_at_once() -> None:
    found = Neighbours(TEXTS[:500], indexed=True, encoder=projection(TEXTS, CONFIG))
    query = TEXTS[40]
    assert found.near(query, 1) == [(query, 100.0)]
    found.remove([query])
    assert query not in dict(found.near(query, 500))
    found.add([query, "brand new text"])
    assert found.near(query, 1) == [(query, 100.0)]
    assert found.near("brand new taxt", 1)[0][0] == "brand new text"
    assert {text for text, _ in found.near(query, 600)} == {*TEXTS[:500], "brand new text"}


def test_fresh_texts_are_scored_as_those_of_the_index_are() -> None:
    encoder, fresh = projection(TEXTS, CONFIG), TEXTS[500:540]
    found = Neighbours(TEXTS[:500], indexed=True, encoder=encoder)
    found.add(fresh)
    assert isinstance(found._fresh, neighbours.Scan)
    vectors = encoder.encode([QUERIES[3], *fresh])
    scores = found._fresh.scores([QUERIES[3]])[0]
    far = np.square(vectors[1:] - vectors[0]).sum(1)
    np.testing.assert_allclose(scores[VIEWS.index("ngrams")], -far, atol=1e-5)


def test_many_removed_texts_do_not_empty_the_neighbourhood() -> None:
    found = Neighbours([*(f"play song {n}" for n in range(600)), "play songs"], indexed=True)
    found.remove([f"play song {n}" for n in range(600)])
    assert found.near("play song 7", 3) == [("play songs", fuzz.ratio("play song seven", "play songs"))]


def test_lists_of_short_vectors_find_most_of_what_whole_ones_do() -> None:
    encoder = projection(TEXTS, CONFIG)
    whole, lists = VectorIndex(encoder, TEXTS), VectorIndex(encoder, TEXTS, exact_below=0)
    pairs = zip(whole.search(QUERIES, 20)[1].tolist(), lists.search(QUERIES, 100)[1].tolist(), strict=True)
    assert np.mean([len(set(a) & set(b)) / 20 for a, b in pairs]) > 0.9
    assert lists.nbytes() < whole.nbytes()


def test_an_index_is_built_from_a_size_on_where_faiss_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(neighbours, "INDEX_FROM", 100)
    assert Neighbours(TEXTS[:99]).index_bytes() == 0
    assert Neighbours(TEXTS[:200]).index_bytes() > 0
    monkeypatch.setattr(index, "find_spec", lambda name: None)
    assert Neighbours(TEXTS[:200]).index_bytes() == 0


def test_an_index_of_nothing_finds_nothing() -> None:
    assert Neighbours([], indexed=True).near("play", 3) == []


def test_a_gpu_that_is_not_there_is_refused() -> None:
    import faiss

    if getattr(faiss, "get_num_gpus", lambda: 0)():
        pytest.skip("there is one")
    with pytest.raises(ValueError, match="FAISS sees no GPU"):
        VectorIndex(projection(TEXTS, CONFIG), TEXTS[:10], on_gpu=True)


@pytest.mark.gpu
def test_an_index_on_a_gpu_finds_the_same() -> None:
    import faiss

    if not getattr(faiss, "get_num_gpus", lambda: 0)():
        pytest.skip("needs faiss-gpu and a CUDA device")
    encoder = projection(TEXTS, CONFIG)
    here, there = (VectorIndex(encoder, TEXTS, on_gpu=on).search(QUERIES, 5)[1] for on in (False, True))
    assert np.mean(here[:, 0] == there[:, 0]) > 0.95
