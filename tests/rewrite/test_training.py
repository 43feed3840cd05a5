"""Training: it learns, it resumes where it was stopped, and its seed decides everything."""

import json
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from rewrite.generator import Generator
from rewrite.noise import ErrorChannel
from rewrite.training import Corpus, Example, TrainingConfig, batches, train
from tests.rewrite.world import SONGS, tiny_generator

PAIRS = [(heard, meant, ("stop",)) for meant, heard in SONGS.items()]
CORPUS = Corpus(PAIRS, np.ones(len(PAIRS)), sorted(SONGS), np.ones(len(SONGS)))
CHANNEL = ErrorChannel([(heard, meant) for meant, heard in SONGS.items()])
CONFIG = TrainingConfig(steps=20, batch_pairs=4, warmup_steps=3, checkpoint_every=5)


class Killed(Exception):
    """Stands for a process that dies."""


def run(config: TrainingConfig, checkpoints: Path | None = None, die_after: int | None = None) -> Generator:
    generator = tiny_generator()

    def stream(first: int) -> Iterable[list[Example]]:
        for step, batch in enumerate(batches(CORPUS, CHANNEL, config, first), start=first):
            if step == die_after:
                raise Killed
            yield batch

    if die_after is None:
        train(generator, stream, config, checkpoints)
    else:
        with pytest.raises(Killed):
            train(generator, stream, config, checkpoints)
    return generator


def same_weights(one: Generator, other: Generator) -> bool:
    weights = dict(other.model.named_parameters())
    return all(torch.equal(p, weights[name]) for name, p in one.model.named_parameters())


def test_the_loss_falls() -> None:
    config = replace(CONFIG, steps=30, batch_pairs=8, learning_rate=1e-2)
    losses = train(tiny_generator(), lambda first: batches(CORPUS, CHANNEL, config, first), config)
    assert len(losses) == 30
    assert np.mean(losses[-5:]) < 0.75 * np.mean(losses[:3])


def test_the_same_seed_gives_the_same_weights_and_another_does_not() -> None:
    first = run(CONFIG)
    assert same_weights(first, run(CONFIG))
    assert not same_weights(first, run(replace(CONFIG, seed=1)))
    assert not same_weights(first, tiny_generator())


@pytest.mark.parametrize("die_after", [10, 13])
def test_an_interrupted_run_ends_like_an_uninterrupted_one(die_after: int, tmp_path: Path) -> None:
    run(CONFIG, tmp_path, die_after=die_after)
    assert json.loads((tmp_path / "latest.json").read_text())["step"] == 10
    steps = []
    generator = tiny_generator()
    train(
        generator,
        lambda first: batches(CORPUS, CHANNEL, CONFIG, first),
        CONFIG,
        tmp_path,
        lambda step, loss: steps.append(step),
    )
    assert steps == list(range(11, 21))
    assert same_weights(generator, run(CONFIG))


def test_a_checkpoint_of_another_config_is_ignored(tmp_path: Path) -> None:
    run(replace(CONFIG, learning_rate=0.5), tmp_path, die_after=10)
    assert same_weights(run(CONFIG, tmp_path), run(CONFIG))


def test_a_finished_run_trains_no_further(tmp_path: Path) -> None:
    finished = run(CONFIG, tmp_path)
    again = tiny_generator()
    assert train(again, lambda first: batches(CORPUS, CHANNEL, CONFIG, first), CONFIG, tmp_path) == []
    assert same_weights(finished, again)


def test_only_the_latest_checkpoint_is_kept_and_never_as_pickle(tmp_path: Path) -> None:
    run(CONFIG, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["latest.json", "step-20.safetensors"]


def test_a_checkpoint_torn_while_written_leaves_the_older_one_readable(tmp_path: Path) -> None:
    run(CONFIG, tmp_path, die_after=10)
    (tmp_path / "step-15.safetensors").write_bytes(b"half")
    (tmp_path / "latest.json.tmp").write_text('{"step": 1')
    assert same_weights(run(CONFIG, tmp_path), run(CONFIG))


@pytest.mark.parametrize("first", [0, 1, 15, 16, 17, 19])
def test_the_stream_is_the_same_wherever_it_is_resumed(first: int) -> None:
    whole = list(batches(CORPUS, CHANNEL, CONFIG))
    assert len(whole) == CONFIG.steps
    assert list(batches(CORPUS, CHANNEL, CONFIG, first)) == whole[first:]


def test_both_directions_and_both_sources_are_drawn_in_their_shares() -> None:
    config = replace(CONFIG, steps=64, batch_pairs=16)
    drawn = [e for batch in batches(CORPUS, CHANNEL, config) for e in batch]
    channel = [e for e in drawn if e.direction == "channel"]
    assert len(channel) / len(drawn) == pytest.approx(config.channel_share, abs=0.05)
    assert all(e.source in SONGS and e.turns == () for e in channel)
    forward = [e for e in drawn if e.direction == "forward"]
    assert all(e.target in SONGS for e in forward)
    assert sum(e.turns == ("stop",) for e in forward) / len(forward) == pytest.approx(config.mined_share, abs=0.08)


def test_a_corpus_without_pairs_trains_on_the_texts_alone() -> None:
    corpus = Corpus([], np.zeros(0), CORPUS.texts, CORPUS.text_weights)
    drawn = [e for batch in batches(corpus, CHANNEL, CONFIG) for e in batch]
    assert {e.source if e.direction == "channel" else e.target for e in drawn} == set(SONGS)


def test_the_model_is_left_in_evaluation_mode() -> None:
    assert not run(replace(CONFIG, steps=1)).model.training
