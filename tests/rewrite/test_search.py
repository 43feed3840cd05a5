"""Search against brute force over all members, for every model family."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rewrite.expand import Packing
from rewrite.search import Candidate, search
from rewrite.trie import TokenTrie
from tests.reference.brute_force import best_members
from tests.reference.tiny_models import EOS_ID, FAMILIES, VOCABULARY, tiny_model

torch.set_num_threads(1)  # tiny tensors: a second thread costs more than it brings

MODELS: dict[str, Any] = {}


def model_of(family: str) -> Any:
    """Tiny models are made once."""
    if family not in MODELS:
        MODELS[family] = tiny_model(family)
    return MODELS[family]


def random_members(rng: np.random.Generator, count: int, alphabet: int = 5, longest: int = 9) -> list[list[int]]:
    """Members over a small alphabet, so that many share prefixes and middles or are prefixes of one another."""
    lengths = rng.integers(0, longest, count)
    return [[*rng.integers(3, 3 + alphabet, n).tolist(), EOS_ID] for n in lengths]


def queries(rng: np.random.Generator, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Random ragged encoder inputs with their mask."""
    ids = torch.zeros(len(lengths), max(lengths), dtype=torch.long)
    mask = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.from_numpy(rng.integers(3, VOCABULARY, length))
        mask[row, :length] = 1
    return ids, mask


def assert_equals_brute_force(
    found: list[Candidate], model: Any, ids: Tensor, mask: Tensor, members: list[list[int]], k: int
) -> None:
    """The same texts in the same order with the same scores, all proved. `ids` [1, S] may be padded."""
    length = int(mask.sum())
    wanted = best_members(model, ids[:, :length], mask[:, :length], members, k)
    assert [c.token_ids for c in found] == [ids for ids, _ in wanted]
    np.testing.assert_allclose([c.log_prob for c in found], [score for _, score in wanted], rtol=1e-4, atol=1e-4)
    assert all(c.proved for c in found)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("count", [1, 2, 30, 200])
def test_the_best_members_are_those_of_brute_force(family: str, count: int) -> None:
    rng = np.random.default_rng(count)
    model, members = model_of(family), random_members(rng, count)
    ids, mask = queries(rng, [5, 2, 8])
    found = search(model, ids, mask, tries=[TokenTrie.build(members)], k=4, max_forwards=10_000)
    for row in range(3):
        assert_equals_brute_force(found[row], model, ids[row : row + 1], mask[row : row + 1], members, 4)


@pytest.mark.parametrize("packing", [Packing(1, 1, 0, 1), Packing(2, 1, 1, 3, 1), Packing(64, 64, 64, 64)])
@pytest.mark.parametrize("family", ["t5", "pegasus", "blenderbot"])
def test_how_forwards_are_packed_changes_nothing(family: str, packing: Packing) -> None:
    rng = np.random.default_rng(7)
    model, members = model_of(family), random_members(rng, 60)
    ids, mask = queries(rng, [4, 6])
    found = search(model, ids, mask, tries=[TokenTrie.build(members)], k=3, packing=packing, max_forwards=10_000)
    for row in range(2):
        assert_equals_brute_force(found[row], model, ids[row : row + 1], mask[row : row + 1], members, 3)


@pytest.mark.parametrize("family", ["t5", "bart"])
def test_each_query_is_searched_in_its_own_tries(family: str) -> None:
    rng = np.random.default_rng(3)
    model = model_of(family)
    first, second = random_members(rng, 40), random_members(rng, 25)
    second += first[:6]  # texts that are in both
    tries = [TokenTrie.build(first), TokenTrie.build(second)]
    ids, mask = queries(rng, [4, 3, 7])
    found = search(model, ids, mask, tries=[[tries[0]], tries, [tries[1]]], k=9, max_forwards=10_000)
    for row, members in enumerate([first, first + second, second]):
        assert_equals_brute_force(found[row], model, ids[row : row + 1], mask[row : row + 1], members, 9)
    for candidate in found[1]:
        holders = tuple(p for p, trie in enumerate(tries) if candidate.token_ids in trie)
        assert candidate.tries == holders


def test_more_members_asked_for_than_there_are() -> None:
    rng = np.random.default_rng(5)
    model, members = model_of("pegasus"), [[5, EOS_ID], [5, 6, EOS_ID], [EOS_ID]]
    ids, mask = queries(rng, [4])
    found = search(model, ids, mask, tries=[TokenTrie.build(members)], k=50)
    assert_equals_brute_force(found[0], model, ids, mask, members, 50)
    assert len(found[0]) == 3


def test_an_empty_trie_gives_an_empty_list() -> None:
    ids, mask = queries(np.random.default_rng(0), [4, 3])
    empty, one = TokenTrie.build([]), TokenTrie.build([[7, EOS_ID]])
    model = model_of("t5")
    assert search(model, ids, mask, tries=[empty]) == [[], []]
    assert search(model, ids, mask, tries=[]) == [[], []]
    found = search(model, ids, mask, tries=[[empty], [one, empty]])
    assert found[0] == []
    assert [c.token_ids for c in found[1]] == [(7, EOS_ID)]


def test_ids_at_the_edge_of_the_vocabulary() -> None:
    rng = np.random.default_rng(1)
    members = [[VOCABULARY - 1, 0, EOS_ID], [0, 0, EOS_ID], [VOCABULARY - 1, EOS_ID]]
    ids, mask = queries(rng, [4])
    found = search(model_of("bart"), ids, mask, tries=[TokenTrie.build(members)], k=3)
    assert_equals_brute_force(found[0], model_of("bart"), ids, mask, members, 3)
    with pytest.raises(ValueError, match=f"token id {VOCABULARY}, the model has {VOCABULARY}"):
        search(model_of("bart"), ids, mask, tries=[TokenTrie.build([[VOCABULARY, EOS_ID]])])


def test_a_spent_budget_claims_no_proof() -> None:
    rng = np.random.default_rng(2)
    model, members = model_of("pegasus"), random_members(rng, 300, alphabet=9)
    ids, mask = queries(rng, [5])
    trie = TokenTrie.build(members)
    full = search(model, ids, mask, tries=[trie], k=1, max_forwards=10_000)[0]
    for forwards in range(1, 12):
        for candidate in search(
            model, ids, mask, tries=[trie], k=1, max_forwards=forwards, packing=Packing(1, 1, 0, 2, guess=0)
        )[0]:
            assert candidate.token_ids in trie
            assert candidate.log_prob <= full[0].log_prob + 1e-4
            if candidate.proved:
                assert candidate.token_ids == full[0].token_ids


def test_a_removed_text_is_never_returned() -> None:
    rng = np.random.default_rng(4)
    model, members = model_of("marian"), random_members(rng, 80)
    ids, mask = queries(rng, [5])
    trie = TokenTrie.build(members)
    gone = []
    for _ in range(5):
        best = search(model, ids, mask, tries=[trie], k=1, max_forwards=10_000)[0][0]
        gone.append(list(best.token_ids))
        trie.remove([best.token_ids])
        trie.add([best.token_ids])  # a removed text does not come back by being added
        left = [m for m in members if m not in gone]
        found = search(model, ids, mask, tries=[trie], k=3, max_forwards=10_000)
        assert_equals_brute_force(found[0], model, ids, mask, left, 3)


def test_added_texts_are_searched_beside_the_rest() -> None:
    rng = np.random.default_rng(6)
    model, members, fresh = model_of("t5"), random_members(rng, 40), random_members(rng, 20)
    ids, mask = queries(rng, [5, 3])
    trie = TokenTrie.build(members)
    trie.add(fresh)
    for searched in (trie, trie.merged()):
        found = search(model, ids, mask, tries=[searched], k=5, max_forwards=10_000)
        for row in range(2):
            one = slice(row, row + 1)
            assert_equals_brute_force(found[row], model, ids[one], mask[one], members + fresh, 5)
