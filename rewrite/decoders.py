"""Choose how to run a model's decoder over a tree: by its family, or by replaying paths through its own forward."""

import logging
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from rewrite.decoder import BartDecoder, T5Decoder, TreeCache, TreeDecoder
from rewrite.packed import Even, Packed

_LOG = logging.getLogger(__name__)


@dataclass
class _ReplayCache(TreeCache):
    """Encoder states and token ids, which is all that replaying needs."""

    model: Any = None
    states: Tensor | None = None
    mask: Tensor | None = None
    tokens: Tensor | None = None

    def keep(self, queries: Tensor) -> None:
        assert self.states is not None
        assert self.mask is not None
        self.states, self.mask = self.states[queries], self.mask[queries]


class ReplayDecoder(TreeDecoder):
    """Any other encoder-decoder: every path is run again from its start through the model's own forward. Slow."""

    def _cache(self, model: Any, states: Tensor, mask: Tensor, bias: Tensor | None) -> TreeCache:
        none = torch.zeros(0, dtype=torch.long, device=states.device)
        return _ReplayCache([none], [], bias, model=model, states=states, mask=mask, tokens=none)

    def step(self, cache: TreeCache, packed: Packed) -> Tensor:
        assert isinstance(cache, _ReplayCache)
        assert cache.tokens is not None
        assert cache.states is not None
        assert cache.mask is not None
        cache.size += len(packed.token_ids)
        cache.tokens = torch.cat([cache.tokens, packed.token_ids])
        owner = packed.row.new_zeros(len(packed.path)) if packed.owner is None else packed.owner
        output = cache.model(
            encoder_outputs=(cache.states[owner],),
            attention_mask=cache.mask[owner],
            decoder_input_ids=cache.tokens[packed.path],
            use_cache=False,
        )
        logits: Tensor = output.logits[packed.row, packed.positions]
        return logits.float()


_FAMILIES: dict[str, type[TreeDecoder]] = {
    "t5": T5Decoder,
    "mt5": T5Decoder,
    "umt5": T5Decoder,
    "bart": BartDecoder,
    "mbart": BartDecoder,
    "pegasus": BartDecoder,
    "marian": BartDecoder,
}

_REMEMBERED: WeakKeyDictionary[Any, tuple[Any, TreeDecoder]] = WeakKeyDictionary()


def tree_decoder(model: Any) -> TreeDecoder:
    """The fastest exact way to run this model's decoder over a tree; remembered while its weights stay as they are.

    Raises:
        ValueError: the model is no encoder-decoder.
    """
    if not getattr(model.config, "is_encoder_decoder", False):
        raise ValueError(f"search needs an encoder-decoder, got {type(model).__name__}, which has no encoder")
    weights = list(model.parameters())
    if any(weight.is_inference() for weight in weights):  # these do not count their changes
        return _checked(model)
    state = tuple((weight.data_ptr(), weight._version, weight.dtype) for weight in weights)
    known = _REMEMBERED.get(model)
    if known is None or known[0] != state:
        known = (state, _checked(model))
        _REMEMBERED[model] = known
    return known[1]


def _checked(model: Any) -> TreeDecoder:
    """The family's decoder if it agrees with the model's own forward, else the one that replays.

    Other versions of transformers may change what a module does, and a model may have been changed by its user.
    """
    family = _FAMILIES.get(model.config.model_type, ReplayDecoder)
    if family is ReplayDecoder:
        return ReplayDecoder(model)
    try:
        decoder = family(model)
        if _agrees(model, decoder):
            return decoder
        reason = "its scores differ from the model's own"
    except (AttributeError, TypeError, RuntimeError) as error:
        reason = str(error)
    _LOG.warning("%s is not run over trees but path by path, which is slow: %s", type(model).__name__, reason)
    return ReplayDecoder(model)


def _agrees(model: Any, decoder: TreeDecoder) -> bool:
    """Compare the logits of one short path."""
    device = next(model.parameters()).device
    source = torch.arange(4, device=device)[None] % decoder.vocabulary
    path = torch.arange(5, device=device) * 7 % decoder.vocabulary
    places = torch.arange(5, device=device)
    attend = (places <= places[:, None]).flatten()
    packed = Packed(path, places, places, places, attend, Even(1, 5, 5), places[None], torch.zeros_like(places), 5)
    with torch.inference_mode():
        ours = decoder.step(decoder.encode(model, source, torch.ones_like(source)), packed)
        own = model(input_ids=source, attention_mask=torch.ones_like(source), decoder_input_ids=path[None]).logits[0]
    exact = own.dtype == torch.float32
    allowed = (1e-3 if exact else 0.1) * max(1.0, float(own.abs().max()))
    return bool((ours - own.float()).abs().max() <= allowed)
