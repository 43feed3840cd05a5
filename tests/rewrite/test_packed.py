"""Attention in groups: filled up or one by one, it is the same."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rewrite.packed import Grouping, Packed

HEADS, INNER = 2, 8
SIZES = st.lists(st.tuples(st.integers(1, 5), st.integers(1, 6)), min_size=1, max_size=5)
CPU = torch.device("cpu")


def grouped(sizes: list[tuple[int, int]], even: bool) -> Grouping:
    tokens, rows = np.array(sizes).T
    return Grouping(tokens, rows, even)


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 9))
def test_one_by_one_equals_filled_up(sizes: list[tuple[int, int]], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    total = sum(tokens for tokens, _ in sizes)
    query = torch.randn(total, INNER, generator=generator)
    kept = torch.randn(sum(rows for _, rows in sizes), 2 * INNER, generator=generator)
    hidden = [torch.rand(tokens, rows, generator=generator) < 0.5 for tokens, rows in sizes]
    encoder = torch.randn(2, len(sizes), HEADS, 3, INNER // HEADS, generator=generator)
    found = []
    for even in (False, True):
        grouping = grouped(sizes, even)
        attend = torch.zeros(grouping.cell_count, dtype=torch.bool)
        kv, positions = torch.zeros(grouping.row_count, 2 * INNER), torch.zeros(grouping.row_count, dtype=torch.long)
        first = 0
        for group, (tokens, rows) in enumerate(sizes):
            low, width, row = grouping.first_cell[group], grouping.width[group], grouping.first_row[group]
            cells = torch.zeros(tokens, width, dtype=torch.bool)
            cells[:, :rows] = ~hidden[group]
            cells[:, 0] = True
            attend[low : low + tokens * width] = cells.flatten()
            kv[row : row + rows] = kept[first : first + rows]
            positions[row : row + rows] = torch.arange(rows)
            first += rows
        groups = grouping.groups(CPU)
        packed = Packed(
            torch.zeros(total, dtype=torch.long), torch.full((total,), 9), torch.arange(grouping.row_count), positions,
            attend, groups, torch.zeros(1, 1, dtype=torch.long), torch.zeros(total, dtype=torch.long), 10,
        )  # fmt: skip
        own = groups.attend_own(query, kv, packed.hard_bias(torch.float32), HEADS, 0.5)
        other = groups.attend_encoder(query, encoder[0], encoder[1], None, 0.5)
        seen = packed.distances()[attend]
        found.append((own, other, sorted(seen.tolist())))
    torch.testing.assert_close(found[0][0], found[1][0])
    torch.testing.assert_close(found[0][1], found[1][1])
    assert found[0][2] == found[1][2]


def test_places_count_from_each_groups_start() -> None:
    assert grouped([(2, 1), (3, 4)], even=False).places().tolist() == [0, 1, 0, 1, 2]


@pytest.mark.parametrize("even", [False, True])
def test_a_group_without_tokens_takes_none(even: bool) -> None:
    grouping = Grouping(np.array([2, 0, 1]), np.array([3, 0, 2]), even)
    groups = grouping.groups(CPU)
    query, kv = torch.randn(3, INNER), torch.randn(grouping.row_count, 2 * INNER)
    bias = torch.zeros(1, grouping.cell_count)
    assert groups.attend_own(query, kv, bias, HEADS, 1.0).shape == (3, INNER)
