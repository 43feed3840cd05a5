"""Search that stays on the device: the same results, and nothing that waits for the device between its steps."""

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils._python_dispatch import TorchDispatchMode

from rewrite import forest
from rewrite.decoder import BartDecoder, T5Decoder, TreeCache, TreeDecoder
from rewrite.device_forest import DeviceForest
from rewrite.device_run import DevicePacking, DeviceRun
from rewrite.run import Budget, Plan
from rewrite.search import SearchStats, search
from rewrite.trie import TokenTrie
from tests.reference.brute_force import best_members
from tests.reference.tiny_models import EOS_ID, tiny_model
from tests.rewrite.test_search import assert_equals_brute_force, model_of, queries, random_members

torch.set_num_threads(1)
members_of = st.lists(st.lists(st.integers(3, 6), max_size=6).map(lambda ids: [*ids, EOS_ID]), min_size=1, max_size=30)
packings = st.builds(
    DevicePacking,
    width=st.integers(1, 6),
    chain=st.integers(1, 4),
    open=st.integers(1, 60),
    rows=st.sampled_from([24, 2000]),
    ahead=st.integers(1, 3),
    depth_credit=st.floats(0, 3),
)
ROOMY = DevicePacking(width=8, chain=3, ahead=1, rows=8000)


@pytest.mark.parametrize("family", ["t5", "umt5", "bart", "pegasus"])
@pytest.mark.parametrize("count", [1, 200])
def test_on_the_device_the_best_members_are_those_of_brute_force(family: str, count: int) -> None:
    rng = np.random.default_rng(count)
    model, members = model_of(family), random_members(rng, count)
    ids, mask = queries(rng, [5, 2, 8])
    found = search(model, ids, mask, tries=[TokenTrie.build(members)], k=4, max_forwards=10_000, packing=ROOMY)
    for row in range(3):
        assert_equals_brute_force(found[row], model, ids[row : row + 1], mask[row : row + 1], members, 4)


@settings(max_examples=30, deadline=None)
@given(members_of, packings, st.integers(1, 5), st.integers(1, 5), st.integers(1, 40), st.integers(0, 99))
def test_whatever_the_room_all_returned_are_members_and_proofs_hold(
    members: list[list[int]], packing: DevicePacking, k: int, prove: int, forwards: int, seed: int
) -> None:
    ids, mask = queries(np.random.default_rng(seed), [5, 3])
    model, trie, stats = model_of("pegasus"), TokenTrie.build(members), SearchStats()
    found = search(
        model, ids, mask, tries=[trie], k=k, prove=prove, packing=packing, max_forwards=forwards, stats=stats
    )
    assert max(stats.query_forwards) <= forwards
    for row, each in enumerate(found):
        length, one = int(mask[row].sum()), slice(row, row + 1)
        wanted = best_members(model, ids[one, :length], mask[one, :length], members, k)
        assert all(candidate.token_ids in trie for candidate in each)
        assert len({candidate.token_ids for candidate in each}) == len(each) <= k
        for rank, candidate in enumerate(each):
            if candidate.proved:
                assert candidate.token_ids == wanted[rank][0]
                assert candidate.log_prob == pytest.approx(wanted[rank][1], abs=1e-3)


def test_each_query_is_searched_in_its_own_tries_and_equal_texts_count_once() -> None:
    rng = np.random.default_rng(3)
    model, first, second = model_of("bart"), random_members(rng, 40), random_members(rng, 25)
    second += first[:6]
    tries = [TokenTrie.build(first), TokenTrie.build(second)]
    ids, mask = queries(rng, [4, 3, 7, 2])
    per_query = [[tries[0]], tries, [tries[1]], []]
    found = search(model, ids, mask, tries=per_query, k=9, max_forwards=10_000, packing=ROOMY)
    for row, members in enumerate([first, first + second, second]):
        assert_equals_brute_force(found[row], model, ids[row : row + 1], mask[row : row + 1], members, 9)
    assert found[3] == []


def test_added_and_removed_texts_are_seen_on_the_device() -> None:
    rng = np.random.default_rng(4)
    model, members, fresh = model_of("t5"), random_members(rng, 60), random_members(rng, 10, alphabet=9)
    ids, mask = queries(rng, [5])
    trie = TokenTrie.build(members)
    trie.add(fresh)
    gone: list[list[int]] = []
    for _ in range(4):
        left = [member for member in members + fresh if member not in gone]
        found = search(model, ids, mask, tries=[trie], k=3, max_forwards=10_000, packing=ROOMY)[0]
        assert_equals_brute_force(found, model, ids, mask, left, 3)
        gone.append(list(found[0].token_ids))
        trie.remove(gone[-1:])
    trie.remove(members + fresh)
    assert search(model, ids, mask, tries=[trie], packing=ROOMY) == [[]]


def test_alone_or_in_a_batch_the_device_gives_the_same() -> None:
    rng = np.random.default_rng(5)
    model, trie = model_of("pegasus"), TokenTrie.build(random_members(rng, 150))
    ids, mask = queries(rng, [5, 2, 8])
    for forwards in (3, 10_000):
        together = search(model, ids, mask, tries=[trie], k=3, max_forwards=forwards, packing=ROOMY)
        for row, each in enumerate(together):
            length, one = int(mask[row].sum()), slice(row, row + 1)
            alone = search(
                model, ids[one, :length], mask[one, :length], tries=[trie], k=3, max_forwards=forwards, packing=ROOMY
            )[0]
            assert [(c.token_ids, c.proved) for c in each] == [(c.token_ids, c.proved) for c in alone]
            np.testing.assert_allclose([c.log_prob for c in each], [c.log_prob for c in alone], rtol=1e-4, atol=1e-4)


def test_paths_without_room_are_not_proved_against() -> None:
    rng = np.random.default_rng(6)
    model, members = model_of("pegasus"), random_members(rng, 300, alphabet=9)
    ids, mask = queries(rng, [5])
    narrow = DevicePacking(width=1, chain=1, open=1, ahead=1)
    trie, roomy = TokenTrie.build(members), DevicePacking(width=1, chain=1, open=400, ahead=1)
    for packing in (narrow, roomy):
        found = search(model, ids, mask, tries=[trie], k=2, packing=packing, max_forwards=10_000)[0]
        assert all(candidate.proved for candidate in found) == (packing is roomy)


@pytest.mark.parametrize("family", ["t5", "pegasus"])
def test_in_bfloat16_the_device_returns_only_members(family: str) -> None:
    rng = np.random.default_rng(7)
    model, members = tiny_model(family).to(torch.bfloat16), random_members(rng, 100)
    trie, (ids, mask) = TokenTrie.build(members), queries(rng, [5, 7])
    for row, each in enumerate(search(model, ids, mask, tries=[trie], k=5, packing=ROOMY, max_forwards=10_000)):
        length, one = int(mask[row].sum()), slice(row, row + 1)
        scores = dict(best_members(model, ids[one, :length], mask[one, :length], members, 200))
        assert len(each) == 5
        for candidate in each:
            assert candidate.log_prob == pytest.approx(scores[candidate.token_ids], rel=0.03, abs=0.5)


def test_sizes_that_cannot_work_are_told() -> None:
    with pytest.raises(ValueError, match="rows at least width"):
        DevicePacking(width=8, chain=4, rows=31)
    with pytest.raises(ValueError, match="width must be at most 256"):
        DevicePacking(width=257)


def test_cache_rows_are_as_many_as_there_is_room_for() -> None:
    def rows(inner: int, queries: int) -> int:
        cache = TreeCache([torch.zeros(1, 2 * inner, device="meta")] * 2, [], None)
        return DevicePacking.of(cache, queries).rows

    assert rows(64, 1) == 1 << 15
    assert rows(64, 256) == (2 << 30) // (2 * 128 * 4 * 256)
    assert rows(4096, 256) == 1 << 10


def test_the_forest_on_the_device_answers_as_the_one_on_the_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forest, "_SMALL_NODES", 60)  # so that some indexes stay apart
    rng = np.random.default_rng(8)
    tries = [TokenTrie.build(random_members(rng, count, alphabet=9)) for count in (20, 300, 10, 200)]
    tries[1].remove([next(iter(tries[1]))])
    host = Plan.of([tries]).forest
    assert len(host.segments) == 3
    there = DeviceForest(host, torch.device("cpu"))
    nodes = np.arange(sum(segment.node_count for segment in host.segments))
    places = np.arange(sum(segment.label_count for segment in host.segments))
    for ours, theirs in (
        (there.span(torch.from_numpy(nodes)), host.span(nodes)),
        (there.fan(torch.from_numpy(nodes)), host.fan(nodes)),
        ([there.token(torch.from_numpy(places))], [host.token(places)]),
        ([there.alive(torch.from_numpy(nodes))], [host.alive(nodes)]),
    ):
        for tensor, array in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(tensor.numpy(), array)
    fans = np.sort(host.fan(nodes)[1])
    assert host.widest(3) == fans[-3:].sum()


# no waiting


def started(family: type[TreeDecoder], model: Any, device: str, dtype: torch.dtype = torch.float32) -> DeviceRun:
    """A search of two queries, its encoder states made up."""
    rng = np.random.default_rng(9)
    tries = [TokenTrie.build(random_members(rng, 50)), TokenTrie.build(random_members(rng, 9))]
    tries[0].remove([next(iter(tries[0]))])
    model = model.to(device, dtype)
    decoder = family(model)
    mask = torch.ones(2, 5, dtype=torch.long, device=device)
    states = torch.zeros(2, 5, 16, device=device, dtype=dtype)
    cache = decoder._cache(model, states, mask, torch.zeros(2, 1, 1, 5, device=device, dtype=dtype))
    plan, where = Plan.of([tries, tries[:1]]), torch.device(device)
    return DeviceRun(decoder, cache, plan, 2, 2, Budget(99, None), ROOMY, 0, where)


@pytest.mark.parametrize(("family", "name"), [(BartDecoder, "pegasus"), (BartDecoder, "marian"), (T5Decoder, "t5")])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_step_never_asks_for_a_value(family: type[TreeDecoder], name: str, dtype: torch.dtype) -> None:
    run = started(family, tiny_model(name), "meta", dtype)  # tensors without values: whatever needs one fails
    with torch.inference_mode():
        for _ in range(2):
            run.advance()


class _Waits(TorchDispatchMode):
    """Counts what makes a host wait for its device."""

    names = ("_local_scalar_dense", "nonzero", "masked_select", "is_nonzero", "equal", "_unique", "item")

    def __init__(self) -> None:
        super().__init__()
        self.count = self.calls = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.calls += 1
        self.count += any(name in str(func) for name in self.names)
        return func(*args, **(kwargs or {}))


def test_no_step_waits_for_the_device() -> None:
    run = started(BartDecoder, tiny_model("pegasus"), "cpu")
    with torch.inference_mode(), _Waits() as waits:
        run.finish()
    assert run.forwards >= 4
    assert waits.calls > 100
    assert waits.count == 0
    with _Waits() as waits:
        float(torch.ones(()))
    assert waits.count == 1


needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("name", ["pegasus", "t5"])
def test_on_cuda_a_step_does_not_synchronise(name: str) -> None:
    run = started(T5Decoder if name == "t5" else BartDecoder, tiny_model(name), "cuda")
    with torch.inference_mode():
        run.advance()  # what libraries set up once may wait
        torch.cuda.set_sync_debug_mode("error")
        try:
            for _ in range(3):
                run.advance()
        finally:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["pegasus", "t5", "bart", "umt5"])
def test_on_cuda_replayed_steps_find_what_the_host_finds(name: str, dtype: torch.dtype) -> None:
    rng = np.random.default_rng(10)
    members, (ids, mask) = random_members(rng, 200), queries(rng, [5, 7, 3])
    trie = TokenTrie.build(members)
    model = tiny_model(name)
    wanted = search(model, ids, mask, tries=[trie], k=200, max_forwards=10_000)
    model.to("cuda", dtype)
    found = search(model, ids.cuda(), mask.cuda(), tries=[trie], k=3, packing=ROOMY, max_forwards=10_000)
    for each, all_of_query in zip(found, wanted, strict=True):
        scores = {candidate.token_ids: candidate.log_prob for candidate in all_of_query}
        assert len(each) == 3
        for rank, candidate in enumerate(each):
            if dtype == torch.float32:
                assert candidate.token_ids == all_of_query[rank].token_ids
            assert candidate.log_prob == pytest.approx(scores[candidate.token_ids], abs=0.5, rel=0.03)
