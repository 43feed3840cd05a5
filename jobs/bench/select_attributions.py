"""How fast attributions are, beside a plain captum loop over the same utterances."""

import time
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import numpy as np

from selection.attributions import METHOD, AttributionConfig, Target, attribute
from selection.examples import words
from selection.model import Nlu

T = TypeVar("T")


def throughput(model: Nlu, texts: Sequence[str], rounds: int = 3) -> dict[str, Any]:
    """Utterances a second, ours and one captum call an utterance, taking turns; medians over `rounds`.

    Both use the same steps and rule, explain the intent that the model says, and compute the completeness error.
    """
    said = [reading.intent for (reading,) in model.read(texts)]
    targets = [Target("intent", model.labels.intent_row[intent]) for intent in said]
    # one pass only: integrating again what is over the tolerance is not in the plain loop
    config = AttributionConfig(tolerance=float("inf"))
    ours, plain = [], []
    for _ in range(rounds):
        took, batched = _timed(lambda: attribute(model, texts, targets, config))
        ours.append(took)
        took, single = _timed(lambda: plain_loop(model, texts, targets, config.steps))
        plain.append(took)
    gap = max(float(np.abs(a.values - b).max()) for a, b in zip(batched, single, strict=True))
    return {
        "utterances": len(texts),
        "steps": config.steps,
        "per_s": len(texts) / float(np.median(ours)),
        "plain_per_s": len(texts) / float(np.median(plain)),
        "ratio": float(np.median(plain) / np.median(ours)),
        "largest_difference": gap,
    }


def _timed(work: Callable[[], T]) -> tuple[float, T]:
    start = time.perf_counter()
    done = work()
    return time.perf_counter() - start, done


def plain_loop(model: Nlu, texts: Sequence[str], targets: Sequence[Target], steps: int) -> list[np.ndarray]:
    """One call of captum an utterance, as its tutorials do it."""
    from captum.attr import LayerIntegratedGradients

    model.eval()
    explainer = LayerIntegratedGradients(lambda *inputs: model(*inputs)[1], model.encoder.embedding)
    found = []
    for text, target in zip(texts, targets, strict=True):
        batch = model.encoder.batch([words(text)])
        values, _ = explainer.attribute(
            batch.input_ids,
            baselines=model.encoder.baseline(batch),
            target=target.row,
            additional_forward_args=(batch.mask, batch.first, batch.word_mask),
            n_steps=steps,
            method=METHOD,
            return_convergence_delta=True,
        )
        found.append(values.detach().sum(-1)[0].numpy())
    return found
