"""A trie of nested dicts: the oracle of `TokenTrie`, and the usual way to constrain `generate`."""

from collections.abc import Iterable, Sequence
from typing import Any


class DictTrie:
    """Members as nested dicts from token id to the rest."""

    def __init__(self, sequences: Iterable[Sequence[int]] = ()) -> None:
        self.root: dict[int, Any] = {}
        for sequence in sequences:
            node = self.root
            for token_id in sequence:
                node = node.setdefault(int(token_id), {})

    def next_ids(self, prefix: Sequence[int]) -> list[int]:
        """The ids that may follow `prefix`, sorted; empty where no member begins so."""
        node = self.root
        for token_id in prefix:
            if token_id not in node:
                return []
            node = node[token_id]
        return sorted(node)

    def members(self) -> list[list[int]]:
        """All members in lexicographic order."""
        found: list[list[int]] = []
        stack: list[tuple[list[int], dict[int, Any]]] = [([], self.root)]
        while stack:
            prefix, node = stack.pop()
            if not node and prefix:
                found.append(prefix)
            stack += [([*prefix, token_id], below) for token_id, below in node.items()]
        return sorted(found)
