"""Ways to score candidates, all with one interface: integrated gradients and the controls it has to beat."""

import hashlib
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import torch

from selection.attributions import AttributionConfig, Gate, Target, attribute
from selection.examples import Utterance, align
from selection.influence import Influence, Misreading, importance
from selection.model import Nlu, Reading
from selection.selecting import Candidate


@dataclass(frozen=True)
class Scene:
    """What a strategy may look at.

    Attributes:
        model: the NLU in force.
        held_out: labelled rows that the model was not trained on.
        class_counts: rows of each intent in the training set.
        seed: of everything random.
        length_exponent, decay, penalty: of the importance, see `selection.influence`.
        surprise: an importance is multiplied by (1 - P(intent | text)) to this power: what the model reads as labelled
            teaches it nothing; 0 is off.
        attribution: how finely to integrate.
        fewest_mistakes: confusions seen less often on the held-out rows say nothing.
        slots: also explain slots that were missed or named otherwise.
    """

    model: Nlu
    held_out: Sequence[Utterance]
    class_counts: Mapping[str, int]
    seed: int = 0
    length_exponent: float = 0.5
    decay: float = 0.5
    penalty: float = 1.0
    surprise: float = 1.0
    attribution: AttributionConfig = field(default_factory=AttributionConfig)
    fewest_mistakes: int = 1
    slots: bool = False


Strategy = Callable[[Scene, Sequence[Candidate]], np.ndarray]
"""Scene and N candidates -> (N,) scores, higher is better; -inf is never picked."""


def uniform(text: str, intent: str, seed: int, what: str) -> float:
    """A number in (0, 1) from a seed and an utterance, the same wherever its row stands."""
    digest = hashlib.sha256(f"{what}\0{seed}\0{text}\0{intent}".encode()).digest()
    return (int.from_bytes(digest[:8], "big") + 0.5) / 2**64


def at_random(scene: Scene, candidates: Sequence[Candidate]) -> np.ndarray:
    """Every turn as likely as any other: a text heard more often is likelier to come first.

    Source: Efraimidis & Spirakis 2006, keys u ** (1 / weight).
    """
    return np.array(
        [
            np.log(uniform(c.utterance.text, c.utterance.intent, scene.seed, "random")) / max(c.count, 1)
            for c in candidates
        ]
    )


def class_stratified(scene: Scene, candidates: Sequence[Candidate]) -> np.ndarray:
    """Random within each intent; the intents get the shares that they have in the training set.

    The n-th of an intent is due when (n - 1/2) / share picks have been made (Webster's rule), so every budget is
    stratified.
    """
    total = sum(scene.class_counts.values()) or 1
    drawn = at_random(scene, candidates)
    scores = np.full(len(candidates), -np.inf)
    rank: Counter[str] = Counter()
    for row in sorted(range(len(candidates)), key=lambda row: -drawn[row]):
        intent = candidates[row].utterance.intent
        rank[intent] += 1
        share = max(scene.class_counts.get(intent, 0), 1) / total
        scores[row] = -(rank[intent] - 0.5) / share
    return scores


def entropy(scene: Scene, candidates: Sequence[Candidate]) -> np.ndarray:
    """Least certain first: entropy of the calibrated distribution over (domain, intent), in nats."""
    probs = _probs(scene, candidates)
    return np.asarray(-(probs * np.log(np.maximum(probs, 1e-12))).sum(1))


def margin(scene: Scene, candidates: Sequence[Candidate]) -> np.ndarray:
    """Smallest gap between the two likeliest (domain, intent) pairs first."""
    probs = np.sort(_probs(scene, candidates), axis=1)
    second = probs[:, -2] if probs.shape[1] > 1 else np.zeros(len(probs))
    return np.asarray(second - probs[:, -1])


def frequency(scene: Scene, candidates: Sequence[Candidate]) -> np.ndarray:
    """Heard most often first: turns, then users."""
    return np.array([c.count + c.users / 1e6 for c in candidates], dtype=float)


def rarity(scene: Scene, candidates: Sequence[Candidate]) -> np.ndarray:
    """Heard least often first."""
    return -frequency(scene, candidates)


def gradient_similarity(scene: Scene, candidates: Sequence[Candidate]) -> np.ndarray:
    """How far a step on the candidate would lower the loss on the held-out mistakes: the dot product of gradients.

    Of the intent head only, where a gradient is the outer product (p - y) ⊗ h and the dot product factors.

    Source: TracIn-last, Pruthi et al. 2020, section 4.1; one checkpoint.
    """
    known = [u for u in scene.held_out if u.intent in scene.model.labels.intent_row]
    said = scene.model.read([u.text for u in known])
    wrong = [u for u, (reading,) in zip(known, said, strict=True) if reading.intent != u.intent]
    if not wrong:
        return np.zeros(len(candidates))
    wanted = _intent_gradients(scene.model, wrong)
    total = wanted[0].T @ wanted[1]  # (L, D): the summed gradient
    errors, features = _intent_gradients(scene.model, [c.utterance for c in candidates])
    return np.asarray(((errors @ total) * features).sum(1), dtype=float)


def _intent_gradients(model: Nlu, utterances: Sequence[Utterance]) -> tuple[np.ndarray, np.ndarray]:
    """(N, L) p - y and (N, D) features, with a 1 for the bias."""
    pooled = model.pooled([u.text for u in utterances])
    with torch.no_grad():
        probs = model.combined(pooled.to(model.temperatures.device))[1].softmax(-1).cpu()
    features = pooled[:, : model.encoder.pooled_width]
    for row, utterance in enumerate(utterances):
        probs[row, model.labels.intent_row[utterance.intent]] -= 1
    ones = torch.ones((len(features), 1))
    return probs.double().numpy(), torch.cat([features, ones], 1).double().numpy()


def integrated_gradients(scene: Scene, candidates: Sequence[Candidate]) -> np.ndarray:
    """Utterances made of the words that misled the model, under the class that the words were missing."""
    influence = Influence.of(explain_mistakes(scene)[0], scene.fewest_mistakes)
    return importance_of(scene, candidates, influence)


def importance_of(scene: Scene, candidates: Sequence[Candidate], influence: Influence) -> np.ndarray:
    """Importance under the scene's options; what no word speaks for is never picked."""
    texts = [c.utterance.text for c in candidates]
    classes = [classes_of(c.utterance) for c in candidates]
    weights = surprise(scene.model, candidates) ** scene.surprise
    scores = importance(texts, classes, influence, weights, scene.length_exponent, scene.decay, scene.penalty)
    return np.where(scores > 0, scores, -np.inf)


def surprise(model: Nlu, candidates: Sequence[Candidate]) -> np.ndarray:
    """(N,) 1 - P(intent of the label | text), calibrated."""
    columns: dict[str, list[int]] = {}
    for column, (_, intent) in enumerate(model.labels.pairs):
        columns.setdefault(intent, []).append(column)
    probs = model.intent_probs([c.utterance.text for c in candidates]).double().numpy()
    known = [probs[row, columns.get(c.utterance.intent, [])].sum() for row, c in enumerate(candidates)]
    return np.asarray(np.clip(1 - np.array(known, dtype=float), 0.0, 1.0))


def classes_of(utterance: Utterance) -> list[str]:
    """The classes that an utterance can teach: its intent and its slots."""
    return [utterance.intent, *sorted({slot_class(name) for name, _ in utterance.slots})]


def slot_class(name: str) -> str:
    """How a slot is called among the classes."""
    return f"slot {name}"


def explain_mistakes(scene: Scene) -> tuple[list[Misreading], int]:
    """Attributions of the mistakes on the held-out rows, and how many were over the tolerance and left out."""
    rows = [u for u in scene.held_out if u.intent in scene.model.labels.intent_row]
    readings = [best for (best,) in scene.model.read([u.text for u in rows])]
    mistakes = _intent_mistakes(scene.model, rows, readings)
    if scene.slots:
        mistakes += _slot_mistakes(scene.model, rows, readings)
    targets = [m.right_target for m in mistakes] + [m.wrong_target for m in mistakes]
    found = attribute(scene.model, [m.text for m in mistakes] * 2, targets, scene.attribution)
    gate = Gate(scene.attribution.tolerance)
    pairs = list(zip(mistakes, found[: len(mistakes)], found[len(mistakes) :], strict=True))
    kept = [
        Misreading(m.text, m.right, m.wrong, right.words, right.values, wrong.values, max(right.error, wrong.error))
        for m, right, wrong in pairs
        if gate.passes(right) and gate.passes(wrong)
    ]
    return kept, len(mistakes) - len(kept)


class _Mistake(NamedTuple):
    """A wrong class, and the two logits that explain it."""

    text: str
    right: str
    wrong: str
    right_target: Target
    wrong_target: Target


def _intent_mistakes(model: Nlu, rows: Sequence[Utterance], readings: Sequence[Reading]) -> list[_Mistake]:
    number = model.labels.intent_row
    return [
        _Mistake(u.text, u.intent, r.intent, Target("intent", number[u.intent]), Target("intent", number[r.intent]))
        for u, r in zip(rows, readings, strict=True)
        if u.intent != r.intent
    ]


def _slot_mistakes(model: Nlu, rows: Sequence[Utterance], readings: Sequence[Reading]) -> list[_Mistake]:
    """Slots that the model missed or named otherwise, at their first word."""
    number, found = model.labels.tag_row, []
    for utterance, reading in zip(rows, readings, strict=True):
        right = align(utterance.text, utterance.slots)
        for word, tag in enumerate(right or ()):
            said = reading.tags[word]
            if tag.startswith("B-") and tag in number and said[2:] != tag[2:]:
                wrong = slot_class(said[2:]) if said != "O" else "no slot"
                found.append(
                    _Mistake(
                        utterance.text,
                        slot_class(tag[2:]),
                        wrong,
                        Target("slots", number[tag], word),
                        Target("slots", number[said], word),
                    )
                )
    return found


def _probs(scene: Scene, candidates: Sequence[Candidate]) -> np.ndarray:
    return scene.model.intent_probs([c.utterance.text for c in candidates]).double().numpy()


STRATEGIES: dict[str, Strategy] = {
    "random": at_random,
    "class-stratified random": class_stratified,
    "entropy": entropy,
    "margin": margin,
    "frequency": frequency,
    "gradient similarity": gradient_similarity,
    "integrated gradients": integrated_gradients,
}
"""By the name that tables show."""
