"""Score every member with the model's own forward: the oracle of constrained search."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


def score_members(
    model: Any, input_ids: Tensor, attention_mask: Tensor, members: Sequence[Sequence[int]]
) -> list[float]:
    """Log-probability of each member for one query [1, S]: teacher forcing, members of one length at a time."""
    scores = [0.0] * len(members)
    for length in {len(member) for member in members}:
        rows = [row for row, member in enumerate(members) if len(member) == length]
        labels = torch.tensor([list(members[row]) for row in rows])
        start = torch.full((len(rows), 1), model.config.decoder_start_token_id)
        with torch.inference_mode():
            logits = model(
                input_ids=input_ids.expand(len(rows), -1),
                attention_mask=attention_mask.expand(len(rows), -1),
                decoder_input_ids=torch.cat([start, labels[:, :-1]], 1),
            ).logits
        gain = logits.float().log_softmax(-1).gather(2, labels[..., None])
        for row, score in zip(rows, gain.double().sum((1, 2)).tolist(), strict=True):
            scores[row] = score
    return scores


def best_members(
    model: Any, input_ids: Tensor, attention_mask: Tensor, members: Sequence[Sequence[int]], k: int
) -> list[tuple[tuple[int, ...], float]]:
    """The k best distinct members of one query, best first."""
    distinct = sorted({tuple(member) for member in members})
    scored = zip(distinct, score_members(model, input_ids, attention_mask, distinct), strict=True)
    return sorted(scored, key=lambda pair: -pair[1])[:k]
