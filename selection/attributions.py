"""Integrated gradients of a head's logit on the embeddings, batched, pooled to words, with their own error.

N utterances, P positions, T words, S steps.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from captum.attr import LayerIntegratedGradients
from torch import Tensor

from selection.encoder import Batch
from selection.examples import words
from selection.model import Nlu

METHOD = "gausslegendre"


@dataclass(frozen=True)
class AttributionConfig:
    """How finely to integrate.

    Attributes:
        steps: of the Gauss-Legendre rule.
        most_steps: utterances over `tolerance` are integrated again with four times the steps, up to here.
        tolerance: largest completeness error, relative to the change of the logit or to 1, whichever is larger.
        batch_rows: interpolated rows (utterances times steps) of one pass through the model; what fits a processor's
            cache is three times as fast as 1,024.
    """

    steps: int = 16
    most_steps: int = 256
    tolerance: float = 0.05
    batch_rows: int = 128


@dataclass(frozen=True)
class Target:
    """The logit that is explained: a row of the domain head, of the intent head, or of the tag head at a word."""

    head: str
    row: int
    word: int = 0


@dataclass(frozen=True)
class Attribution:
    """One utterance explained.

    Attributes:
        words: T words.
        values: (T,) signed share of each word in the logit's change from the PAD baseline.
        change: logit of the utterance minus logit of the baseline.
        error: |sum of all attributions - change| / max(|change|, 1), special tokens included in the sum.
        steps: what it took.
    """

    words: tuple[str, ...]
    values: np.ndarray
    change: float
    error: float
    steps: int


def attribute(
    model: Nlu, texts: Sequence[str], targets: Sequence[Target], config: AttributionConfig | None = None
) -> list[Attribution]:
    """Explain the target logit of every text; what stays over the tolerance keeps its error for the caller to gate.

    Source: Sundararajan et al. 2017, eq. 3; the logit, not the probability, which saturates.

    Raises:
        ValueError: not one target per text, or a target that the model does not have.
    """
    config = config or AttributionConfig()
    _check(model, texts, targets)
    found: list[Attribution | None] = [None] * len(texts)
    left, steps = list(range(len(texts))), config.steps
    while left:
        for rows, done in _pass(model, texts, targets, left, steps, config):
            for row, attribution in zip(rows, done, strict=True):
                found[row] = attribution
        left = [row for row in left if (a := found[row]) is not None and a.error > config.tolerance]
        steps *= 4
        if steps > config.most_steps:
            break
    return [attribution for attribution in found if attribution is not None]


def _check(model: Nlu, texts: Sequence[str], targets: Sequence[Target]) -> None:
    if len(texts) != len(targets):
        raise ValueError(f"got {len(texts)} texts and {len(targets)} targets; expected one target for each text")
    sizes = {
        "domain": len(model.labels.domains),
        "intent": len(model.labels.intents),
        "slots": len(model.labels.tags),
    }
    for target in targets:
        if not 0 <= target.row < sizes.get(target.head, 0):
            raise ValueError(f"got target {target}; expected a row of {sizes}; a label of another model?")


def _pass(
    model: Nlu,
    texts: Sequence[str],
    targets: Sequence[Target],
    left: Sequence[int],
    steps: int,
    config: AttributionConfig,
) -> Iterator[tuple[list[int], list[Attribution]]]:
    """Batches of one head and like length: few explainers, little padding."""
    model.eval()
    heard = {row: words(texts[row]) for row in left}
    size = max(1, config.batch_rows // steps)
    for head in sorted({targets[row].head for row in left}):
        explainer = LayerIntegratedGradients(_logits(model, head), model.encoder.embedding)
        mine = sorted((row for row in left if targets[row].head == head), key=lambda row: len(heard[row]))
        for at in range(0, len(mine), size):
            rows = mine[at : at + size]
            batch = model.encoder.batch([heard[row] for row in rows])
            yield rows, _explain(model, explainer, batch, [heard[r] for r in rows], [targets[r] for r in rows], steps)


def _logits(model: Nlu, head: str) -> Callable[..., Tensor]:
    """The logits of one head as captum calls them: batch first."""
    at = ("domain", "intent", "slots").index(head)

    def forward(input_ids: Tensor, mask: Tensor, first: Tensor, word_mask: Tensor) -> Tensor:
        logits: Tensor = model(input_ids, mask, first, word_mask)[at]
        return logits

    return forward


def _explain(
    model: Nlu,
    explainer: LayerIntegratedGradients,
    batch: Batch,
    heard: Sequence[Sequence[str]],
    targets: Sequence[Target],
    steps: int,
) -> list[Attribution]:
    baseline = model.encoder.baseline(batch)
    others = (batch.mask, batch.first, batch.word_mask)
    chosen = [(t.word, t.row) for t in targets] if targets[0].head == "slots" else [t.row for t in targets]
    values = explainer.attribute(
        batch.input_ids,
        baselines=baseline,
        target=chosen if isinstance(chosen[0], tuple) else torch.tensor(chosen, device=batch.mask.device),
        additional_forward_args=others,
        n_steps=steps,
        method=METHOD,
    )
    positions = values.detach().sum(-1)
    change = _change(explainer.forward_func, batch, baseline, chosen)
    pooled = pool(positions, batch.word_of, batch.first.shape[1]).cpu().double().numpy()
    # the model is called by its own shapes, so what its padding sums to is no word's
    sums = positions.sum(1).cpu().double().numpy()
    error = np.abs(sums - change) / np.maximum(np.abs(change), 1)
    return [
        Attribution(tuple(said), pooled[at, : len(said)], float(change[at]), float(error[at]), steps)
        for at, said in enumerate(heard)
    ]


def _change(
    forward: Callable[..., Tensor], batch: Batch, baseline: Tensor, chosen: Sequence[int | tuple[int, int]]
) -> np.ndarray:
    """(B,) target logits of the utterances minus those of the baselines."""
    others = (batch.mask, batch.first, batch.word_mask)
    with torch.no_grad():
        difference = forward(batch.input_ids, *others) - forward(baseline, *others)
    picked = [difference[(at, *(c if isinstance(c, tuple) else (c,)))] for at, c in enumerate(chosen)]
    return torch.stack(picked).cpu().double().numpy()


def pool(positions: Tensor, word_of: Tensor, word_count: int) -> Tensor:
    """Sum the attributions of each word's positions.

    Args:
        positions: (B, P). word_of: (B, P) word of each position, -1 for none.

    Returns:
        (B, `word_count`).
    """
    sums = torch.zeros((len(positions), word_count + 1), dtype=positions.dtype, device=positions.device)
    return sums.scatter_add_(1, word_of.where(word_of >= 0, word_count), positions)[:, :word_count]


@dataclass(frozen=True)
class Gate:
    """Which attributions may be used: those whose completeness error is within the tolerance."""

    tolerance: float

    def passes(self, attribution: Attribution) -> bool:
        return bool(attribution.error <= self.tolerance)
