"""Log-probabilities of the generator against a hand computation, alone and among others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from rewrite.checkpoints import is_local
from rewrite.generator import Generator
from tests.rewrite.world import tiny_generator

PAIRS = [
    ("play alien bridges", "play ancient bridges"),
    ("a", ""),
    ("", "stop"),
    ("turn on the chicken light please, and the one next door", "x"),
    ("zoë", "日本語"),
]


@pytest.fixture(scope="module")
def generator() -> Generator:
    made = tiny_generator(seed=3)
    # Fresh weights are so small that every distribution is nearly uniform: a wrong input would go unnoticed.
    with torch.no_grad():
        for parameter in made.model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(8)
    return made


def by_hand(generator: Generator, source_ids: list[int], text: str) -> float:
    """One token at a time: the sum over the target of log softmax of the step's logits."""
    target = [byte + 3 for byte in text.encode()] + [1]
    total, given = 0.0, [0]
    for token_id in target:
        with torch.no_grad():
            logits = generator.model(
                input_ids=torch.tensor([source_ids]), decoder_input_ids=torch.tensor([given]), use_cache=False
            ).logits[0, -1]
        total += float(logits.double().log_softmax(0)[token_id])
        given.append(token_id)
    return total


def test_log_probs_are_the_sums_computed_by_hand(generator: Generator) -> None:
    forward = generator.log_probs("forward", [s for s, _ in PAIRS], [t for _, t in PAIRS], ["first", "stop", "no"])
    channel = generator.log_probs("channel", [s for s, _ in PAIRS], [t for _, t in PAIRS])
    turns = [b + 3 for b in b"stop"] + [261] + [b + 3 for b in b"no"] + [261]
    for row, (source, target) in enumerate(PAIRS):
        ids = [b + 3 for b in source.encode()] + [1]
        assert forward[row] == pytest.approx(by_hand(generator, [259, *turns, *ids], target), abs=1e-3)
        assert channel[row] == pytest.approx(by_hand(generator, [260, *ids], target), abs=1e-3)


@pytest.mark.parametrize("direction", ["forward", "channel"])
def test_a_pair_alone_and_among_ragged_others_agrees(generator: Generator, direction: str) -> None:
    together = generator.log_probs(direction, [s for s, _ in PAIRS], [t for _, t in PAIRS], ["stop"])  # type: ignore[arg-type]
    alone = [generator.log_probs(direction, [s], [t], ["stop"])[0] for s, t in PAIRS]  # type: ignore[arg-type]
    np.testing.assert_allclose(together, alone, atol=1e-4)
    assert len({round(score, 3) for score in alone}) == len(PAIRS)


def test_no_pairs_have_no_scores(generator: Generator) -> None:
    assert generator.log_probs("forward", [], []).shape == (0,)


def test_directions_and_turns_matter(generator: Generator) -> None:
    forward = generator.log_probs("forward", ["play"], ["stop"])
    assert forward != generator.log_probs("channel", ["play"], ["stop"])
    assert forward != generator.log_probs("forward", ["play"], ["stop"], ["jazz"])
    assert generator.log_probs("channel", ["play"], ["stop"]) == generator.log_probs(
        "channel", ["play"], ["stop"], ["jazz"]
    )


def test_padding_costs_nothing_and_the_rest_something(generator: Generator) -> None:
    losses, mask = generator.token_losses([[259, 100, 1], [259, 1]], [[100, 101, 1], [1]])
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]
    assert (losses[mask == 0] == 0).all()
    assert (losses[mask == 1] > 0).all()


def test_saving_and_loading_is_identity(generator: Generator, tmp_path: Path) -> None:
    generator.save(tmp_path)
    loaded = Generator.load(tmp_path)
    assert {p.suffix for p in tmp_path.iterdir()} <= {".json", ".safetensors"}
    for name, tensor in generator.model.state_dict().items():
        assert torch.equal(tensor, loaded.model.state_dict()[name]), name
    sources, targets = [s for s, _ in PAIRS], [t for _, t in PAIRS]
    np.testing.assert_array_equal(
        generator.log_probs("forward", sources, targets), loaded.log_probs("forward", sources, targets)
    )


def test_weights_come_from_the_seed_and_leave_the_global_state_alone() -> None:
    before = torch.get_rng_state()
    same, again, other = (dict(tiny_generator(seed).model.named_parameters()) for seed in (1, 1, 2))
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(same[name], again[name]) for name in same)
    assert not all(torch.equal(same[name], other[name]) for name in same)


@pytest.mark.parametrize("name", ["./model", "/no/such/model", "out/deep/model", "~/model", "tests/model"])
def test_a_folder_that_is_not_there_is_said_so_without_asking_the_hub(name: str, monkeypatch: Any) -> None:
    from transformers import AutoModelForSeq2SeqLM

    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setattr(AutoModelForSeq2SeqLM, "from_pretrained", lambda *_, **__: pytest.fail("the hub was asked"))
    with pytest.raises(ValueError, match="no such folder; expected a folder that holds a model"):
        Generator.load(name)


@pytest.mark.parametrize("name", ["byt5-small", "google/byt5-small"])
def test_a_hub_name_is_no_folder(name: str) -> None:
    assert not is_local(name)
