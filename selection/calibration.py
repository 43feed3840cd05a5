"""One temperature per head, fitted on held-out rows, so that a confidence of .8 is right in 8 of 10 cases."""

from collections.abc import Sequence

import torch
from torch import Tensor

from selection.examples import Utterance
from selection.model import Nlu
from selection.training import Prepared

FEWEST_ROWS = 20
"""Below this many held-out rows a temperature would be noise; it stays 1."""


def temperature(logits: Tensor, right: Tensor) -> float:
    """The temperature in [0.05, 20] that makes the labels likeliest: one number, by golden-section search over its log.

    The loss is convex in 1/temperature, so it has one minimum.

    Args:
        logits: (N, L). right: (N,) rows of the right labels.

    Source: Guo et al. 2017, "On calibration of modern neural networks", section 4.2.
    """

    def loss(log_temperature: float) -> float:
        scaled = logits / float(torch.tensor(log_temperature).exp())
        return float(torch.nn.functional.cross_entropy(scaled, right))

    ratio, low, high = (5**0.5 - 1) / 2, -3.0, 3.0
    for _ in range(40):
        third = ratio * (high - low)
        if loss(high - third) < loss(low + third):
            high = low + third
        else:
            low = high - third
    return float(torch.tensor((low + high) / 2).exp())


def calibrate(model: Nlu, utterances: Sequence[Utterance], batch_size: int = 256) -> None:
    """Set the model's temperatures from rows that it was not trained on; rows with labels it does not know are left
    out.
    """
    known = [u for u in utterances if not model.labels.unknown([u])]
    if len(known) < FEWEST_ROWS:
        return
    rows = Prepared.of(known, model.labels)
    collected: tuple[list[Tensor], list[Tensor], list[Tensor]] = ([], [], [])
    model.eval()
    for at in range(0, len(known), batch_size):
        heard = rows.heard[at : at + batch_size]
        with torch.no_grad():
            domain, intent, tags = (part.cpu() for part in model.logits(model.encoder.batch(heard)))
        collected[0].append(domain)
        collected[1].append(intent)
        collected[2].extend(tags[row, : len(said)] for row, said in enumerate(heard))
    right_tags = [(row, tags) for row, tags in enumerate(rows.tags) if tags is not None]
    found = [
        temperature(torch.cat(collected[0]), torch.from_numpy(rows.domains)),
        temperature(torch.cat(collected[1]), torch.from_numpy(rows.intents)),
        temperature(
            torch.cat([collected[2][row] for row, _ in right_tags]),
            torch.tensor([tag for _, tags in right_tags for tag in tags]),
        )
        if right_tags
        else 1.0,
    ]
    model.temperatures.copy_(torch.tensor(found))
