"""Guesses from the query: what they suggest, and that they save forwards and change nothing else."""

import numpy as np
import torch

from rewrite.expand import Packing
from rewrite.guide import Guide
from rewrite.search import SearchStats, search
from rewrite.trie import TokenTrie
from tests.reference.tiny_models import EOS_ID
from tests.rewrite.test_search import model_of, random_members

torch.set_num_threads(1)


def guess(query: list[int], tail: list[int], count: int, padding: int = 0) -> set[int]:
    ids = np.array([[*query, *[0] * padding]])
    mask = np.array([[1] * len(query) + [0] * padding])
    return set(Guide(ids, mask).next_ids(np.array([0]), np.array([tail]), np.array([count]))[0].tolist())


def test_the_token_after_the_longest_match_is_suggested() -> None:
    assert guess([5, 6, 7, 8, 1], [5, 6, 7], 3) == {8}
    assert guess([9, 7, 4, 5, 6, 7, 8, 1], [5, 6, 7], 3) == {8}  # three tokens match better than one that is nearer
    assert guess([5, 6, 30, 8, 9, 1], [6, 7, 8], 4) == {9}  # after an error in the query


def test_among_equal_matches_the_nearest_counts() -> None:
    query = [5, 6, 20, 20, 20, 5, 6, 21, 1]
    assert guess(query, [-1, 5, 6], 2) == {20}
    assert guess(query, [-1, 5, 6], 7) == {21}


def test_without_a_match_the_same_place_is_suggested() -> None:
    assert guess([5, 6, 7, 8, 1], [-1, -1, -1], 0) == {5, 6}
    assert guess([5, 6, 7, 8, 1], [30, 31, 32], 3) == {8, 1}


def test_padding_is_never_suggested_nor_matched() -> None:
    assert guess([5, 1], [-1, -1, 1], 2, padding=3) == {-2}
    assert guess([5, 6, 1], [-1, -1, 0], 4, padding=3) == {-2}


def test_a_query_that_is_a_member_is_met_in_fewer_forwards() -> None:
    rng = np.random.default_rng(0)
    members = random_members(rng, 200, alphabet=4, longest=14)
    member = max(members, key=len)
    ids = torch.tensor([member])
    trie, met = TokenTrie.build(members), {}
    for guessed in (0, 48):
        stats = SearchStats()
        packing = Packing(width=1, width_early=1, guess=guessed, ahead=0, ahead_of_all=0)
        found = search(model_of("t5"), ids, tries=[trie], k=200, max_forwards=1, packing=packing, stats=stats)[0]
        met[guessed] = {c.token_ids for c in found}
        assert stats.forwards == 1
    assert tuple(member) in met[48]
    assert tuple(member) not in met[0]
    assert member[-1] == EOS_ID
