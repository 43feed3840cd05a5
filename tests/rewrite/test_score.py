"""Scoring given texts: the model's own log-probabilities, in the order asked for."""

import numpy as np
import pytest
import torch

from rewrite.score import score
from tests.reference.brute_force import score_members
from tests.reference.tiny_models import EOS_ID
from tests.rewrite.test_search import model_of, queries, random_members

torch.set_num_threads(1)


@pytest.mark.parametrize("family", ["t5", "pegasus", "blenderbot"])
def test_scores_are_those_of_the_models_own_forward_in_the_order_given(family: str) -> None:
    rng = np.random.default_rng(1)
    model, (ids, mask) = model_of(family), queries(rng, [5, 2, 7])
    sequences = [random_members(rng, count) for count in (12, 1, 40)]
    sequences[0] += sequences[0][:2]  # asked for twice
    for row, found in enumerate(score(model, ids, mask, sequences)):
        length, one = int(mask[row].sum()), slice(row, row + 1)
        wanted = score_members(model, ids[one, :length], mask[one, :length], sequences[row])
        np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)


def test_what_needs_several_forwards_is_scored_in_full() -> None:
    rng = np.random.default_rng(2)
    model, (ids, mask) = model_of("marian"), queries(rng, [5])
    sequences = [[*rng.integers(3, 30, 11).tolist(), EOS_ID] for _ in range(600)]  # more tokens than one forward takes
    np.testing.assert_allclose(
        score(model, ids, mask, [sequences])[0], score_members(model, ids, mask, sequences), rtol=1e-4, atol=1e-4
    )


def test_a_query_without_sequences_has_no_scores() -> None:
    ids, mask = queries(np.random.default_rng(3), [4, 3])
    assert [len(each) for each in score(model_of("t5"), ids, mask, [[], [[5, EOS_ID]]])] == [0, 1]
    assert [len(each) for each in score(model_of("t5"), ids, mask, [[], []])] == [0, 0]


def test_known_encoder_states_are_used() -> None:
    rng = np.random.default_rng(4)
    model, (ids, mask) = model_of("t5"), queries(rng, [4, 6])
    sequences = [random_members(rng, 5), random_members(rng, 6)]
    states = model.get_encoder()(input_ids=ids, attention_mask=mask).last_hidden_state.detach()
    for own, given in zip(
        score(model, ids, mask, sequences), score(model, ids, mask, sequences, encoder_states=states), strict=True
    ):
        np.testing.assert_allclose(own, given, rtol=1e-5, atol=1e-5)
    wrong = score(model, ids, mask, sequences, encoder_states=torch.zeros_like(states))
    assert np.abs(wrong[0] - score(model, ids, mask, sequences)[0]).max() > 1e-3


def test_one_list_per_query_is_asked_for() -> None:
    ids, mask = queries(np.random.default_rng(5), [4, 3])
    with pytest.raises(ValueError, match="1 lists of sequences for 2 queries"):
        score(model_of("t5"), ids, mask, [[[5, EOS_ID]]])
