"""Exact search for the members of token tries that an encoder-decoder finds most probable.

Best-first over the path-compressed trie: a step runs, for each of the most promising open paths, the forced chain up to
the next branching point, all in one decoder forward. The log-probability of a prefix bounds every member below it, as a
further token can only lower it; a query is proved once no open path exceeds its k-th best member.
"""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rewrite.decoder import TreeCache, TreeDecoder
from rewrite.decoders import tree_decoder
from rewrite.device_run import DevicePacking, DeviceRun
from rewrite.expand import Packing
from rewrite.guide import Guide
from rewrite.run import Budget, Plan, Run
from rewrite.trie import TokenTrie


@dataclass(frozen=True)
class Candidate:
    """A member found.

    Attributes:
        token_ids: its ids, eos included.
        log_prob: the model's sum of log-probabilities over its full vocabulary, eos included.
        proved: no member better than this one exists beyond those listed before it.
        tries: which of the query's tries hold it, by position.
    """

    token_ids: tuple[int, ...]
    log_prob: float
    proved: bool
    tries: tuple[int, ...] = ()


@dataclass
class SearchStats:
    """What a search cost: decoder forwards of the batch, tokens run, and forwards each query took part in."""

    forwards: int = 0
    tokens: int = 0
    query_forwards: Sequence[int] = ()


Tries = Sequence[TokenTrie] | Sequence[Sequence[TokenTrie]]


@torch.inference_mode()
def search(
    model: Any,
    input_ids: Tensor,
    attention_mask: Tensor | None = None,
    *,
    tries: Tries | TokenTrie,
    k: int = 4,
    prove: int | None = None,
    max_forwards: int = 256,
    max_ms: float | None = None,
    packing: Packing | DevicePacking | None = None,
    encoder_states: Tensor | None = None,
    stats: SearchStats | None = None,
) -> list[list[Candidate]]:
    """The k most probable members of each query's tries.

    Args:
        model: a Hugging Face encoder-decoder (T5, ByT5, BART, Pegasus, Marian and kin run fast; others run).
        input_ids: [B, S] encoder input.
        attention_mask: [B, S] 1 at tokens, 0 at padding; None for no padding.
        tries: one list of tries for all queries, or a list per query. A text in several tries counts once.
        k: how many members to return; fewer where fewer exist or the budget ends first.
        prove: how many of the k to prove before stopping; the others are the best met on the way. None for all.
        max_forwards: decoder forwards a query may take part in; counted per query, so that its result does not
            depend on its batch.
        max_ms: wall time for the whole batch, encoder excluded; None for no limit.
        packing: how much goes into one forward, and whether the search stays on the device (`DevicePacking`); None for
            what suits the device.
        encoder_states: [B, S, H] last hidden states of the encoder, if they are known already.
        stats: filled in with what the search cost.

    Returns:
        One list per query, best first; empty where its tries are.

    Raises:
        ValueError: k or the shapes are off, the tries hold ids the model lacks or members longer than its positions.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, got {k}")
    queries = _per_query(tries, len(input_ids))
    mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
    if mask.shape != input_ids.shape:
        raise ValueError(
            f"attention_mask is {tuple(mask.shape)}, input_ids {tuple(input_ids.shape)}; expected the same"
        )
    plan = Plan.of(queries)
    if not len(plan.query):
        return [[] for _ in queries]
    with _evaluating(model):
        decoder = tree_decoder(model)
        plan.check(decoder)
        cache = decoder.encode(model, input_ids, mask, encoder_states)
        how = packing or _suited(mask.device, decoder, cache, plan, k)
        budget, proving, start_id = Budget(max_forwards, max_ms), min(k, prove or k), _start_id(model)
        run: Run | DeviceRun
        if isinstance(how, DevicePacking):
            run = DeviceRun(decoder, cache, plan, k, proving, budget, how, start_id, mask.device)
        else:
            guide = Guide(input_ids.cpu().numpy(), mask.cpu().numpy())
            run = Run(decoder, cache, plan, k, proving, budget, how, start_id, guide, mask.device)
        run.finish()
    if stats is not None:
        stats.forwards, stats.tokens, stats.query_forwards = run.forwards, run.tokens, run.spent.tolist()
    return _candidates(run, plan, queries, k)


def _suited(
    device: torch.device, decoder: TreeDecoder, cache: TreeCache, plan: Plan, k: int
) -> Packing | DevicePacking:
    """On the device, unless one forward is enough for all, or the decoder has to be driven from the host."""
    packing = Packing.of(device.type)
    if device.type != "cuda" or not decoder.keeps_rows or packing.takes_whole(plan.tokens, plan.members, k).all():
        return packing
    return DevicePacking.of(cache, len(plan.tokens))


@contextmanager
def _evaluating(model: Any) -> Iterator[None]:
    """Dropout off for the search; the model is left as it was found."""
    training = model.training
    if training:
        model.eval()
    try:
        yield
    finally:
        if training:
            model.train()


def _start_id(model: Any) -> int:
    for config in (model.config, getattr(model, "generation_config", None)):
        start = getattr(config, "decoder_start_token_id", None)
        if start is not None:
            return int(start)
    raise ValueError(
        "the model's configuration has no decoder_start_token_id; set it to the id its decoder starts from"
    )


def _per_query(tries: Tries | TokenTrie, count: int) -> list[list[TokenTrie]]:
    if isinstance(tries, TokenTrie):
        return [[tries]] * count
    if all(isinstance(trie, TokenTrie) for trie in tries):
        return [list(tries)] * count  # type: ignore[arg-type]
    if len(tries) != count:
        raise ValueError(f"got {len(tries)} lists of tries for {count} queries; expected one list each, or one for all")
    return [list(each) for each in tries]  # type: ignore[arg-type]


def _candidates(run: Run | DeviceRun, plan: Plan, queries: list[list[TokenTrie]], k: int) -> list[list[Candidate]]:
    """Results as Python objects, each text once, checked against the tries in force."""
    node, log_prob = run.best.node, run.best.log_prob
    spelled = iter(plan.forest.spell(node[node >= 0]))
    results = []
    for query, tries in enumerate(queries):
        ranks = np.flatnonzero(node[query] >= 0)
        rows = [tuple(next(spelled)) for _ in ranks]
        held = np.array([trie.contains(rows) for trie in tries], bool).reshape(len(tries), len(rows))
        found: dict[tuple[int, ...], Candidate] = {}
        for place, (rank, token_ids) in enumerate(zip(ranks, rows, strict=True)):
            holders, score = tuple(np.flatnonzero(held[:, place]).tolist()), float(log_prob[query, rank])
            if holders and token_ids not in found:
                found[token_ids] = Candidate(token_ids, score, bool(score >= run.left[query]), holders)
        results.append(list(found.values())[:k])
    return results


class _CallableModule(ModuleType):
    """Once imported, this module is the attribute `search` of its package: calling it calls the function."""

    __call__ = staticmethod(search)


sys.modules[__name__].__class__ = _CallableModule
