"""The linear path: against a sum by hand, PAD, pairs, and what training and attributions make of it."""

import math
from pathlib import Path

import pytest
import torch

from selection import linear
from selection.attributions import Target, attribute
from selection.encoder import CompactConfig, CompactEncoder
from selection.examples import words
from selection.hashing import Table, hashed
from selection.labels import Labels
from selection.linear import LinearPath, pair_features, word_features
from selection.model import Nlu
from selection.training import TrainingConfig, train
from tests.selection.grammar import tiny_encoder, utterances

BUCKETS, LOGITS = 512, 3


def random_path(*said: str) -> LinearPath:
    """A path with random weights that has met these words, in rows 1, 2, ..."""
    path = LinearPath(BUCKETS, LOGITS, longest_ngram=4)
    with torch.no_grad():
        path.weights.weight[1:].normal_(generator=torch.Generator().manual_seed(0))
    for word in said:
        path.meet(word)
    return path


def rarities(named: list[str], utterances: list[set[str]]) -> torch.Tensor:
    """(F,) by counting the utterances whose features share a row with each of these."""
    rows = [set(hashed(sorted(names), BUCKETS)) for names in utterances]
    having = [sum(row in met for met in rows) for row in hashed(named, BUCKETS)]
    return torch.tensor([1 + math.log((len(rows) + 1) / (count + 1)) for count in having])


def features_of(said: list[str]) -> list[list[str]]:
    """Of every word and of the pair that it ends."""
    named = [word_features(word, 4) for word in said]
    for at in range(1, len(said)):
        named[at] = named[at] + pair_features(said[at - 1], said[at])
    return named


def by_hand(path: LinearPath, said: list[str]) -> torch.Tensor:
    """(T, L): every feature looked up by its name, an utterance that ends early without the rest."""
    named = features_of(said)
    sums = [path.weights.weight[hashed(names, BUCKETS)].sum(0) for names in named]
    return linear.GAIN * torch.stack(sums) / math.sqrt(sum(map(len, named)))


def test_a_batch_is_the_sum_of_its_features_by_hand() -> None:
    path = random_path("play", "list", "song")
    found = path(torch.tensor([[1, 2, 3], [3, 1, 0]]))
    assert torch.allclose(found[0], by_hand(path, ["play", "list", "song"]), atol=1e-4)
    assert torch.allclose(found[1, :2], by_hand(path, ["song", "play"]), atol=1e-4)


def test_rare_features_count_for_more_by_hand() -> None:
    said = [["play", "list"], ["play", "song"], ["play"]]
    path = random_path("play", "list", "song")
    path.weigh([[1, 2], [1, 3], [1]])
    met = [{name for names in features_of(utterance) for name in names} for utterance in said]
    named = features_of(said[0])
    weights = [rarities(names, met) for names in named]
    sums = [w @ path.weights.weight[hashed(names, BUCKETS)] for w, names in zip(weights, named, strict=True)]
    by_rarity = linear.GAIN * torch.stack(sums) / torch.cat(weights).square().sum().sqrt()
    assert torch.allclose(path(torch.tensor([[1, 2]]))[0], by_rarity, atol=1e-4)
    assert path.rarity[0] == 0
    assert path.rarity[hashed(["w:play"], BUCKETS)] < path.rarity[hashed(["w:song"], BUCKETS)]


def test_pad_adds_nothing_and_makes_no_pair() -> None:
    path = random_path("play", "list")
    found = path(torch.tensor([[1, 0, 2], [0, 0, 0]]))
    assert not found[0, 1].any()
    assert not found[1].any()
    alone = linear.GAIN * path.weights.weight[hashed(word_features("list", 4), BUCKETS)].sum(0)
    count = sum(len(word_features(word, 4)) for word in ("play", "list"))
    assert torch.allclose(found[0, 2], alone / math.sqrt(count), atol=1e-4)


def test_words_heard_apart_share_features_with_the_word() -> None:
    assert set(pair_features("play", "list")) & set(word_features("playlist", 5)) >= {"yl", "ayl", "yli", "ayli"}


def test_pairs_forgotten_are_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    path, ids = random_path("a", "b", "c"), torch.tensor([[1, 2, 3], [3, 2, 1]])
    before = path(ids)
    monkeypatch.setattr(linear, "MOST_CACHED", 1)
    assert torch.equal(path(ids), before)
    assert torch.equal(path(ids.flip(0)), before.flip(0))


def test_a_table_grows_and_keeps_its_rows() -> None:
    table = Table(2)
    rows = [table.row(key, lambda key=key: [key + 1]) for key in range(3000)]
    assert rows == list(range(1, 3001))
    assert table.rows[1:3001, 0].tolist() == rows
    assert table.row(7, lambda: [99]) == 8


def untrained() -> Nlu:
    """The tiny encoder with a linear path."""
    labels = Labels.of(utterances())
    sizes = {"linear": len(labels.domains) + len(labels.intents), "linear_buckets": 4096}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return Nlu.build(labels, CompactEncoder(CompactConfig(buckets=512, embedding=16, width=16, **sizes)))


def with_linear_path() -> Nlu:
    """That, trained on the grammar."""
    model = untrained()
    train(model, utterances(), TrainingConfig(epochs=20, batch_rows=16, learning_rate=1e-2, warmup_steps=5))
    return model


def test_the_linear_path_learns_the_grammar_by_itself() -> None:
    model = with_linear_path()
    texts = [u.text for u in utterances()]
    *members, (domain, intent) = model.views_of(model.pooled(texts))
    rows = [(model.labels.domain_row[u.domain], model.labels.intent_row[u.intent]) for u in utterances()]
    assert list(zip(domain.argmax(1).tolist(), intent.argmax(1).tolist(), strict=True)) == rows
    mean = sum(logits for _, logits in members) / len(members)
    assert torch.allclose(model.combined(model.pooled(texts))[1], mean + model.encoder.linear_share * intent, atol=1e-4)


def test_a_resumed_run_has_the_same_weights_and_rarities(tmp_path: Path) -> None:
    config = TrainingConfig(epochs=2, batch_rows=8, checkpoint_every=3)
    whole, again = untrained(), untrained()
    train(whole, utterances(), config)

    def stop(step: int, loss: float) -> None:
        if step == 5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(untrained(), utterances(), config, tmp_path, stop)
    assert len(train(again, utterances(), config, tmp_path)) == 7
    left, right = whole.state_dict(), again.state_dict()
    assert all(torch.equal(left[name], right[name]) for name in left)
    assert not torch.equal(left["encoder.words.linear.rarity"], untrained().encoder.words.linear.rarity)


def test_attributions_hold_the_linear_path_too() -> None:
    model = with_linear_path()
    (found,) = attribute(model, ["play hello by mika"], [Target("intent", 0)])
    batch = model.encoder.batch([words("play hello by mika")])
    nothing = batch._replace(input_ids=model.encoder.baseline(batch))
    with torch.no_grad():
        change = float((model.logits(batch)[1] - model.logits(nothing)[1])[0, 0])
        share = model.encoder.linear_share * float(model.views(batch)[0][-1][1][0, 0])
    assert found.change == pytest.approx(change, abs=1e-4)
    assert float(found.values.sum()) == pytest.approx(change, abs=0.05 * max(abs(change), 1))
    assert abs(share) > 0.1


def test_words_hidden_from_the_members_reach_the_linear_path() -> None:
    model = with_linear_path().train()
    batch = model.encoder.batch([words("play hello by mika")])
    nothing = batch._replace(input_ids=model.encoder.baseline(batch))
    first = model.encoder.convolutions[0]
    first.word_dropout, first.dropout.p = 1.0, 0.0
    (hidden, *_, linear_path), _ = model.views(batch)
    model.eval()
    assert torch.equal(hidden[1], model.views(nothing)[0][0][1])
    assert torch.equal(linear_path[1], model.views(batch)[0][-1][1])


def test_a_path_made_for_other_labels_is_refused() -> None:
    with pytest.raises(ValueError, match="has 4 logits; expected one for each of 3 domains and 5 intents"):
        Nlu.build(Labels.of(utterances()), CompactEncoder(CompactConfig(buckets=512, linear=4)))


def test_without_an_encoder_the_path_fits_the_labels() -> None:
    labels = Labels.of(utterances())
    assert Nlu.build(labels).encoder.linear_width == len(labels.domains) + len(labels.intents)
    assert tiny_encoder().linear_width == 0
