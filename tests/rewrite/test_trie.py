"""The token trie against nested dicts."""

import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rewrite.trie import TokenTrie, spell
from rewrite.trie_build import Ragged, build_arrays
from tests.reference.dict_trie import DictTrie

EOS_ID = 1
sequences = st.lists(st.lists(st.integers(2, 5), max_size=8).map(lambda ids: [*ids, EOS_ID]), max_size=40)


def as_tuples(trie: TokenTrie) -> list[tuple[int, ...]]:
    return [tuple(member) for member in trie]


@given(sequences)
def test_members_are_those_of_nested_dicts(members: list[list[int]]) -> None:
    trie, oracle = TokenTrie.build(members), DictTrie(members)
    assert list(trie) == oracle.members()
    assert len(trie) == len(oracle.members())
    for member in members:
        assert member in trie
        for length in range(len(member)):
            assert trie.next_ids(member[:length]) == oracle.next_ids(member[:length])


@given(sequences, sequences)
def test_what_was_not_added_is_no_member(members: list[list[int]], others: list[list[int]]) -> None:
    trie = TokenTrie.build(members)
    known = set(map(tuple, members))
    for other in others:
        assert (other in trie) == (tuple(other) in known)
        assert trie.next_ids([*other, 7]) == []


@given(sequences, st.randoms(use_true_random=False))
def test_order_of_insertion_and_repeats_change_nothing(members: list[list[int]], random: object) -> None:
    again = members + members[: len(members) // 2]
    random.shuffle(again)  # type: ignore[attr-defined]
    first, second = TokenTrie.build(members), TokenTrie.build(again)
    for part, other in zip(first.parts, second.parts, strict=True):
        for name in ("labels", "label_start", "first_child", "shortest", "longest"):
            np.testing.assert_array_equal(getattr(part.arrays, name), getattr(other.arrays, name))


@settings(max_examples=25, deadline=None)
@given(members=sequences, removed=sequences, added=sequences)
def test_save_and_load_is_identity(
    tmp_path_factory: pytest.TempPathFactory,
    members: list[list[int]],
    removed: list[list[int]],
    added: list[list[int]],
) -> None:
    trie = TokenTrie.build(members)
    trie.add(added)
    trie.remove(removed)
    path = tmp_path_factory.mktemp("trie") / "saved"
    trie.save(path)
    loaded = TokenTrie.load(path)
    assert sorted(as_tuples(loaded)) == sorted(as_tuples(trie))
    assert len(loaded) == len(trie)
    assert loaded.add(removed) == 0


@given(sequences, sequences, sequences)
def test_a_removed_sequence_stays_out_until_restored(
    members: list[list[int]], removed: list[list[int]], added: list[list[int]]
) -> None:
    trie = TokenTrie.build(members)
    gone = set(map(tuple, removed))
    assert trie.remove(removed) == len(gone & set(map(tuple, members)))
    trie.add(added)
    trie.add(removed)
    kept = (set(map(tuple, members)) | set(map(tuple, added))) - gone
    for state in (trie, trie.merged()):
        assert set(as_tuples(state)) == kept
        assert len(state) == len(kept)
        assert not any(row in state for row in removed)
    trie.restore(removed)
    assert set(as_tuples(trie)) == kept | gone


@given(sequences, st.lists(st.lists(st.integers(2, 5), max_size=5), max_size=5))
def test_the_walk_never_offers_a_token_that_leads_only_to_removed_members(
    members: list[list[int]], prefixes: list[list[int]]
) -> None:
    trie = TokenTrie.build(members)
    trie.remove(members[::2])
    oracle = DictTrie(set(map(tuple, members)) - set(map(tuple, members[::2])))
    for prefix in [[], *prefixes, *members]:
        assert trie.next_ids(prefix) == oracle.next_ids(prefix)


@given(sequences.filter(bool))
def test_completion_lengths_are_those_of_the_members_below(members: list[list[int]]) -> None:
    arrays = build_arrays(Ragged.of(members))
    rows = spell(arrays, np.flatnonzero(np.diff(arrays.first_child.astype(int)) == 0)).rows()
    for node in range(arrays.node_count):
        prefix = spell(arrays, np.array([node])).flat.tolist()
        below = [len(row) - len(prefix) for row in rows if row[: len(prefix)] == prefix]
        assert (arrays.shortest[node], arrays.longest[node]) == (min(below), max(below))


def test_children_come_raggedly_and_living_only() -> None:
    trie = TokenTrie.build([[2, 1], [3, 1], [3, 4, 1]])
    counts, children = trie.children(np.array([0, 2, 1]))
    assert counts.tolist() == [2, 2, 0]
    assert children.tolist() == [1, 2, 3, 4]
    trie.remove([[3, 1]])
    counts, children = trie.children(np.array([0, 2]))
    assert counts.tolist() == [2, 1]
    assert children.tolist() == [1, 2, 4]


def test_all_ways_to_pass_sequences_build_the_same() -> None:
    rows = [[5, 6, 1], [5, 1], [9, 9, 9, 1]]
    padded = np.full((3, 4), -1)
    for row, ids in enumerate(rows):
        padded[row, : len(ids)] = ids
    ragged = Ragged(np.concatenate(rows), np.array([3, 2, 4]))
    for form in (rows, iter(rows), padded, ragged, [np.array(row) for row in rows]):
        assert list(TokenTrie.build(form)) == sorted(rows)


@pytest.mark.parametrize("largest", [200, 60_000, 2**31 - 1])
def test_ids_take_the_fewest_bytes_that_hold_them(largest: int) -> None:
    trie = TokenTrie.build([[largest, 7, EOS_ID], [largest, EOS_ID]])
    assert list(trie) == [[largest, EOS_ID], [largest, 7, EOS_ID]]
    assert trie.parts[0].arrays.labels.itemsize == {200: 1, 60_000: 2, 2**31 - 1: 4}[largest]


def test_sequences_longer_than_the_sorting_key() -> None:
    rng = np.random.default_rng(0)
    stem = rng.integers(2, 9, 70).tolist()
    members = [[*stem[: rng.integers(40, 70)], *rng.integers(2, 9, rng.integers(0, 60)).tolist(), 1] for _ in range(60)]
    assert list(TokenTrie.build(members + members[:9])) == DictTrie(members).members()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([[5, 1], [5, 2]], "sequence 1 ends in id 2, sequence 0 in 1"),
        ([[5, 1, 6, 1]], "holds eos"),
        ([[5, 1], []], "sequence 1 is empty"),
        ([[5, -100, 1]], "-100"),
        ([[5, 2**31, 1]], "token ids must be in 0"),
        ([[5.5, 1.0]], "must be integers"),
    ],
)
def test_what_cannot_be_a_member_is_refused(rows: list[list[int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TokenTrie.build([np.array(row) for row in rows] if rows == [[5.5, 1.0]] else rows)


def test_another_eos_cannot_be_added() -> None:
    with pytest.raises(ValueError, match="end in id 2, the members of this trie in 1"):
        TokenTrie.build([[5, 1]]).add([[5, 2]])


def test_a_broken_directory_is_refused(tmp_path: Path) -> None:
    trie = TokenTrie.build([[5, 1], [6, 7, 1]])
    trie.save(tmp_path / "a")
    with pytest.raises(ValueError, match="not empty"):
        trie.save(tmp_path / "a")
    with pytest.raises(ValueError, match="holds no saved trie"):
        TokenTrie.load(tmp_path / "nothing")
    np.save(tmp_path / "a" / "first_child.npy", np.zeros(2, np.uint8))
    with pytest.raises(ValueError, match="do not fit together"):
        TokenTrie.load(tmp_path / "a")


def test_a_loaded_trie_is_mapped_and_not_read(tmp_path: Path) -> None:
    TokenTrie.build([[5, 1], [6, 7, 1]]).save(tmp_path / "a")
    assert isinstance(TokenTrie.load(tmp_path / "a").parts[0].arrays.labels, np.memmap)


def test_many_utterances_take_few_bytes_and_little_time() -> None:
    rng = np.random.default_rng(0)
    words = [rng.integers(100, 125, rng.integers(2, 9)).tolist() for _ in range(2000)]
    texts = [[t for w in rng.integers(0, 2000, 7) for t in [*words[w], 35]] + [EOS_ID] for _ in range(50_000)]
    members = Ragged.of(texts)
    start = time.process_time()
    trie = TokenTrie.build(members)
    assert time.process_time() - start < 5.0  # 0.2 s on a quiet machine
    assert trie.nbytes / len(trie) < 60  # random words share less than utterances do
