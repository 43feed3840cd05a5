"""Run the decoder of a Hugging Face encoder-decoder over packed tree nodes.

The model's own `forward` knows one growing sequence per row. Here many paths of one query share its encoder states and
the keys and values of their common ancestors: every token run so far has a row in a tree cache, and a path is a list of
such rows. The weights and sub-modules are the model's; tests compare the scores with its own forward.
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass
class Packed:
    """T tokens to run, in R rows of at most C tokens; the tokens of a row follow one another on its path.

    Attributes:
        token_ids, positions: [T].
        slot: [T] row * C + column of each token.
        width: C.
        key_rows: [R, D] cache rows of each row's path by position, its own new tokens among them; 0 beyond its end.
        attend: [R, C, D] whether a token sees a position of its path.
        distance: [R, C, D] the token's position minus the key's.
        query_slot: [T] place of each token among those of its query, in a [B, Q] layout; None if B is 1.
        query_width: Q.
    """

    token_ids: Tensor
    positions: Tensor
    slot: Tensor
    width: int
    key_rows: Tensor
    attend: Tensor
    distance: Tensor
    query_slot: Tensor | None
    query_width: int


@dataclass
class TreeCache:
    """Keys and values of all tokens run so far, and those of the encoder states.

    Attributes:
        kv: per layer [capacity, 2 * inner]: keys, then values.
        cross: per layer keys and values [B, heads, S, head size].
        cross_bias: [B, 1, 1, S] 0, or -inf at padding.
        tokens: [capacity] token ids, for decoders that know no cache.
    """

    kv: list[Tensor]
    cross: list[tuple[Tensor, Tensor]]
    cross_bias: Tensor
    size: int = 0
    extra: dict[str, Tensor] = field(default_factory=dict)

    def reserve(self, count: int) -> int:
        """Make room for `count` more rows; returns the first of them."""
        first, need = self.size, self.size + count
        if self.kv and need > len(self.kv[0]):
            grown = max(need, 2 * len(self.kv[0]))
            self.kv = [torch.cat([rows, rows.new_zeros(grown - len(rows), rows.shape[1])]) for rows in self.kv]
        self.size = need
        return first

    def keep(self, queries: Tensor) -> None:
        """Drop the encoder states of all but the given queries, which are renumbered in this order."""
        self.cross = [(key[queries], value[queries]) for key, value in self.cross]
        self.cross_bias = self.cross_bias[queries]
        self.extra = {name: tensor[queries] for name, tensor in self.extra.items()}


class TreeDecoder(ABC):
    """Decoder of one model, run over packed tree nodes."""

    def __init__(self, model: Any) -> None:
        self.model = model

    def encode(self, input_ids: Tensor, attention_mask: Tensor, encoder_states: Tensor | None = None) -> TreeCache:
        """Run the encoder (unless its last states [B, S, H] are given) and project what every path shares."""
        if encoder_states is None:
            output = self.model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask)
            encoder_states = output.last_hidden_state
        bias = torch.zeros_like(attention_mask, dtype=encoder_states.dtype)
        bias.masked_fill_(attention_mask == 0, -math.inf)
        return self._cache(encoder_states, attention_mask, bias[:, None, None, :])

    @abstractmethod
    def _cache(self, states: Tensor, attention_mask: Tensor, bias: Tensor) -> TreeCache:
        """An empty cache beside the projected encoder states."""

    @abstractmethod
    def step(self, cache: TreeCache, packed: Packed) -> Tensor:
        """Run the tokens, keep their keys and values, and return logits [T, V] in float32."""

    @property
    def max_positions(self) -> int | None:
        """Decoder positions the model has; None for no limit."""
        return None


def _tensor(value: Any) -> Tensor:
    """What a module of the model returned, typed."""
    return value  # type: ignore[no-any-return]


def _split_heads(rows: Tensor, heads: int) -> Tensor:
    """[B, T, inner] -> [B, heads, T, inner / heads]."""
    return rows.view(*rows.shape[:2], heads, -1).transpose(1, 2)


def _fused(*modules: Any) -> tuple[Tensor, Tensor | None] | None:
    """Weights of plain linear layers side by side, so that one product does for all; None if one is not plain."""
    if any(type(module) is not nn.Linear for module in modules):
        return None
    bias = None if modules[0].bias is None else torch.cat([module.bias for module in modules])
    return torch.cat([module.weight for module in modules]), bias


class _Projection:
    """Several linear layers of one input, their outputs side by side."""

    def __init__(self, *modules: Any) -> None:
        self.modules = modules
        self.fused = _fused(*modules)

    def __call__(self, x: Tensor) -> Tensor:
        if self.fused is not None:
            return F.linear(x, *self.fused)
        return torch.cat([module(x) for module in self.modules], -1)


class _CachedDecoder(TreeDecoder):
    """What the T5 and the BART families share: attention over the tree cache and over the encoder states."""

    heads: int
    scale: float

    def _cross_projections(self) -> list[_Projection]:
        raise NotImplementedError

    def _cache(self, states: Tensor, attention_mask: Tensor, bias: Tensor) -> TreeCache:
        cross = []
        for project in self._cross_projections():
            key, value = (_split_heads(part, self.heads) for part in project(states).chunk(2, -1))
            cross.append((key, value))
        inner = cross[0][0].shape[1] * cross[0][0].shape[3]
        kv = [states.new_zeros(256, 2 * inner) for _ in cross]
        return TreeCache(kv, cross, bias)

    def _self_attention(self, qkv: Tensor, layer: int, first: int, cache: TreeCache, p: Packed, bias: Tensor) -> Tensor:
        """Attend to the own path. `qkv` [T, 3 * inner]; returns [T, inner]."""
        total, inner = len(qkv), qkv.shape[1] // 3
        rows, depth = p.key_rows.shape
        stored = cache.kv[layer]
        stored[first : first + total] = qkv[:, inner:]
        keys = stored.index_select(0, p.key_rows.reshape(-1)).view(rows, depth, 2, self.heads, -1)
        query = qkv[:, :inner]
        if total != rows * p.width:
            query = query.new_zeros(rows * p.width, inner).index_copy_(0, p.slot, query)
        out = F.scaled_dot_product_attention(
            query.reshape(rows, p.width, self.heads, -1).transpose(1, 2),
            keys[:, :, 0].transpose(1, 2),
            keys[:, :, 1].transpose(1, 2),
            attn_mask=bias,
            scale=self.scale,
        )
        out = out.transpose(1, 2).reshape(rows * p.width, inner)
        return out if total == rows * p.width else out.index_select(0, p.slot)

    def _cross_attention(self, query: Tensor, layer: int, cache: TreeCache, p: Packed) -> Tensor:
        """Attend to the encoder states of the own query. `query` and result [T, inner]."""
        key, value = cache.cross[layer]
        inner = query.shape[1]
        if p.query_slot is not None:
            query = query.new_zeros(len(key) * p.query_width, inner).index_copy_(0, p.query_slot, query)
        out = F.scaled_dot_product_attention(
            _split_heads(query.view(len(key), -1, inner), self.heads),
            key,
            value,
            attn_mask=cache.cross_bias,
            scale=self.scale,
        )
        out = out.transpose(1, 2).reshape(-1, inner)
        return out if p.query_slot is None else out.index_select(0, p.query_slot)


def _hard_bias(attend: Tensor, dtype: torch.dtype) -> Tensor:
    """[R, 1, C, D] 0 where attended, else -inf."""
    bias = torch.zeros(attend.shape, dtype=dtype, device=attend.device)
    return bias.masked_fill_(~attend, -math.inf).unsqueeze(1)


class BartDecoder(_CachedDecoder):
    """BART, mBART, Pegasus and Marian: absolute positions, biases, norms before or after each block."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.decoder = model.get_decoder()
        self.layers = list(self.decoder.layers)
        self.norm_first = model.config.model_type in {"pegasus", "mbart"}
        attention = self.layers[0].self_attn
        self.heads, self.scale = attention.num_heads, attention.scaling
        self.self_projections = [
            _Projection(x.self_attn.q_proj, x.self_attn.k_proj, x.self_attn.v_proj) for x in self.layers
        ]
        self.cross = [_Projection(x.encoder_attn.k_proj, x.encoder_attn.v_proj) for x in self.layers]
        self.embed_scale = float(getattr(self.decoder, "embed_scale", 1.0))
        self.offset = int(getattr(self.decoder.embed_positions, "offset", 0))

    @property
    def max_positions(self) -> int | None:
        return int(self.decoder.embed_positions.weight.shape[0]) - self.offset

    def _cross_projections(self) -> list[_Projection]:
        return self.cross

    def step(self, cache: TreeCache, packed: Packed) -> Tensor:
        hidden = self._embed(packed)
        first = cache.reserve(len(packed.token_ids))
        bias = _hard_bias(packed.attend, hidden.dtype)
        for index in range(len(self.layers)):
            hidden = self._layer(index, hidden, first, cache, packed, bias)
        final = getattr(self.decoder, "layer_norm", None)
        hidden = hidden if final is None else final(hidden)
        logits: Tensor = self.model.lm_head(hidden) + self.model.final_logits_bias
        return logits.float()

    def _embed(self, packed: Packed) -> Tensor:
        hidden: Tensor = self.decoder.embed_tokens(packed.token_ids)
        if self.embed_scale != 1.0:
            hidden = hidden * self.embed_scale
        hidden = hidden + self.decoder.embed_positions.weight[packed.positions + self.offset]
        norm = getattr(self.decoder, "layernorm_embedding", None)
        return hidden if norm is None else _tensor(norm(hidden))

    def _layer(self, index: int, hidden: Tensor, first: int, cache: TreeCache, p: Packed, bias: Tensor) -> Tensor:
        layer = self.layers[index]

        def block(x: Tensor, norm: Any, run: Any) -> Tensor:
            return x + _tensor(run(norm(x))) if self.norm_first else _tensor(norm(x + run(x)))

        def attend_path(x: Tensor) -> Tensor:
            qkv = self.self_projections[index](x)
            return _tensor(layer.self_attn.out_proj(self._self_attention(qkv, index, first, cache, p, bias)))

        def attend_encoder(x: Tensor) -> Tensor:
            query = layer.encoder_attn.q_proj(x)
            return _tensor(layer.encoder_attn.out_proj(self._cross_attention(query, index, cache, p)))

        def feed_forward(x: Tensor) -> Tensor:
            return _tensor(layer.fc2(layer.activation_fn(layer.fc1(x))))

        hidden = block(hidden, layer.self_attn_layer_norm, attend_path)
        hidden = block(hidden, layer.encoder_attn_layer_norm, attend_encoder)
        return block(hidden, layer.final_layer_norm, feed_forward)


class T5Decoder(_CachedDecoder):
    """T5, mT5, UMT5 and ByT5: relative positions, which in a tree are differences of depth."""

    def __init__(self, model: Any) -> None:
        super().__init__(model)
        self.decoder = model.get_decoder()
        self.blocks = list(self.decoder.block)
        own = [block.layer[0].SelfAttention for block in self.blocks]
        cross = [block.layer[1].EncDecAttention for block in self.blocks]
        self.heads, self.scale = own[0].n_heads, 1.0
        self.self_projections = [_Projection(x.q, x.k, x.v) for x in own]
        self.cross = [_Projection(x.k, x.v) for x in cross]
        self.rescale = model.config.d_model**-0.5 if _scales_output(model.config) else 1.0

    def _cross_projections(self) -> list[_Projection]:
        return self.cross

    def step(self, cache: TreeCache, packed: Packed) -> Tensor:
        hidden = self.decoder.embed_tokens(packed.token_ids)
        first = cache.reserve(len(packed.token_ids))
        hard = _hard_bias(packed.attend, hidden.dtype)
        bias = hard
        for index, block in enumerate(self.blocks):
            own = block.layer[0].SelfAttention
            if own.has_relative_attention_bias:  # only the first layer of T5 has a table, every layer of UMT5
                bias = hard + self._relative_bias(own, packed.distance)
            qkv = self.self_projections[index](block.layer[0].layer_norm(hidden))
            hidden = hidden + own.o(self._self_attention(qkv, index, first, cache, packed, bias))
            cross = block.layer[1].EncDecAttention
            query = cross.q(block.layer[1].layer_norm(hidden))
            hidden = hidden + cross.o(self._cross_attention(query, index, cache, packed))
            hidden = block.layer[2](hidden)
        hidden = self.decoder.final_layer_norm(hidden)
        logits: Tensor = self.model.lm_head(hidden * self.rescale)
        return logits.float()

    def _relative_bias(self, own: Any, distance: Tensor) -> Tensor:
        """[R, heads, C, D] of the distances [R, C, D]."""
        span = torch.arange(distance.shape[2], device=distance.device)
        if self.model.config.model_type == "umt5":
            bucket = own._relative_position_bucket(-span)
        else:
            bucket = own._relative_position_bucket(
                -span,
                bidirectional=False,
                num_buckets=own.relative_attention_num_buckets,
                max_distance=own.relative_attention_max_distance,
            )
        by_distance: Tensor = own.relative_attention_bias(bucket)  # [D, heads]
        return by_distance[distance.clamp(min=0)].permute(0, 3, 1, 2)


def _scales_output(config: Any) -> bool:
    """Whether the head's input is multiplied by d_model ** -0.5: T5 has its own setting for it, mT5 never does."""
    if config.model_type == "t5":
        return bool(getattr(config, "scale_decoder_outputs", config.tie_word_embeddings))
    return config.model_type == "umt5" and bool(config.tie_word_embeddings)


class ReplayDecoder(TreeDecoder):
    """Any other encoder-decoder: every path is run again from its start through the model's own forward.

    Exact and slow: it keeps token ids only.
    """

    def _cache(self, states: Tensor, attention_mask: Tensor, bias: Tensor) -> TreeCache:
        cache = TreeCache([], [], bias)
        cache.extra = {"states": states, "mask": attention_mask}
        self.tokens = torch.zeros(0, dtype=torch.long, device=states.device)
        return cache

    def step(self, cache: TreeCache, packed: Packed) -> Tensor:
        cache.reserve(len(packed.token_ids))
        self.tokens = torch.cat([self.tokens, packed.token_ids])
        row = packed.slot // packed.width
        width = max(packed.query_width, 1)
        query = torch.zeros_like(row) if packed.query_slot is None else packed.query_slot // width
        rows = len(packed.key_rows)
        query_of_row = torch.zeros(rows, dtype=torch.long, device=row.device).index_copy_(0, row, query)
        output = self.model(
            encoder_outputs=(cache.extra["states"][query_of_row],),
            attention_mask=cache.extra["mask"][query_of_row],
            decoder_input_ids=self.tokens[packed.key_rows],
            use_cache=False,
        )
        return torch.as_tensor(output.logits[row, packed.positions]).float()


_FAMILIES: dict[str, type[TreeDecoder]] = {
    "t5": T5Decoder,
    "mt5": T5Decoder,
    "umt5": T5Decoder,
    "bart": BartDecoder,
    "mbart": BartDecoder,
    "pegasus": BartDecoder,
    "marian": BartDecoder,
}


def tree_decoder(model: Any) -> TreeDecoder:
    """The fastest exact way to run this model's decoder over a tree.

    Raises:
        ValueError: the model is no encoder-decoder.
    """
    if not getattr(model.config, "is_encoder_decoder", False):
        raise ValueError(
            f"search needs an encoder-decoder, got {type(model).__name__}; decoder-only models are not run"
        )
    return _FAMILIES.get(model.config.model_type, ReplayDecoder)(model)
