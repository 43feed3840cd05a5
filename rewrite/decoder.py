"""Run the decoder of a Hugging Face encoder-decoder over packed tree nodes.

The model's own `forward` knows one growing sequence per row. Here many paths of one query share its encoder states and
the keys and values of their common ancestors: every token run so far has a row in a tree cache, and a token attends to
the rows of its ancestors by a mask. The weights and sub-modules are the model's; tests compare with its own forward.
"""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rewrite.packed import Packed, split_heads

_CACHE_ROWS = 2048


@dataclass
class TreeCache:
    """Keys and values of all tokens run so far, and those of the encoder states of B queries.

    Attributes:
        kv: per layer [capacity, 2 * inner]: keys, then values.
        cross: per layer keys and values [B, heads, S, head size].
        cross_bias: [B, 1, 1, S] 0, or -inf at padding; None without padding.
        size: cache rows in use.
    """

    kv: list[Tensor]
    cross: list[tuple[Tensor, Tensor]]
    cross_bias: Tensor | None
    size: int = 0

    def reserve(self, packed: Packed) -> slice | Tensor:
        """Where the tokens' keys and values go; makes room unless `packed` says where."""
        if packed.new_rows is not None:
            return packed.new_rows
        first, count = self.size, len(packed.token_ids)
        self.size += count
        if self.size > len(self.kv[0]):
            self.kv = [_grown(rows, max(self.size, 2 * len(rows)), first) for rows in self.kv]
        return slice(first, self.size)

    def keep(self, queries: Tensor) -> None:
        """Drop the encoder states of all but the given queries, which are renumbered in this order."""
        self.cross = [(key[queries], value[queries]) for key, value in self.cross]
        self.cross_bias = None if self.cross_bias is None else self.cross_bias[queries]


def _grown(rows: Tensor, capacity: int, used: int) -> Tensor:
    larger = rows.new_empty(capacity, rows.shape[1])
    larger[:used] = rows[:used]
    return larger


class TreeDecoder(ABC):
    """Decoder of one model, run over packed tree nodes. `keeps_rows`: its cache keeps tokens where it is told to."""

    keeps_rows = False

    def __init__(self, model: Any) -> None:
        # The model is not kept: decoders are remembered by model, and must not keep it alive.
        self.vocabulary = int(model.get_output_embeddings().weight.shape[0])
        self.max_positions: int | None = None

    def encode(self, model: Any, input_ids: Tensor, mask: Tensor, states: Tensor | None = None) -> TreeCache:
        """Run the encoder (unless its last states [B, S, H] are given) and project what every path shares."""
        if states is None:
            states = model.get_encoder()(input_ids=input_ids, attention_mask=mask).last_hidden_state
        assert states is not None
        bias = None
        if not bool(mask.all()):
            bias = torch.zeros(mask.shape, dtype=states.dtype, device=states.device)
            bias = bias.masked_fill_(mask == 0, -math.inf)[:, None, None, :]
        return self._cache(model, states, mask, bias)

    @abstractmethod
    def _cache(self, model: Any, states: Tensor, mask: Tensor, bias: Tensor | None) -> TreeCache:
        """An empty cache beside the projected encoder states."""

    @abstractmethod
    def step(self, cache: TreeCache, packed: Packed) -> Tensor:
        """Run the tokens, keep their keys and values, and return logits [T, V] in float32."""


Layer = Callable[[Tensor], Tensor]


def _plain(module: Any) -> Layer:
    """The module as a function of one tensor; linear layers and norms without the cost of a module call."""
    if type(module) is nn.Linear:
        weight, bias = module.weight, module.bias
        return lambda x: F.linear(x, weight, bias)
    if type(module) is nn.LayerNorm:
        shape, scale, shift, eps = module.normalized_shape, module.weight, module.bias, module.eps
        return lambda x: F.layer_norm(x, shape, scale, shift, eps)
    return module  # type: ignore[no-any-return]


def _side_by_side(*modules: Any) -> Layer:
    """Several linear layers of one input, their outputs joined; one product where all are plain."""
    if any(type(module) is not nn.Linear for module in modules):
        return lambda x: torch.cat([module(x) for module in modules], -1)
    weight = torch.cat([module.weight for module in modules])
    bias = None if modules[0].bias is None else torch.cat([module.bias for module in modules])
    return lambda x: F.linear(x, weight, bias)


class _CachedDecoder(TreeDecoder):
    """What the T5 and the BART families share: attention over the tree cache and over the encoder states."""

    keeps_rows = True
    heads: int
    scale: float
    own: list[Layer]
    cross: list[Layer]

    def _cache(self, model: Any, states: Tensor, mask: Tensor, bias: Tensor | None) -> TreeCache:
        cross = []
        for project in self.cross:
            key, value = (split_heads(part, self.heads) for part in project(states).chunk(2, -1))
            cross.append((key, value))
        inner = cross[0][0].shape[1] * cross[0][0].shape[3]
        return TreeCache([states.new_empty(_CACHE_ROWS, 2 * inner) for _ in cross], cross, bias)

    def _attend_path(
        self, qkv: Tensor, layer: int, place: slice | Tensor, cache: TreeCache, p: Packed, bias: Tensor
    ) -> Tensor:
        """Attend to ancestors. `qkv` [T, 3 * inner], `bias` [1 or heads, N]; returns [T, inner]."""
        inner = qkv.shape[1] // 3
        stored = cache.kv[layer]
        stored[place] = qkv[:, inner:]
        return p.groups.attend_own(qkv[:, :inner], stored.index_select(0, p.key_rows), bias, self.heads, self.scale)

    def _attend_encoder(self, query: Tensor, layer: int, cache: TreeCache, p: Packed) -> Tensor:
        """Attend to the encoder states of the own query. `query` and result [T, inner]."""
        return p.groups.attend_encoder(query, *cache.cross[layer], cache.cross_bias, self.scale)


class BartDecoder(_CachedDecoder):
    """BART, mBART, Pegasus and Marian: absolute positions, biases, norms before or after each block."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        decoder = model.get_decoder()
        self.norm_first = model.config.model_type in {"pegasus", "mbart"}
        self.heads = decoder.layers[0].self_attn.num_heads
        self.scale = decoder.layers[0].self_attn.scaling
        self.own = [_side_by_side(x.self_attn.q_proj, x.self_attn.k_proj, x.self_attn.v_proj) for x in decoder.layers]
        self.cross = [_side_by_side(x.encoder_attn.k_proj, x.encoder_attn.v_proj) for x in decoder.layers]
        self.blocks = [_BartBlock(layer) for layer in decoder.layers]
        self.embed = decoder.embed_tokens
        self.embed_scale = float(getattr(decoder, "embed_scale", 1.0))
        offset = int(getattr(decoder.embed_positions, "offset", 0))
        self.position_rows = decoder.embed_positions.weight[offset:]
        self.max_positions = len(self.position_rows)
        self.embed_norm = _plain(getattr(decoder, "layernorm_embedding", nn.Identity()))
        self.final_norm = _plain(getattr(decoder, "layer_norm", nn.Identity()))
        self.head = _plain(model.lm_head)
        self.head_bias: Tensor = model.final_logits_bias

    def step(self, cache: TreeCache, packed: Packed) -> Tensor:
        hidden: Tensor = self.embed(packed.token_ids)
        if self.embed_scale != 1.0:
            hidden = hidden * self.embed_scale
        hidden = self.embed_norm(hidden + self.position_rows[packed.positions])
        place = cache.reserve(packed)
        bias = packed.hard_bias(hidden.dtype)
        for index, block in enumerate(self.blocks):
            qkv = self.own[index](self._before(hidden, block.own_norm))
            attended = block.own_out(self._attend_path(qkv, index, place, cache, packed, bias))
            hidden = self._after(hidden + attended, block.own_norm)
            query = block.cross_query(self._before(hidden, block.cross_norm))
            attended = block.cross_out(self._attend_encoder(query, index, cache, packed))
            hidden = self._after(hidden + attended, block.cross_norm)
            fed = block.feed_forward(self._before(hidden, block.final_norm))
            hidden = self._after(hidden + fed, block.final_norm)
        logits = self.head(self.final_norm(hidden)) + self.head_bias
        return logits.float()

    def _before(self, hidden: Tensor, norm: Layer) -> Tensor:
        return norm(hidden) if self.norm_first else hidden

    def _after(self, hidden: Tensor, norm: Layer) -> Tensor:
        return hidden if self.norm_first else norm(hidden)


class _BartBlock:
    """The parts of one decoder layer."""

    def __init__(self, layer: Any) -> None:
        self.own_norm, self.own_out = _plain(layer.self_attn_layer_norm), _plain(layer.self_attn.out_proj)
        self.cross_norm = _plain(layer.encoder_attn_layer_norm)
        self.cross_query, self.cross_out = _plain(layer.encoder_attn.q_proj), _plain(layer.encoder_attn.out_proj)
        self.final_norm = _plain(layer.final_layer_norm)
        self.up, self.down, self.activation = _plain(layer.fc1), _plain(layer.fc2), layer.activation_fn

    def feed_forward(self, x: Tensor) -> Tensor:
        return self.down(self.activation(self.up(x)))


class T5Decoder(_CachedDecoder):
    """T5, mT5, UMT5 and ByT5: relative positions, which in a tree are differences of depth."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        decoder = model.get_decoder()
        self.blocks = [block.layer for block in decoder.block]
        own = [layer[0].SelfAttention for layer in self.blocks]
        cross = [layer[1].EncDecAttention for layer in self.blocks]
        self.heads, self.scale = own[0].n_heads, 1.0
        self.own = [_side_by_side(x.q, x.k, x.v) for x in own]
        self.cross = [_side_by_side(x.k, x.v) for x in cross]
        self.embed, self.final_norm, self.head = decoder.embed_tokens, decoder.final_layer_norm, _plain(model.lm_head)
        self.rescale = model.config.d_model**-0.5 if _scales_output(model.config) else 1.0
        self.umt5 = model.config.model_type == "umt5"

    def step(self, cache: TreeCache, packed: Packed) -> Tensor:
        hidden: Tensor = self.embed(packed.token_ids)
        place = cache.reserve(packed)
        hard = bias = packed.hard_bias(hidden.dtype)
        distance = packed.distances()
        for index, layer in enumerate(self.blocks):
            own, cross = layer[0].SelfAttention, layer[1].EncDecAttention
            if own.has_relative_attention_bias:  # only the first layer of T5 has a table, every layer of UMT5
                bias = hard + self._relative_bias(own, distance, packed.deepest)
            qkv = self.own[index](layer[0].layer_norm(hidden))
            hidden = hidden + own.o(self._attend_path(qkv, index, place, cache, packed, bias))
            query = cross.q(layer[1].layer_norm(hidden))
            hidden = hidden + cross.o(self._attend_encoder(query, index, cache, packed))
            hidden = layer[2](hidden)
        return self.head(self.final_norm(hidden) * self.rescale).float()

    def _relative_bias(self, own: Any, distance: Tensor, deepest: int) -> Tensor:
        """[heads, N] of the distances [N], clamped to 0 ... deepest - 1."""
        distance = distance.clamp(0, deepest - 1)
        back = -torch.arange(deepest, device=distance.device)
        buckets = {
            "num_buckets": own.relative_attention_num_buckets,
            "max_distance": own.relative_attention_max_distance,
        }
        other = {} if self.umt5 else {"bidirectional": False, **buckets}
        by_distance: Tensor = own.relative_attention_bias(own._relative_position_bucket(back, **other))
        return by_distance.T[:, distance]


def _scales_output(config: Any) -> bool:
    """Whether the head's input is multiplied by d_model ** -0.5: T5 has its own setting for it, mT5 never does."""
    if config.model_type == "t5":
        return bool(getattr(config, "scale_decoder_outputs", config.tie_word_embeddings))
    return config.model_type == "umt5" and bool(config.tie_word_embeddings)
