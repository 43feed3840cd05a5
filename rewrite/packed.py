"""The tokens of one decoder forward, and how they attend: in groups, each to cache rows of its own."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rewrite.trie_build import Array


@dataclass
class Even:
    """G groups of Q tokens and U cache rows each: one attention for all, whatever is missing filled up.

    Attributes:
        groups, tokens, rows: G, Q, U.
        slot: [T] group * Q + place among the group's tokens; None where that is 0 ... T - 1.
    """

    groups: int
    tokens: int
    rows: int
    slot: Tensor | None = None

    def distances(self, positions: Tensor, key_positions: Tensor) -> Tensor:
        """[N] how far each cell's cache row lies before its token."""
        spread = self._spread(positions, self.groups)
        return (spread[:, :, None] - key_positions.view(self.groups, 1, self.rows)).flatten()

    def attend_own(self, query: Tensor, kv: Tensor, bias: Tensor, heads: int, scale: float) -> Tensor:
        """Attend to the group's cache rows.

        Args:
            query: [T, inner]. kv: [K, 2 * inner] keys, then values, of all groups' rows. bias: [1 or heads, N].

        Returns:
            [T, inner].
        """
        kv = kv.view(self.groups, self.rows, -1)
        inner = kv.shape[2] // 2
        key, value = (split_heads(part, heads) for part in (kv[..., :inner], kv[..., inner:]))
        bias = bias.view(-1, self.groups, self.tokens, self.rows).transpose(0, 1)
        return self.attend_encoder(query, key, value, bias, scale)

    def attend_encoder(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        """Attend to keys and values [B, heads, S, head size], in B groups, with a bias [B, 1 or heads, 1 or Q, S].

        `query` and result [T, inner]; without `slot` a query of the batch may have several groups.
        """
        spread = split_heads(self._spread(query, len(key)), key.shape[1])
        out = F.scaled_dot_product_attention(spread, key, value, attn_mask=bias, scale=scale)
        flat = out.transpose(1, 2).flatten(2).flatten(0, 1)
        return flat if self.slot is None else flat.index_select(0, self.slot)

    def _spread(self, values: Tensor, groups: int) -> Tensor:
        """[T, ...] -> [G, Q, ...], zero where a group has fewer tokens; without `slot`, into any number of groups."""
        if self.slot is None:
            return values.view(groups, -1, *values.shape[1:])
        flat = values.new_zeros(groups * self.tokens, *values.shape[1:])
        return flat.index_copy_(0, self.slot, values).view(groups, self.tokens, *values.shape[1:])


@dataclass
class Ragged:
    """Groups of any sizes, consecutive, an attention for each.

    A batch has hard and easy queries; filled up to the hardest, most of what a CPU computes would be padding.

    Attributes:
        sizes: (group, its tokens, its cache rows) of every group that has tokens.
    """

    sizes: Sequence[tuple[int, int, int]]

    def distances(self, positions: Tensor, key_positions: Tensor) -> Tensor:
        """[N] how far each cell's cache row lies before its token."""
        own = torch.split(positions, [tokens for _, tokens, _ in self.sizes])
        keys = torch.split(key_positions, [rows for _, _, rows in self.sizes])
        return torch.cat([(at[:, None] - seen).flatten() for at, seen in zip(own, keys, strict=True)])

    def attend_own(self, query: Tensor, kv: Tensor, bias: Tensor, heads: int, scale: float) -> Tensor:
        """As `Even.attend_own`."""
        inner, out = kv.shape[1] // 2, torch.empty_like(query)
        token = row = cell = 0
        for _, tokens, rows in self.sizes:
            own, keys = slice(token, token + tokens), kv[None, row : row + rows]
            key, value = (split_heads(part, heads) for part in (keys[..., :inner], keys[..., inner:]))
            hard = bias[None, :, cell : cell + tokens * rows].view(1, -1, tokens, rows)
            out[own] = _attended(query[own], key, value, hard, scale)
            token, row, cell = token + tokens, row + rows, cell + tokens * rows
        return out

    def attend_encoder(self, query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
        """As `Even.attend_encoder`."""
        out, token = torch.empty_like(query), 0
        for group, tokens, _ in self.sizes:
            own, one = slice(token, token + tokens), slice(group, group + 1)
            hard = None if bias is None else bias[one]
            out[own] = _attended(query[own], key[one], value[one], hard, scale)
            token += tokens
        return out


def _attended(query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None, scale: float) -> Tensor:
    """[Q, inner] of one group."""
    spread = split_heads(query[None], key.shape[1])
    out = F.scaled_dot_product_attention(spread, key, value, attn_mask=bias, scale=scale)
    return out[0].transpose(0, 1).flatten(1)


def split_heads(rows: Tensor, heads: int) -> Tensor:
    """[B, T, inner] -> [B, heads, T, inner / heads]."""
    return rows.view(*rows.shape[:2], heads, rows.shape[2] // heads).transpose(1, 2)


@dataclass
class Packed:
    """T tokens to run in groups that attend to the same K cache rows: a cell for each of a group's tokens and rows.

    A group is a query; or, where all groups have as many tokens, anything that lies within one.

    Attributes:
        token_ids, positions: [T], group by group.
        key_rows: [K] cache rows, new ones among them, group by group. key_positions: [K].
        attend: [N] whether a token sees a row: its ancestors and itself; by group, token and row.
        groups: how tokens and rows are grouped.
        path, row: [R, D] cache rows of R paths by position, and [T] the path each token is on.
        deepest: no position reaches this.
        owner: [R] the encoder states that a path goes with; None where there is one query.
        new_rows: [T] where the cache keeps the tokens; None for the next T free rows.
    """

    token_ids: Tensor
    positions: Tensor
    key_rows: Tensor
    key_positions: Tensor
    attend: Tensor
    groups: Even | Ragged
    path: Tensor
    row: Tensor
    deepest: int
    owner: Tensor | None = None
    new_rows: Tensor | None = None

    def hard_bias(self, dtype: torch.dtype) -> Tensor:
        """[1, N] 0 where attended, else -inf."""
        bias = torch.zeros(self.attend.shape, dtype=dtype, device=self.attend.device)
        return bias.masked_fill_(~self.attend, -math.inf)[None]

    def distances(self) -> Tensor:
        """[N] how far each cell's cache row lies before its token."""
        return self.groups.distances(self.positions, self.key_positions)


@dataclass
class Grouping:
    """Where the tokens and cache rows of G groups lie, given how many each has.

    Attributes:
        tokens, rows: [G].
        even: whether all are filled up to the largest.
        first_row, first_cell, width: [G] a group's first place among the rows and the cells, and the cells of a token.
    """

    tokens: Array
    rows: Array
    even: bool
    first_row: Array = field(init=False)
    first_cell: Array = field(init=False)
    width: Array = field(init=False)

    def __post_init__(self) -> None:
        rows = np.full(len(self.rows), self.rows.max()) if self.even else self.rows
        tokens = np.full(len(self.tokens), self.tokens.max()) if self.even else self.tokens
        self.width = rows
        self.row_count, self.cell_count = int(rows.sum()), int((rows * tokens).sum())
        self.first_row, self.first_cell = np.cumsum(rows) - rows, np.cumsum(rows * tokens) - rows * tokens

    def places(self) -> Array:
        """[T] the place of each token among its group's, tokens being in order of their groups."""
        places: Array = np.arange(int(self.tokens.sum())) - np.repeat(np.cumsum(self.tokens) - self.tokens, self.tokens)
        return places

    def groups(self, device: torch.device) -> Even | Ragged:
        """The grouping for the decoder."""
        if not self.even:
            some = np.flatnonzero(self.tokens)
            return Ragged(list(zip(some.tolist(), self.tokens[some].tolist(), self.rows[some].tolist(), strict=True)))
        count, most = len(self.tokens), int(self.tokens.max())
        slot = None
        if count > 1:
            slot = torch.from_numpy(np.repeat(np.arange(count), self.tokens) * most + self.places()).to(device)
        return Even(count, most, int(self.rows.max()), slot)
