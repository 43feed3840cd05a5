"""The usual ways to decode under a constraint, to measure `rewrite.search` against.

Each rival answers a batch of queries with the ids of its best member. All use the model's own modules and cache.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from rewrite.trie_build import Array, Ragged

Answer = list[tuple[int, ...]]


class Rival(Protocol):
    """One way to decode."""

    name: str

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, k: int) -> Answer:
        """The ids of the best member found of each query, eos included."""


@dataclass
class Shape:
    """What the rivals share.

    Attributes:
        beams: width of every beam search.
        longest: tokens of the longest member, eos included.
    """

    model: Any
    eos_id: int
    beams: int
    longest: int


def generate(shape: Shape, ids: Tensor, mask: Tensor, beams: int, allowed: Callable[..., Any] | None) -> Answer:
    """Beam search by transformers' `generate`, ranked by the sum of log-probabilities as ours is."""
    constraint = {} if allowed is None else {"prefix_allowed_tokens_fn": allowed}
    out = shape.model.generate(
        input_ids=ids,
        attention_mask=mask,
        num_beams=beams,
        do_sample=False,
        max_new_tokens=shape.longest,
        length_penalty=0.0,
        early_stopping=True,
        **constraint,
    )
    return [_until_eos(row[1:].tolist(), shape.eos_id) for row in out]


def _until_eos(ids: list[int], eos_id: int) -> tuple[int, ...]:
    return tuple(ids[: ids.index(eos_id) + 1]) if eos_id in ids else tuple(ids)


class Unconstrained:
    """Beam search without a constraint: the floor of what the constrained rivals can cost."""

    name = "generate, unconstrained"

    def __init__(self, shape: Shape) -> None:
        self.shape = shape

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, k: int) -> Answer:
        return generate(self.shape, input_ids, attention_mask, max(self.shape.beams, k), None)


class DictConstrained:
    """`prefix_allowed_tokens_fn` over nested dicts. Where a beam has left the trie, eos is allowed: an empty list of
    tokens makes `generate` fail, as it does on tries with fewer branches than beams."""

    name = "generate, dict trie"

    def __init__(self, shape: Shape, members: Ragged) -> None:
        self.shape = shape
        self.root: dict[int, Any] = {}
        for row in members.rows():
            node = self.root
            for token_id in row:
                node = node.setdefault(token_id, {})

    def allowed(self, _: int, sent: Tensor) -> list[int]:
        """Ids that may follow, re-derived from the root at every step, which is what the interface asks for."""
        node = self.root
        for token_id in sent.tolist()[1:]:
            node = node.get(token_id, {})
        return list(node) or [self.shape.eos_id]

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, k: int) -> Answer:
        return generate(self.shape, input_ids, attention_mask, max(self.shape.beams, k), self.allowed)


class MarisaConstrained:
    """`prefix_allowed_tokens_fn` over a marisa trie, as the published entity-retrieval code does it: members become
    strings of one character per id, and the ids that may follow are read off all members under the prefix. The first
    two levels are remembered, where listing costs most."""

    name = "generate, marisa trie"

    def __init__(self, shape: Shape, members: Ragged) -> None:
        import marisa_trie

        self.shape = shape
        rows = members.rows()
        self.trie = marisa_trie.Trie(["".join(map(_letter, row)) for row in rows])
        self.known: dict[str, list[int]] = {}
        for row in rows:
            for depth in (0, 1):
                prefix = "".join(map(_letter, row[:depth]))
                self.known.setdefault(prefix, []).append(row[depth])
        self.known = {prefix: sorted(set(ids)) for prefix, ids in self.known.items()}

    def allowed(self, _: int, sent: Tensor) -> list[int]:
        """Ids that may follow: the distinct next characters of all members that begin so."""
        prefix = "".join(map(_letter, sent.tolist()[1:]))
        known = self.known.get(prefix)
        if known is None:
            depth = len(prefix)
            known = sorted({ord(key[depth]) - _FIRST_LETTER for key in self.trie.iterkeys(prefix) if len(key) > depth})
        return known or [self.shape.eos_id]

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, k: int) -> Answer:
        return generate(self.shape, input_ids, attention_mask, max(self.shape.beams, k), self.allowed)


_FIRST_LETTER = 0x100  # no control characters, and never the NUL that marisa-trie stumbles on


def _letter(token_id: int) -> str:
    return chr(token_id + _FIRST_LETTER)


@dataclass
class _FlatTrie:
    """An uncompressed trie as CSR: children of node n are edges start[n] ... start[n + 1] - 1."""

    start: Tensor
    token: Tensor
    child: Tensor
    widest: list[int]  # per level

    def to(self, device: torch.device) -> "_FlatTrie":
        """On another device."""
        return replace(self, start=self.start.to(device), token=self.token.to(device), child=self.child.to(device))

    def edges(self, nodes: Tensor, widest: int) -> tuple[Tensor, Tensor]:
        """[N, widest] edges of nodes, and which of them there are; none of a negative node."""
        at = nodes.clamp(min=0)
        edge = self.start[at][:, None] + torch.arange(widest, device=nodes.device)
        valid = (edge < self.start[at + 1][:, None]) & (nodes >= 0)[:, None]
        return edge.clamp(max=len(self.token) - 1), valid


def flat_trie(members: Ragged) -> _FlatTrie:
    """Build level by level from padded rows; eos leads every member to a loop, so that all have one length."""
    width = int(members.lengths.max())
    rows = np.full((len(members), width), -1, np.int64)
    rows[np.arange(width) < members.lengths[:, None]] = members.flat
    rows = np.unique(rows, axis=0)
    starts, tokens, children, widest = [], [], [], []
    node = np.zeros(len(rows), np.int64)
    first, edges = 0, 0
    while len(rows):
        key = rows[:, 0] + (node << 32)
        fresh = np.append(True, key[1:] != key[:-1])
        group = np.cumsum(fresh) - 1
        parent, token = node[fresh], rows[fresh, 0]
        nodes = int(node.max()) + 1
        sizes = np.bincount(parent, minlength=nodes)
        starts.append(edges + np.cumsum(sizes) - sizes)
        widest.append(int(sizes.max()))
        edges += len(token)
        tokens.append(token)
        children.append(first + nodes + np.arange(len(token)))
        first += nodes
        alive = rows.shape[1] > 1
        node, rows = group, rows[:, 1:] if alive else rows[:0]
        keep = rows[:, 0] >= 0 if alive else np.zeros(0, bool)
        ended = np.bincount(group[~keep] if alive else group, minlength=len(token)) > 0
        rows, node = rows[keep], node[keep] if alive else node[:0]
        # Members that ended here get a node without edges only if others go on; renumber the rest.
        order = np.cumsum(~ended) - 1
        children[-1] = np.where(ended, -1, first + order)
        node = order[node] if len(node) else node
    start = np.append(np.concatenate(starts), edges)
    to = torch.from_numpy
    return _FlatTrie(to(start), to(np.concatenate(tokens)), to(np.concatenate(children)), widest)


class _OwnLoop:
    """Beam search in a loop of its own over the model's decoder and cache; its state is a trie node per beam."""

    name: str

    def __init__(self, shape: Shape, members: Ragged) -> None:
        self.shape = shape
        self.trie = flat_trie(members).to(shape.model.device)

    def __call__(self, input_ids: Tensor, attention_mask: Tensor, k: int) -> Answer:
        beams, eos_id = max(self.shape.beams, k), self.shape.eos_id
        model, batch, device = self.shape.model, len(input_ids), input_ids.device
        with torch.inference_mode():
            states = model.get_encoder()(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            states = states.repeat_interleave(beams, 0)
            mask = attention_mask.repeat_interleave(beams, 0)
            token = torch.full((batch * beams, 1), model.config.decoder_start_token_id, device=device)
            node = torch.zeros(batch * beams, dtype=torch.long, device=device)
            total = torch.full((batch, beams), -torch.inf, device=device)
            total[:, 0] = 0.0
            cache, sent = None, token[:, :0]
            for level in range(len(self.trie.widest)):
                out = model(
                    encoder_outputs=(states,), attention_mask=mask, decoder_input_ids=token, past_key_values=cache,
                    use_cache=True,
                )  # fmt: skip
                cache = out.past_key_values
                log_probs = out.logits[:, -1].float().log_softmax(-1)
                beam, token, node, total = self.choose(log_probs, node, token, total, level)
                cache.reorder_cache(beam)
                sent = torch.cat([sent[beam], token], 1)
                if self.ended(node, level):
                    break
        best = sent.view(batch, beams, -1)[torch.arange(batch, device=device), total.argmax(1)]
        return [_until_eos(row.tolist(), eos_id) for row in best]

    def ended(self, node: Tensor, level: int) -> bool:
        """Whether every beam has ended; members may have different lengths."""
        return bool((node < 0).all())

    def choose(
        self, log_probs: Tensor, node: Tensor, token: Tensor, total: Tensor, level: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Rows the next beams come from, their tokens [N, 1] and nodes [N], and totals [B, beams]."""
        raise NotImplementedError


class CsrConstrained(_OwnLoop):
    """The mask is a gather from a CSR matrix, padded to the widest node of the level; a member that has ended waits at
    no cost to its score."""

    name = "beam, CSR mask"

    def choose(
        self, log_probs: Tensor, node: Tensor, token: Tensor, total: Tensor, level: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        trie, (batch, beams), widest = self.trie, total.shape, self.trie.widest[level]
        edge, valid = trie.edges(node, widest)
        gain = log_probs.gather(1, trie.token[edge]).masked_fill(~valid, -torch.inf)
        wait = torch.where(node < 0, 0.0, -torch.inf)[:, None]
        scored = (torch.cat([gain, wait], 1).view(batch, beams, -1) + total[:, :, None]).view(batch, -1)
        total, place = scored.topk(beams, 1)
        beam = (place // (widest + 1) + torch.arange(batch, device=node.device)[:, None] * beams).view(-1)
        column = (place % (widest + 1)).view(-1)
        waits = column == widest
        chosen = edge[beam, column.clamp(max=widest - 1)]
        token = torch.where(waits, self.shape.eos_id, trie.token[chosen])
        child = torch.where(waits, -1, trie.child[chosen])
        dead = torch.isneginf(total).view(-1)
        return beam, token[:, None], torch.where(dead, -1, child), total


class StaticConstrained(_OwnLoop):
    """The step of STATIC (arXiv 2602.22647): members of one length, the first two levels as dense tables over the
    vocabulary, the others as a CSR matrix read to the level's widest fan-out and scattered into a mask over the whole
    vocabulary. Written from the paper; its ranking by the sum of log-probabilities is added."""

    name = "STATIC step, one length"

    def __init__(self, shape: Shape, members: Ragged) -> None:
        if len(set(members.lengths.tolist())) != 1:
            raise ValueError(f"STATIC needs members of one length, got {sorted(set(members.lengths.tolist()))[:5]} ...")
        super().__init__(shape, members)
        vocabulary = int(shape.model.get_output_embeddings().weight.shape[0])
        self.dense = [self._table(torch.zeros(1, dtype=torch.long), vocabulary)]
        if len(self.trie.widest) > 1 and vocabulary <= 4096:  # the second is V x V
            self.dense.append(self._table(self.dense[0][0].cpu(), vocabulary))

    def _table(self, nodes: Tensor, vocabulary: int) -> Tensor:
        """[N, V] the node that a token leads to from each of N nodes (-2 where none may follow, as from node -2)."""
        trie, nodes = self.trie, nodes.to(self.trie.start.device)
        table = torch.full((len(nodes), vocabulary), -2, device=nodes.device)
        edge, valid = trie.edges(nodes, max(trie.widest[:2]))
        valid &= (nodes >= 0)[:, None]
        row = valid.nonzero()[:, 0]
        table[row, trie.token[edge[valid]]] = trie.child[edge[valid]]
        return table

    def ended(self, node: Tensor, level: int) -> bool:
        """Members have one length: the loop's own end."""
        return False

    def choose(
        self, log_probs: Tensor, node: Tensor, token: Tensor, total: Tensor, level: int
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        batch, beams = total.shape
        if level < len(self.dense):
            following = self.dense[level][token[:, 0] if level else torch.zeros_like(token[:, 0])]
        else:
            edge, valid = self.trie.edges(node, self.trie.widest[level])
            spare = log_probs.shape[1]  # a column for what is no edge
            following = torch.full((len(node), spare + 1), -2, device=node.device)
            following.scatter_(1, torch.where(valid, self.trie.token[edge], spare), self.trie.child[edge])
            following = following[:, :spare]
        masked = log_probs.masked_fill(following == -2, -torch.inf).view(batch, beams, -1)
        total, place = (masked + total[:, :, None]).view(batch, -1).topk(beams, 1)
        vocabulary = log_probs.shape[1]
        beam = (place // vocabulary + torch.arange(batch, device=node.device)[:, None] * beams).view(-1)
        token = (place % vocabulary).view(-1)
        return beam, token[:, None], following[beam, token], total


def bytes_of(rival: Any) -> int | None:
    """Memory of a rival's index, where it can be told."""
    if isinstance(rival, _OwnLoop):
        return sum(t.numel() * t.element_size() for t in (rival.trie.start, rival.trie.token, rival.trie.child))
    if isinstance(rival, MarisaConstrained):
        return len(rival.trie.tobytes())
    if isinstance(rival, DictConstrained):
        return _dict_bytes(rival.root)
    return None


def _dict_bytes(root: dict[int, Any]) -> int:
    import sys

    total, stack = 0, [root]
    while stack:
        node = stack.pop()
        total += sys.getsizeof(node)
        stack.extend(node.values())
    return total


def members_of(token_rows: Sequence[Sequence[int]] | Array) -> Ragged:
    """Token rows as the ragged form that the indexes are built from."""
    return Ragged.of(list(token_rows))
