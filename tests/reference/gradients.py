"""Integrated gradients the slow, obvious way: one utterance, a fine midpoint sum, autograd at every step."""

from typing import Any

import torch

from selection.examples import words


def integrated_gradients(model: Any, text: str, head: int, row: int, steps: int = 2000) -> list[float]:
    """One number a word, for a compact encoder: (e - 0) * mean over the path of the logit's gradient, summed over E."""
    model.eval()
    batch = model.encoder.batch([words(text)])
    with torch.no_grad():
        embedded = model.encoder.words(batch.input_ids)
    total = torch.zeros_like(embedded)
    for step in range(steps):
        point = (embedded * (step + 0.5) / steps).requires_grad_()
        forward = model.encoder.words.forward
        model.encoder.words.forward = lambda ids, at=point: at
        try:
            logits = model(batch.input_ids, batch.mask, batch.first, batch.word_mask)[head]
        finally:
            model.encoder.words.forward = forward
        total += torch.autograd.grad(logits[0, row], point)[0] / steps
    return (embedded * total).sum(-1)[0].tolist()
