"""Laws of search, whatever the members: hypothesis draws them."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewrite.expand import Packing
from rewrite.search import SearchStats, search
from rewrite.trie import TokenTrie
from tests.reference.brute_force import best_members
from tests.reference.tiny_models import EOS_ID, tiny_model
from tests.rewrite.test_search import model_of, queries, random_members

torch.set_num_threads(1)
members_of = st.lists(st.lists(st.integers(3, 6), max_size=6).map(lambda ids: [*ids, EOS_ID]), min_size=1, max_size=30)
packings = st.builds(
    Packing,
    width=st.integers(1, 40),
    width_early=st.integers(1, 40),
    guess=st.integers(0, 12),
    leaders=st.integers(0, 3),
    chain=st.integers(1, 9),
    chain_early=st.integers(1, 4),
    chain_per_nat=st.floats(0, 2),
    depth_credit=st.floats(0, 3),
    ahead=st.sampled_from([0, 30, 1000]),
    ahead_of_all=st.sampled_from([0, 1000]),
)
few = settings(max_examples=30, deadline=None)


@few
@given(members_of, packings, st.integers(1, 6), st.integers(0, 99), st.sampled_from(["pegasus", "t5", "blenderbot"]))
def test_proved_results_equal_brute_force(
    members: list[list[int]], packing: Packing, k: int, seed: int, family: str
) -> None:
    ids, mask = queries(np.random.default_rng(seed), [5])
    model = model_of(family)
    found = search(model, ids, mask, tries=[TokenTrie.build(members)], k=k, packing=packing, max_forwards=10_000)[0]
    wanted = best_members(model, ids, mask, members, k)
    assert all(c.proved for c in found)
    assert [c.token_ids for c in found] == [m for m, _ in wanted]
    np.testing.assert_allclose([c.log_prob for c in found], [s for _, s in wanted], rtol=1e-4, atol=1e-4)


@few
@given(members_of, packings, st.integers(1, 4), st.integers(1, 6), st.integers(0, 99))
def test_with_any_budget_all_returned_are_members_and_proofs_hold(
    members: list[list[int]], packing: Packing, prove: int, forwards: int, seed: int
) -> None:
    ids, mask = queries(np.random.default_rng(seed), [5, 3])
    model, trie = model_of("pegasus"), TokenTrie.build(members)
    found = search(model, ids, mask, tries=[trie], k=4, prove=prove, packing=packing, max_forwards=forwards)
    for row, each in enumerate(found):
        length = int(mask[row].sum())
        wanted = best_members(model, ids[row : row + 1, :length], mask[row : row + 1, :length], members, 4)
        assert all(c.token_ids in trie for c in each)
        assert len({c.token_ids for c in each}) == len(each)
        assert [c.log_prob for c in each] == sorted((c.log_prob for c in each), reverse=True)
        for rank, candidate in enumerate(each):
            if candidate.proved:
                assert candidate.token_ids == wanted[rank][0]


@few
@given(members_of, st.integers(0, 99), packings)
def test_every_member_can_be_returned(members: list[list[int]], seed: int, packing: Packing) -> None:
    ids, mask = queries(np.random.default_rng(seed), [4])
    found = search(
        model_of("marian"), ids, mask, tries=[TokenTrie.build(members)], k=50, packing=packing, max_forwards=10_000
    )
    assert {c.token_ids for c in found[0]} == set(map(tuple, members))


@few
@given(st.lists(members_of, min_size=1, max_size=3), st.integers(0, 99), st.integers(1, 30))
def test_alone_or_in_a_batch_the_result_is_the_same(sets: list[list[list[int]]], seed: int, forwards: int) -> None:
    rng = np.random.default_rng(seed)
    ids, mask = queries(rng, rng.integers(2, 9, len(sets) + 2).tolist())
    tries = [TokenTrie.build(members) for members in sets]
    per_query = [[tries[i] for i in rng.integers(0, len(tries), 2)] for _ in range(len(ids))]
    model = model_of("bart")
    together = search(model, ids, mask, tries=per_query, k=3, max_forwards=forwards)
    for row, each in enumerate(together):
        length = int(mask[row].sum())
        one = slice(row, row + 1)
        alone = search(
            model, ids[one, :length], mask[one, :length], tries=[per_query[row]], k=3, max_forwards=forwards
        )[0]
        assert [(c.token_ids, c.proved, c.tries) for c in each] == [(c.token_ids, c.proved, c.tries) for c in alone]
        np.testing.assert_allclose([c.log_prob for c in each], [c.log_prob for c in alone], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("forwards", [1, 2, 3, 5])
def test_what_two_tries_share_is_run_in_the_order_in_which_the_query_names_them(forwards: int) -> None:
    for seed in range(12):
        rng = np.random.default_rng(seed)
        members = random_members(rng, 60)
        one, other = TokenTrie.build(members[:45]), TokenTrie.build(members[15:])
        per_query = [[other, one], [one, other], [other], [one, other]]
        ids, mask = queries(rng, [6, 5, 7, 4])
        together = search(model_of("bart"), ids, mask, tries=per_query, k=3, max_forwards=forwards)
        for row, each in enumerate(together):
            query, heard = ids[row : row + 1, : mask[row].sum()], mask[row : row + 1, : mask[row].sum()]
            alone = search(model_of("bart"), query, heard, tries=[per_query[row]], k=3, max_forwards=forwards)[0]
            assert [(c.token_ids, c.proved, c.tries) for c in each] == [(c.token_ids, c.proved, c.tries) for c in alone]


def test_a_small_set_is_scored_in_one_forward() -> None:
    rng = np.random.default_rng(8)
    members = random_members(rng, 20)
    ids, mask = queries(rng, [5, 4])
    stats = SearchStats()
    found = search(
        model_of("t5"), ids, mask, tries=[TokenTrie.build(members)], k=50, packing=Packing(ahead=1000), stats=stats
    )
    assert stats.forwards == 1
    assert {c.token_ids for c in found[0]} == set(map(tuple, members))


def test_a_small_set_is_scored_in_one_forward_beside_a_large_one() -> None:
    rng = np.random.default_rng(11)
    small, large = random_members(rng, 6), random_members(rng, 300)
    ids, mask = queries(rng, [5, 4])
    tries = [[TokenTrie.build(small)], [TokenTrie.build(large)]]
    found = search(model_of("bart"), ids, mask, tries=tries, k=6, max_forwards=1)
    assert {c.token_ids for c in found[0]} == set(map(tuple, small))
    assert all(c.proved for c in found[0])


def test_proving_fewer_than_k_costs_no_more() -> None:
    rng = np.random.default_rng(9)
    members = random_members(rng, 300, alphabet=9)
    ids, mask = queries(rng, [5])
    spent = {}
    for prove in (1, 4):
        stats = SearchStats()
        found = search(
            model_of("pegasus"), ids, mask, tries=[TokenTrie.build(members)], k=4, prove=prove, stats=stats,
            max_forwards=10_000, packing=Packing(2, 2),
        )[0]  # fmt: skip
        spent[prove] = stats.tokens
        assert len(found) == 4
        assert found[0].proved
    assert spent[1] <= spent[4]


@pytest.mark.parametrize("family", ["t5", "bart", "pegasus"])
def test_in_bfloat16_only_members_come_back(family: str) -> None:
    rng = np.random.default_rng(3)
    model = tiny_model(family).to(torch.bfloat16)
    members = random_members(rng, 100)
    trie = TokenTrie.build(members)
    ids, mask = queries(rng, [5, 7])
    found = search(model, ids, mask, tries=[trie], k=5, max_forwards=10_000)
    for row, each in enumerate(found):
        length = int(mask[row].sum())
        scores = dict(best_members(model, ids[row : row + 1, :length], mask[row : row + 1, :length], members, 200))
        assert len(each) == 5
        for candidate in each:
            assert candidate.token_ids in trie
            assert candidate.log_prob == pytest.approx(scores[candidate.token_ids], rel=0.03, abs=0.5)


def test_a_model_that_was_changed_by_its_user_is_scored_by_its_own_forward() -> None:
    rng = np.random.default_rng(5)
    model, members = tiny_model("pegasus"), random_members(rng, 30)
    model.model.decoder.layer_norm.register_forward_hook(lambda module, given, out: out * 0.5)
    ids, mask = queries(rng, [5])
    found = search(model, ids, mask, tries=[TokenTrie.build(members)], k=3)[0]
    wanted = best_members(model, ids, mask, members, 3)
    assert [c.token_ids for c in found] == [m for m, _ in wanted]
    np.testing.assert_allclose([c.log_prob for c in found], [s for _, s in wanted], rtol=1e-4, atol=1e-4)


def test_weights_that_change_between_searches_are_seen() -> None:
    rng = np.random.default_rng(5)
    model, members = tiny_model("pegasus"), random_members(rng, 30)
    ids, mask = queries(rng, [5])
    for _ in range(3):
        found = search(model, ids, mask, tries=[TokenTrie.build(members)], k=3)[0]
        wanted = best_members(model, ids, mask, members, 3)
        np.testing.assert_allclose([c.log_prob for c in found], [s for _, s in wanted], rtol=1e-4, atol=1e-4)
        with torch.no_grad():
            for weight in model.get_decoder().parameters():
                weight.mul_(1.1)


def test_a_model_in_training_is_searched_without_dropout_and_left_in_training() -> None:
    rng = np.random.default_rng(6)
    model, members = tiny_model("bart"), random_members(rng, 30)
    ids, mask = queries(rng, [5])
    wanted = best_members(model, ids, mask, members, 2)
    model.train()
    found = search(model, ids, mask, tries=[TokenTrie.build(members)], k=2)[0]
    assert model.training
    np.testing.assert_allclose([c.log_prob for c in found], [s for _, s in wanted], rtol=1e-4, atol=1e-4)


def test_known_encoder_states_are_not_computed_again() -> None:
    rng = np.random.default_rng(7)
    model, members = model_of("t5"), random_members(rng, 30)
    ids, mask = queries(rng, [5, 3])
    states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state.detach()
    trie = TokenTrie.build(members)
    wrong = search(model, ids, mask, tries=[trie], k=2, encoder_states=torch.zeros_like(states))
    right = search(model, ids, mask, tries=[trie], k=2, encoder_states=states)
    for row, each in enumerate(search(model, ids, mask, tries=[trie], k=2)):
        assert [c.log_prob for c in right[row]] == pytest.approx([c.log_prob for c in each], abs=1e-5)
        assert [c.log_prob for c in wrong[row]] != pytest.approx([c.log_prob for c in each], abs=1e-3)


def test_time_runs_out_without_a_proof() -> None:
    rng = np.random.default_rng(8)
    members = random_members(rng, 400, alphabet=20)
    ids, mask = queries(rng, [5])
    found = search(
        model_of("bart"), ids, mask, tries=[TokenTrie.build(members)], k=400, max_ms=1e-3, max_forwards=10_000
    )[0]
    assert len(found) < 400
    assert not all(c.proved for c in found) or not found


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"k": 0}, "k must be at least 1"),
        ({"max_forwards": 0}, "budget must be positive"),
        ({"attention_mask": torch.ones(1, 2)}, "attention_mask is"),
        ({"tries": [[], []]}, "2 lists of tries for 1 queries"),
    ],
)
def test_wrong_arguments_are_told(wrong: dict[str, Any], message: str) -> None:
    ids, mask = queries(np.random.default_rng(0), [4])
    arguments = {"attention_mask": mask, "tries": [TokenTrie.build([[5, EOS_ID]])]} | wrong
    with pytest.raises(ValueError, match=message):
        search(model_of("t5"), ids, **arguments)


def test_a_member_longer_than_the_positions_of_the_model_is_told() -> None:
    ids, mask = queries(np.random.default_rng(0), [4])
    with pytest.raises(ValueError, match="longest member has 100 tokens, the model's decoder 64 positions"):
        search(model_of("bart"), ids, mask, tries=[TokenTrie.build([[5] * 99 + [EOS_ID]])])


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("family", ["t5", "bart", "pegasus", "marian"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_on_a_gpu_results_are_those_of_the_cpu(family: str, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(2)
    members, (ids, mask) = random_members(rng, 200), queries(rng, [5, 7, 3])
    trie = TokenTrie.build(members)
    there = search(tiny_model(family).to("cuda", dtype), ids.cuda(), mask.cuda(), tries=[trie], k=3, max_forwards=9_999)
    here = search(tiny_model(family), ids, mask, tries=[trie], k=200, max_forwards=9_999)
    for row in range(3):
        scores = {c.token_ids: c.log_prob for c in here[row]}
        for candidate in there[row]:
            tolerance = 1e-3 if dtype == torch.float32 else 0.5
            assert candidate.log_prob == pytest.approx(scores[candidate.token_ids], abs=tolerance, rel=0.03)
