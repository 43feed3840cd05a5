"""Open paths: which go first, whatever rounding does and whatever other queries open."""

import numpy as np

from rewrite.frontier import NODE, Frontier, Paths


def paths(query: int, bounds: list[float], first_node: int = 0) -> Paths:
    item = np.zeros((len(bounds), 4), np.int64)
    item[:, NODE] = first_node + np.arange(len(bounds))
    return Paths(np.full(len(bounds), query), np.array(bounds), item, np.zeros(len(bounds), np.uint64))


def taken(frontier: Frontier, width: list[int]) -> list[list[int]]:
    found, _ = frontier.take(np.array(width), np.full(len(width), -np.inf))
    return [found.item[found.query == query, NODE].tolist() for query in range(len(width))]


def test_of_equally_promising_paths_the_first_opened_goes_first() -> None:
    frontier = Frontier(2, 0.5)
    frontier.put(paths(0, [-1 - 1e-7, -1.0, -1 + 1e-7, -0.5]))
    frontier.put(paths(1, [-1.0] * 40))
    frontier.put(paths(0, [-1 + 2e-7, -1.0], 4))
    assert taken(frontier, [3, 2]) == [[3, 0, 1], [0, 1]]
    assert taken(frontier, [9, 1]) == [[2, 4, 5], [2]]


def test_a_query_goes_on_in_its_own_order_when_another_needs_more_room() -> None:
    alone, beside = Frontier(2, 0.5), Frontier(2, 0.5)
    rng = np.random.default_rng(0)
    for step in range(8):
        mine = np.round(rng.uniform(-3, 0, 30), 1).tolist()
        for frontier in (alone, beside):
            frontier.put(paths(0, mine, 30 * step))
        beside.put(paths(1, rng.uniform(-3, 0, 200).tolist()))
        assert taken(alone, [7, 1])[0] == taken(beside, [7, 50])[0]
