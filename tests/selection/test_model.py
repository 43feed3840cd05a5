"""Training, reading, calibration, saving."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from selection.calibration import calibrate, temperature
from selection.encoder import CompactConfig, CompactEncoder
from selection.examples import Utterance
from selection.labels import Labels
from selection.model import Nlu, best_tags
from selection.training import Prepared, TrainingConfig, WarmConfig, train, warm_train
from tests.selection.grammar import tiny_encoder, trained, untrained, utterances

CONFIG = TrainingConfig(epochs=3, batch_rows=8, checkpoint_every=4)


def weights(model: Nlu) -> dict[str, torch.Tensor]:
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(a[name], b[name]) for name in a)


def test_the_grammar_is_learned() -> None:
    readings = trained().read([u.text for u in utterances()])
    for utterance, (best,) in zip(utterances(), readings, strict=True):
        assert (best.domain, best.intent) == (utterance.domain, utterance.intent)
        assert sorted(best.slots) == sorted(utterance.slots)


def test_readings_are_ordered_and_sum_to_one() -> None:
    (readings,) = trained().read(["turn the light"], k=99)
    values = [r.confidence for r in readings]
    assert values == sorted(values, reverse=True)
    assert sum(values) == pytest.approx(1, abs=1e-4)
    assert {(r.domain, r.intent) for r in readings} == set(trained().labels.pairs)


def test_a_domains_confidence_is_the_sum_over_its_intents() -> None:
    (readings,) = trained().read(["turn the light"], k=99)
    for reading in readings:
        mine = [r.confidence for r in readings if r.domain == reading.domain]
        assert reading.domain_confidence == pytest.approx(sum(mine), abs=1e-5)


def test_a_text_reads_the_same_alone_and_in_a_batch() -> None:
    texts = ["stop the alarm", "", "wake me", "put on blue monday by the band in the kitchen and the hall"]
    together = trained().read(texts)
    for text, (read,) in zip(texts, together, strict=True):
        ((alone,),) = trained().read([text])
        assert (alone.domain, alone.intent, alone.slots) == (read.domain, read.intent, read.slots)
        assert alone.confidence == pytest.approx(read.confidence, abs=1e-5)


def test_no_text_gives_no_reading() -> None:
    assert trained().read([]) == []


def test_tags_never_begin_with_i() -> None:
    labels = Labels.of(utterances())
    logits = torch.randn(20, 6, len(labels.tags), generator=torch.Generator().manual_seed(0)) * 5
    tagged, sure = best_tags(logits, [6] * 20, labels)
    for tags in tagged:
        for before, tag in zip(["O", *tags], tags, strict=False):
            assert not tag.startswith("I-") or before in (tag, f"B-{tag[2:]}")
    assert all(0 <= value <= 1 for value in sure)


def test_the_best_tags_are_those_of_a_search_over_all() -> None:
    from itertools import product

    labels = Labels(("d",), ("i",), ("a",), (("d", "i"),))
    logits = torch.randn(8, 4, 3, generator=torch.Generator().manual_seed(1))
    tagged, _ = best_tags(logits, [4] * 8, labels)
    for row, tags in enumerate(tagged):
        scores = logits[row].log_softmax(-1)
        allowed = [
            path
            for path in product(range(3), repeat=4)
            if all(tag != 2 or before in (1, 2) for before, tag in zip((0, *path), path, strict=False))
        ]
        best = max(allowed, key=lambda path: float(sum(scores[at, tag] for at, tag in enumerate(path))))
        assert tags == [labels.tags[tag] for tag in best]


def test_training_is_repeatable_and_leaves_the_global_random_state_alone() -> None:
    first, second = untrained(), untrained()
    train(first, utterances(), CONFIG)
    torch.rand(3)
    state = torch.random.get_rng_state()
    train(second, utterances(), CONFIG)
    assert same(weights(first), weights(second))
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_resumed_run_ends_like_one_that_was_never_stopped(tmp_path: Path) -> None:
    whole, stopped = untrained(), untrained()
    train(whole, utterances(), CONFIG)

    class Stop(Exception):
        pass

    def stop(step: int, loss: float) -> None:
        if step == 6:
            raise Stop

    with pytest.raises(Stop):
        train(stopped, utterances(), CONFIG, tmp_path, stop)
    again = untrained()
    losses = train(again, utterances(), CONFIG, tmp_path)
    assert len(losses) < 15
    assert same(weights(whole), weights(again))


def test_a_checkpoint_of_other_rows_is_not_used(tmp_path: Path) -> None:
    train(untrained(), utterances(), CONFIG, tmp_path)
    losses = train(untrained(), [*utterances(), utterances()[0]], CONFIG, tmp_path)
    assert len(losses) == 15


def test_unaligned_slots_teach_no_tags() -> None:
    rows = Prepared.of([Utterance("play it", "music", "play", (("song", "that"),))], Labels.of(utterances()))
    assert rows.tags == [None]


def test_a_model_survives_the_disk(tmp_path: Path) -> None:
    trained().save(tmp_path)
    loaded = Nlu.load(tmp_path)
    assert loaded.read(["play hello by mika"], 3) == trained().read(["play hello by mika"], 3)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is no NLU model"):
        Nlu.load(tmp_path)


def test_warm_training_learns_a_new_phrase_and_keeps_the_old_ones() -> None:
    import copy

    model, new = copy.deepcopy(trained()), Utterance("lights out", "home", "light_off")
    labels = model.labels
    config = WarmConfig(steps=30, rehearsed=24, new=4, learning_rate=1e-2)
    warm_train(model, Prepared.of(utterances(), labels), Prepared.of([new], labels), config)
    assert model.read(["lights out"])[0][0].intent == "light_off"
    readings = model.read([u.text for u in utterances()])
    hits = [best.intent == u.intent for u, (best,) in zip(utterances(), readings, strict=True)]
    assert np.mean(hits) > 0.95


def test_rehearsal_alone_is_the_same_whether_none_or_no_rows_are_given() -> None:
    import copy

    one, other = copy.deepcopy(untrained()), copy.deepcopy(untrained())
    rows = Prepared.of(utterances(), one.labels)
    assert warm_train(one, rows, None, WarmConfig(steps=3)) == warm_train(
        other, rows, Prepared.of([], one.labels), WarmConfig(steps=3)
    )


def test_a_temperature_undoes_a_scale() -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(4000, 5, generator=generator) * 2
    right = torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
    assert temperature(logits, right) == pytest.approx(1, abs=0.1)
    assert temperature(logits * 3, right) == pytest.approx(3, abs=0.3)


def test_calibration_lowers_the_loss_and_changes_no_best_intent() -> None:
    import copy

    model = copy.deepcopy(trained())
    before = [r[0].intent for r in model.read([u.text for u in utterances()])]
    calibrate(model, utterances())
    assert not torch.equal(model.temperatures, torch.ones(3))
    assert [r[0].intent for r in model.read([u.text for u in utterances()])] == before


def test_too_few_rows_leave_the_temperatures_alone() -> None:
    model = untrained()
    calibrate(model, utterances()[:5])
    assert torch.equal(model.temperatures, torch.ones(3))


def test_the_members_are_averaged_and_differ() -> None:
    model = trained()
    batch = model.encoder.batch([["play", "hello"]])
    with torch.no_grad():
        views, tags = model.views(batch)
        domain, intent, said = model.logits(batch)
    (first, second) = views
    assert torch.allclose((first[0] + second[0]) / 2, domain, atol=1e-5)
    assert torch.allclose((first[1] + second[1]) / 2, intent, atol=1e-5)
    assert torch.allclose((tags[0] + tags[1]) / 2, said, atol=1e-5)
    assert not torch.allclose(first[1], second[1], atol=0.1)


def test_a_member_alone_reads_as_a_network_of_its_own_weights() -> None:
    model, alone = untrained(), Nlu.build(Labels.of(utterances()), tiny_encoder(members=1))
    size = {"words": model.encoder.word_width // 2, "pooled": model.encoder.pooled_width // 2}
    with torch.no_grad():
        alone.encoder.words.features.weight.copy_(model.encoder.words.features.weight[:, 16:])
        alone.encoder.convolutions[0].load_state_dict(model.encoder.convolutions[1].state_dict())
        for name, width in (("domain_head", "pooled"), ("intent_head", "pooled"), ("tag_head", "words")):
            getattr(alone, name).weight.copy_(getattr(model, name).weight[:, size[width] :])
            getattr(alone, name).bias.copy_(getattr(model, name).bias)
        said = [["play", "hello"], ["stop"]]
        views, tags = model.views(model.encoder.batch(said))
        domain, intent, mine = alone.eval().logits(alone.encoder.batch(said))
    assert torch.allclose(views[1][0], domain, atol=1e-5)
    assert torch.allclose(views[1][1], intent, atol=1e-5)
    assert torch.allclose(tags[1], mine, atol=1e-5)


def test_an_empty_word_has_an_embedding_of_zero() -> None:
    encoder = tiny_encoder().eval()
    batch = encoder.batch([["hello", ""]])
    assert torch.equal(encoder.words(batch.input_ids)[0, 1], torch.zeros(2 * 16))


def as_before(folder: Path, *later: str) -> None:
    """Take out of a bundle what was not there yet: these facts, members, rarities."""
    config = json.loads((folder / "nlu.json").read_text())
    for fact in (*later, "linear_share", "members", "word_dropout"):
        del config["encoder"][fact]
    (folder / "nlu.json").write_text(json.dumps(config))
    weights = load_file(str(folder / "nlu.safetensors"))
    weights.pop("encoder.words.linear.rarity", None)
    named = {name.replace("convolutions.0.", ""): weight for name, weight in weights.items()}
    assert named.keys() != weights.keys()
    save_file(named, str(folder / "nlu.safetensors"))


def test_a_bundle_from_before_the_gate_and_the_linear_path_loads(tmp_path: Path) -> None:
    old = Nlu.build(Labels.of(utterances()), CompactEncoder(CompactConfig(512, 16, 16, gated=False, members=1)))
    old.save(tmp_path)
    as_before(tmp_path, "gated", "linear", "linear_buckets")
    assert Nlu.load(tmp_path).read(["play hello by mika"]) == old.read(["play hello by mika"])


def test_a_bundle_from_before_members_and_rarities_loads(tmp_path: Path) -> None:
    labels = Labels.of(utterances())
    linear = {"linear": len(labels.domains) + len(labels.intents), "linear_buckets": 512, "linear_share": 0.5}
    old = Nlu.build(labels, CompactEncoder(CompactConfig(512, 16, 16, members=1, **linear)))
    torch.nn.init.normal_(old.encoder.words.linear.weights.weight)
    old.save(tmp_path)
    as_before(tmp_path)
    assert Nlu.load(tmp_path).read(["play hello by mika"]) == old.read(["play hello by mika"])
