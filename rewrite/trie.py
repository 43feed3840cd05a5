"""The token trie: a finite set of token-id sequences as flat arrays, searched by `rewrite.search`."""

import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from rewrite.trie_build import Array, Ragged, TrieArrays, build_arrays, eos_of, ragged_range

FORMAT = 1


@dataclass(frozen=True)
class TriePart:
    """One index and which of its nodes are cut out; `dead` [N] is None while nothing was removed."""

    arrays: TrieArrays
    dead: Array | None = None


@dataclass(frozen=True)
class _State:
    """What is in force. Replaced as a whole, so that a search in another thread sees one state throughout."""

    base: TriePart
    delta: TriePart
    added: Ragged
    removed: frozenset[tuple[int, ...]]
    size: int


class TokenTrie:
    """A set of token-id sequences, each ending in eos.

    The arrays of `build` are never changed: later additions go to a small second index, removals to tombstones that cut
    the text out of the walk, and `merged` or `save` folds both in. A removed sequence stays out, also when it is added
    again or comes back in an old delta; only `restore` lets it in.
    """

    def __init__(
        self,
        arrays: TrieArrays,
        eos_id: int | None,
        removed: Iterable[Sequence[int]] = (),
        size: int | None = None,
    ) -> None:
        self._eos_id = eos_id
        if size is None:
            size = int(np.count_nonzero(arrays.first_child[1:] == arrays.first_child[:-1]))
        gone = frozenset(tuple(map(int, row)) for row in removed)
        nothing = Ragged.of([])
        self._state = _State(TriePart(arrays), TriePart(build_arrays(nothing)), nothing, gone, size)

    @classmethod
    def build(cls, sequences: Iterable[Sequence[int]] | Array | Ragged) -> "TokenTrie":
        """Build from sequences, in any order and with repeats.

        Args:
            sequences: token ids below 2**31, each sequence ending in the same eos; or an integer array [N, T] padded
                with -1, or a `Ragged`, which are fastest.

        Raises:
            ValueError: a sequence is empty, does not end in eos, or holds it earlier; an id is out of range.
        """
        rows = Ragged.of(sequences)
        return cls(build_arrays(rows), eos_of(rows) if len(rows) else None)

    # what is in it

    def __len__(self) -> int:
        return self._state.size

    @property
    def eos_id(self) -> int | None:
        """The id that ends every member; None while the trie has never had one."""
        return self._eos_id

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, tombstones included."""
        return sum(p.arrays.nbytes + (0 if p.dead is None else p.dead.nbytes) for p in self.parts)

    @property
    def parts(self) -> tuple[TriePart, ...]:
        """The indexes to search, the built one and the additions, as of now."""
        state = self._state
        return tuple(part for part in (state.base, state.delta) if part.arrays.node_count)

    def __contains__(self, sequence: Sequence[int]) -> bool:
        return bool(self.contains([sequence])[0])

    def contains(self, sequences: Iterable[Sequence[int]] | Ragged) -> Array:
        """[N] whether each sequence is a member."""
        rows = Ragged.of(sequences)
        found = np.zeros(len(rows), bool)
        for part in self.parts:
            node = _find(part.arrays, rows)
            found |= (node >= 0) if part.dead is None else (node >= 0) & ~part.dead[node]
        return found

    def __iter__(self) -> Iterator[list[int]]:
        """Members in lexicographic order of their ids, additions after the rest."""
        for part in self.parts:
            yield from sorted(_living(part).rows())

    def children(self, nodes: Array) -> tuple[Array, Array]:
        """Children of nodes of the built index, raggedly.

        Args:
            nodes: [N] node ids; 0 is the root.

        Returns:
            counts [N], and the child ids one node after the other. Removed children are left out.
        """
        part = self._state.base
        first = part.arrays.first_child.astype(np.int64)
        counts = first[nodes + 1] - first[nodes]
        child = ragged_range(first[nodes], counts)
        if part.dead is not None:
            parent = np.repeat(np.arange(len(nodes)), counts)[~part.dead[child]]
            child, counts = child[~part.dead[child]], np.bincount(parent, minlength=len(nodes))
        return counts, child

    def next_ids(self, prefix: Sequence[int]) -> list[int]:
        """The ids that may follow `prefix` (no start token), sorted; empty where no member begins so."""
        found: set[int] = set()
        for part in self.parts:
            found.update(_next_ids(part, prefix))
        return sorted(found)

    # changing it

    def add(self, sequences: Iterable[Sequence[int]] | Array | Ragged) -> int:
        """Add sequences; those that are members, or were removed, are skipped. Returns how many were new.

        Cost: linear in all additions since the last merge.
        """
        rows = Ragged.of(sequences)
        if not len(rows):
            return 0
        self._check_eos(rows)
        state = self._state
        known = self.contains(rows)
        fresh = {tuple(row) for row, skip in zip(rows.rows(), known, strict=True) if not skip} - state.removed
        if fresh:
            added = Ragged.of([*state.added.rows(), *sorted(fresh)])
            delta = TriePart(build_arrays(added))
            self._state = replace(state, delta=delta, added=added, size=state.size + len(fresh))
        return len(fresh)

    def remove(self, sequences: Iterable[Sequence[int]] | Array | Ragged) -> int:
        """Cut sequences out for good, members now or not. Returns how many were members."""
        rows = Ragged.of(sequences)
        if not len(rows):
            return 0
        state, gone = self._state, {tuple(row) for row in rows.rows()}
        count = len({tuple(row) for row, there in zip(rows.rows(), self.contains(rows), strict=True) if there})
        kept = [row for row in state.added.rows() if tuple(row) not in gone]
        added = Ragged.of(kept)
        base = _cut(state.base, _find(state.base.arrays, rows))
        removed = state.removed | gone
        self._state = _State(base, TriePart(build_arrays(added)), added, removed, state.size - count)
        return count

    def restore(self, sequences: Iterable[Sequence[int]] | Array | Ragged) -> int:
        """Let removed sequences in again, as members. Returns how many became members."""
        rows = Ragged.of(sequences)
        again = frozenset(tuple(row) for row in rows.rows())
        self._state = replace(self._state, removed=self._state.removed - again)
        return self.add(rows)

    def merged(self) -> "TokenTrie":
        """The same members and the same removals, as one index."""
        state = self._state
        living = [_living(part) for part in (state.base, state.delta)]
        flat, lengths = (np.concatenate([getattr(rows, name) for rows in living]) for name in ("flat", "lengths"))
        return TokenTrie(build_arrays(Ragged.of(Ragged(flat, lengths))), self._eos_id, state.removed)

    def _check_eos(self, rows: Ragged) -> None:
        eos_id = eos_of(rows)
        if self._eos_id is not None and eos_id != self._eos_id:
            raise ValueError(f"sequences end in id {eos_id}, the members of this trie in {self._eos_id}")
        self._eos_id = eos_id

    # keeping it

    def save(self, path: str | Path) -> None:
        """Write the merged trie as a directory of .npy files. `path` must not exist or be an empty directory."""
        state = self._state
        whole = state.base.arrays if state.base.dead is None and not len(state.added) else None
        arrays = whole or self.merged()._state.base.arrays
        directory = Path(path)
        directory.mkdir(parents=True, exist_ok=True)
        if any(directory.iterdir()):
            raise ValueError(f"{directory} is not empty; a saved trie is never written over, choose a new directory")
        for name, array in _named(arrays).items():
            np.save(directory / f"{name}.npy", array)
        about = {"format": FORMAT, "eos_id": self._eos_id, "size": state.size}
        removed = Ragged.of(sorted(state.removed))
        np.save(directory / "removed_ids.npy", removed.flat)
        np.save(directory / "removed_lengths.npy", removed.lengths)
        (directory / "trie.json").write_text(json.dumps(about) + "\n")

    @classmethod
    def load(cls, path: str | Path) -> "TokenTrie":
        """Open a saved trie; its arrays stay on disk and are mapped.

        Raises:
            ValueError: the directory holds no trie, one of another format, or arrays that do not fit together.
        """
        directory = Path(path)
        try:
            about = json.loads((directory / "trie.json").read_text())
            # Mode "c" maps privately: pages are shared between processes and torch accepts the memory as its own.
            arrays = TrieArrays(**{f.name: _open(directory / f"{f.name}.npy") for f in fields(TrieArrays)})
            removed = Ragged(np.load(directory / "removed_ids.npy"), np.load(directory / "removed_lengths.npy"))
        except FileNotFoundError as error:
            raise ValueError(f"{directory} holds no saved trie: {error.filename} is missing") from error
        if about.get("format") != FORMAT:
            raise ValueError(f"{directory} has trie format {about.get('format')}, this version reads {FORMAT}")
        _check_fit(arrays, directory)
        return cls(arrays, about["eos_id"], removed.rows(), about["size"])


def _living(part: TriePart) -> Ragged:
    """Members that were not removed, in the order of their nodes."""
    arrays = part.arrays
    member = arrays.first_child[1:] == arrays.first_child[:-1]
    return spell(arrays, np.flatnonzero(member if part.dead is None else member & ~part.dead))


def _pieces(rows: Ragged) -> list[Array]:
    return np.split(rows.flat, np.cumsum(rows.lengths)[:-1]) if len(rows) else []


def _named(arrays: TrieArrays) -> dict[str, Array]:
    return {field.name: getattr(arrays, field.name) for field in fields(arrays)}


def _open(path: Path) -> Array:
    array: Any = np.load(path, mmap_mode="c", allow_pickle=False)
    return array if array.size else np.asarray(array)


def _check_fit(arrays: TrieArrays, directory: Path) -> None:
    nodes = arrays.node_count
    sizes = (len(arrays.label_start), len(arrays.first_child), len(arrays.longest))
    if sizes != (nodes + 1, nodes + 1, nodes) or int(arrays.label_start[-1]) != len(arrays.labels):
        raise ValueError(f"arrays of {directory} do not fit together; the trie is truncated or mixed from two")


def spell(arrays: TrieArrays, members: Array) -> Ragged:
    """The sequences that end at the given nodes."""
    members = np.asarray(members, np.int64)
    if not len(members):
        return Ragged.of([])
    path = [members]
    while path[-1].any():  # the root is node 0 and its own parent here
        path.append(arrays.parent(path[-1]))
    label_start = arrays.label_start
    sizes = [label_start[node + 1].astype(np.int64) - label_start[node] for node in path]
    for step in range(1, len(path)):
        sizes[step][path[step - 1] == 0] = 0  # the root counts once
    lengths = np.sum(sizes, axis=0)
    end = np.cumsum(lengths)
    flat = np.empty(int(end[-1]), arrays.labels.dtype)
    for node, size in zip(path, sizes, strict=True):
        end = end - size
        flat[ragged_range(end, size)] = arrays.labels[ragged_range(label_start[node].astype(np.int64), size)]
    return Ragged(flat, lengths)


def _find(arrays: TrieArrays, rows: Ragged) -> Array:
    """[N] the node where each sequence ends as a member, -1 where it is none."""
    return np.fromiter((_find_one(arrays, row) for row in _pieces(rows)), np.int64, len(rows))


def _find_one(arrays: TrieArrays, row: Array) -> int:
    node, place = (0, 0) if arrays.node_count else (-1, 0)
    while node >= 0:
        label = arrays.labels[int(arrays.label_start[node]) : int(arrays.label_start[node + 1])]
        if len(label) > len(row) - place or (label != row[place : place + len(label)]).any():
            return -1
        place += len(label)
        if place == len(row):
            return node if arrays.first_child[node] == arrays.first_child[node + 1] else -1
        node = _child_by_token(arrays, node, int(row[place]))
    return -1


def _child_by_token(arrays: TrieArrays, node: int, token_id: int) -> int:
    low, high = int(arrays.first_child[node]), int(arrays.first_child[node + 1])
    first = arrays.labels[arrays.label_start[low:high]]
    place = int(np.searchsorted(first, token_id))
    return low + place if place < len(first) and int(first[place]) == token_id else -1


def _next_ids(part: TriePart, prefix: Sequence[int]) -> list[int]:
    arrays = part.arrays
    node, rest = 0, list(prefix)
    while True:
        label = arrays.labels[int(arrays.label_start[node]) : int(arrays.label_start[node + 1])].tolist()
        if part.dead is not None and part.dead[node]:
            return []
        if len(rest) < len(label):
            return [label[len(rest)]] if label[: len(rest)] == rest else []
        if label != rest[: len(label)]:
            return []
        rest = rest[len(label) :]
        if not rest:
            child = np.arange(int(arrays.first_child[node]), int(arrays.first_child[node + 1]))
            if part.dead is not None:
                child = child[~part.dead[child]]
            return [int(i) for i in arrays.labels[arrays.label_start[child]]]
        node = _child_by_token(arrays, node, rest[0])
        if node < 0:
            return []


def _cut(part: TriePart, members: Array) -> TriePart:
    """Mark members dead, and with them every node that leads to no living one."""
    members = members[members >= 0]
    if not len(members):
        return part
    arrays = part.arrays
    dead = np.zeros(arrays.node_count, bool) if part.dead is None else part.dead.copy()
    for member in members:
        node = int(member)
        dead[node] = True
        while node:
            node = int(arrays.parent(np.asarray(node)))
            if not dead[int(arrays.first_child[node]) : int(arrays.first_child[node + 1])].all():
                break
            dead[node] = True
    return TriePart(arrays, dead)
