"""What the constraint costs in a step of a search that stays on the device."""

import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from rewrite.decoders import tree_decoder
from rewrite.device_run import DevicePacking, DeviceRun
from rewrite.replayed import Replayed
from rewrite.run import Budget, Plan
from rewrite.trie import TokenTrie

_WARM, _TIMED = 4, 30


@torch.inference_mode()
def cost(model: Any, input_ids: Tensor, attention_mask: Tensor, trie: TokenTrie, k: int) -> dict[str, Any]:
    """Time a step beside the same forward followed by what any beam search does: log-softmax, top k, moving its rows.

    Shapes are fixed, so that a step costs the same whatever it finds; the device is awaited before and after, not
    between, steps. On CUDA both are replayed graphs.
    """
    device = input_ids.device
    decoder = tree_decoder(model)
    plan = Plan.of([[trie]] * len(input_ids))
    cache = decoder.encode(model, input_ids, attention_mask)
    packing = DevicePacking.of(cache, len(input_ids))
    start_id = int(model.config.decoder_start_token_id)
    run = DeviceRun(decoder, cache, plan, k, k, Budget(_WARM + _TIMED + 1, None), packing, start_id, device)
    run.advance()
    packed = run.packed(run.choose())
    rows, width = run.path[:, : packing.width].clone(), packing.width

    def free() -> None:
        log_probs = decoder.step(run.cache, packed).log_softmax(-1)
        last = log_probs.view(len(rows), width, packing.chain, -1)[:, :, -1].flatten(1)
        _, place = last.topk(width, 1)
        beam = (place // log_probs.shape[-1])[..., None].expand_as(rows)
        rows.copy_(rows.gather(1, beam))

    free_ms = _ms(Replayed(free, device), device)
    step_ms = _ms(Replayed(run.advance, device), device)
    return {
        "system": "a step on the device",
        "ms_per_query": None,
        "forwards_per_query": None,
        "proved_share": None,
        "step_ms": step_ms,
        "free_step_ms": free_ms,
        "constraint_ms": step_ms - free_ms,
        "constraint_share": (step_ms - free_ms) / step_ms,
    }


def _ms(step: Callable[[], None], device: torch.device) -> float:
    for _ in range(_WARM):
        step()
    _wait(device)
    start = time.perf_counter()
    for _ in range(_TIMED):
        step()
    _wait(device)
    return 1e3 * (time.perf_counter() - start) / _TIMED


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize()
