"""The model's part of many turns at once: searches in one batch, pairs in length buckets, each encoder input once."""

from collections.abc import Hashable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from rewrite.generator import Generator
from rewrite.search import search
from rewrite.trie import TokenTrie
from serving.asking import Pair, Query, Search
from serving.lru import Lru

TOKENS = 4096
"""Tokens of one forward, padding included: beyond it a larger batch is no faster on a CPU."""

LOGITS = 2**25
"""Values of one matrix of logits, so that a large vocabulary does not take gigabytes."""

DECIMALS = 4
"""Scores are rounded, in nats: what shares a forward moves them by less than that, and must not be seen."""


def searched(generator: Generator, trie: TokenTrie, searches: Sequence[Search]) -> list[list[tuple[str, float]]]:
    """The members that each search finds with their log-probabilities; none depends on what else is in the batch."""
    found: dict[Search, list[tuple[str, float]]] = {}
    for options in dict.fromkeys(s.options for s in searches):
        alike = [s for s in searches if s.options == options]
        ids, mask = generator.pad([_forward(generator, s.query) for s in alike])
        results = search(generator.model, ids, mask, tries=[trie], **dict(options))
        for wanted, members in zip(alike, results, strict=True):
            found[wanted] = [(generator.vocabulary.text(m.token_ids), m.log_prob) for m in members]
    return [found[s] for s in searches]


def _forward(generator: Generator, query: Query) -> list[int]:
    return generator.vocabulary.source("forward", query.text, query.turns)


@torch.inference_mode()
def pair_scores(generator: Generator, pairs: Sequence[Pair], kept: Lru[Hashable, Any] | None = None) -> list[float]:
    """log P(target | source) of each pair, nats, over the full vocabulary.

    Args:
        kept: encoder states of texts that were asked about before; those of the channel direction, whose sources are
            texts in force, are added.
    """
    sources = [tuple(generator.vocabulary.source(p.direction, p.source, p.turns)) for p in pairs]
    targets = [generator.vocabulary.target(p.target) for p in pairs]
    lasting = {source for source, pair in zip(sources, pairs, strict=True) if pair.direction == "channel"}
    states = _states(generator, sorted(set(sources), key=lambda s: (len(s), s)), lasting, kept)
    scores = [0.0] * len(pairs)
    order = sorted(range(len(pairs)), key=lambda row: (len(targets[row]), len(sources[row])))
    widths = [max(len(targets[row]), len(sources[row])) for row in order]
    limit = min(TOKENS, LOGITS // int(generator.model.config.vocab_size))
    for start, stop in buckets(widths, limit):
        rows = order[start:stop]
        found = _decoded(generator, [states[sources[row]] for row in rows], [targets[row] for row in rows])
        for row, score in zip(rows, found, strict=True):
            scores[row] = round(score, DECIMALS)
    return scores


def buckets(widths: Sequence[int], tokens: int = TOKENS) -> Iterator[tuple[int, int]]:
    """Cut rows, sorted by width or nearly so, into ranges of at most `tokens` padded tokens each."""
    start, widest = 0, 0
    for row, width in enumerate(widths):
        widest = max(widest, width)
        # a bucket twice as wide as its narrowest row would be padding for the most part
        if row > start and (widest * (row - start + 1) > tokens or widest > 2 * widths[start] + 16):
            yield start, row
            start, widest = row, width
    if start < len(widths):
        yield start, len(widths)


def _states(
    generator: Generator,
    sources: Sequence[tuple[int, ...]],
    lasting: set[tuple[int, ...]],
    kept: Lru[Hashable, Any] | None,
) -> dict[tuple[int, ...], Tensor]:
    """Encoder states by input, from what is kept as far as it goes."""
    if kept is None:
        return _encoded(generator, sources)
    found = {source: state for source in sources if (state := kept.get(source)) is not None}
    new = _encoded(generator, [source for source in sources if source not in found])
    for source in lasting & new.keys():
        kept.put(source, new[source].clone())  # not the whole batch that it is a part of
    return found | new


def _encoded(generator: Generator, sources: Sequence[tuple[int, ...]]) -> dict[tuple[int, ...], Tensor]:
    """Last hidden states of the encoder by input, each [T, H]."""
    encoder = generator.model.get_encoder()
    states: dict[tuple[int, ...], Tensor] = {}
    for start, stop in buckets([len(s) for s in sources]):
        ids, mask = generator.pad(sources[start:stop])
        hidden = encoder(input_ids=ids, attention_mask=mask).last_hidden_state
        for row, source in enumerate(sources[start:stop]):
            states[source] = hidden[row, : len(source)]
    return states


def _decoded(generator: Generator, states: Sequence[Tensor], targets: Sequence[Sequence[int]]) -> list[float]:
    """Sum of the targets' log-probabilities, each given its encoder states."""
    model: Any = generator.model
    labels, label_mask = generator.pad(targets)
    hidden = torch.nn.utils.rnn.pad_sequence(list(states), batch_first=True)
    lengths = torch.tensor([len(s) for s in states], device=hidden.device)
    mask = (torch.arange(hidden.shape[1], device=hidden.device) < lengths[:, None]).long()
    begin = torch.full_like(labels[:, :1], model.config.decoder_start_token_id)
    logits = model(
        encoder_outputs=(hidden,),
        attention_mask=mask,
        decoder_input_ids=torch.cat([begin, labels[:, :-1]], 1),
        use_cache=False,
    ).logits
    losses = torch.nn.functional.cross_entropy(logits.float().transpose(1, 2), labels, reduction="none")
    return [-loss for loss in (losses * label_mask).sum(1).double().tolist()]
