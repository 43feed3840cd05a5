"""The chain by bounded steps against a dense solve of N = (I - Q)^-1, B = N R on random graphs."""

from typing import Any

import numpy as np
import pytest

from mining import chain
from tests.reference.mining import absorbed

pytestmark = pytest.mark.spark

STEPS = 6


def graph(seed: int, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Random moves Q (N, N), repeats on the diagonal, and successes R (N,): every row leaves at least .65 to absorb."""
    rng = np.random.default_rng(seed)
    q = rng.random((n, n)) * (rng.random((n, n)) < 0.6)
    q *= rng.uniform(0.1, 0.35, n)[:, None] / np.maximum(q.sum(axis=1), 1e-9)[:, None]
    return q, (1 - q.sum(axis=1)) * rng.random(n)


def walked(spark: Any, q: np.ndarray, r: np.ndarray, steps: int = STEPS, min_reach: float = 0.0) -> dict[Any, Any]:
    """The table `rewrites` of a graph, by (source, target)."""
    n = len(q)
    texts = [(False, f"t{i}", 1000, 50, 2000, float(r[i]), float(q[i, i])) for i in range(n)]
    nodes = spark.createDataFrame(
        texts, "past boolean, text string, votes long, users long, source_count long, success double, repeat double"
    )
    moves = [
        (False, f"t{i}", f"t{j}", float(q[i, j] / (1 - q[i, i])), 5 + j, 2, 9, True)
        for i in range(n)
        for j in range(n)
        if i != j and q[i, j] > 0
    ]
    edges = spark.createDataFrame(
        moves, "past boolean, source string, target string, q double, users long, days long, count long, alike boolean"
    )

    def keep(frame: Any) -> Any:
        return spark.createDataFrame(frame.collect(), frame.schema)

    reach = chain.reachable(edges, steps, min_reach, keep)
    rows = chain.rewrites(keep(reach), nodes, per_source=100, min_success=-1.0).collect()
    return {(row["source"], row["target"]): row for row in rows}


@pytest.mark.parametrize(("seed", "n"), [(1, 3), (2, 8)])
def test_bounded_steps_agree_with_the_dense_solve(spark: Any, seed: int, n: int) -> None:
    q, r = graph(seed, n)
    exact = absorbed(q, r)
    found = walked(spark, q, r)
    assert found
    for i in range(n):
        for j in range(n):
            row = found.get((f"t{i}", f"t{j}"))
            own = r[i]
            if row is not None:
                assert row["worth"] == pytest.approx(exact[i, j], abs=3e-3)
            elif i != j and exact[i, j] > 1e-3:
                assert r[j] / (1 - q[j, j]) < own + 1e-9, "only a target no better than the source may be missing"


def test_more_steps_and_thinner_paths_only_add_reach(spark: Any) -> None:
    q, r = graph(3, 6)
    few, many = walked(spark, q, r, steps=2), walked(spark, q, r, steps=6)
    thick = walked(spark, q, r, steps=6, min_reach=0.05)
    for key, row in few.items():
        assert row["reach"] <= many[key]["reach"] + 1e-6
    for key, row in thick.items():
        assert row["reach"] <= many[key]["reach"] + 1e-6


def test_the_evidence_of_a_path_is_that_of_its_weakest_move(spark: Any) -> None:
    q = np.zeros((3, 3))
    q[0, 1], q[1, 2] = 0.5, 0.6
    found = walked(spark, q, np.array([0.1, 0.2, 0.9]))
    assert found[("t0", "t2")]["users"] == min(5 + 1, 5 + 2)
    assert found[("t0", "t2")]["worth"] == pytest.approx(0.5 * 0.6 * 0.9, abs=1e-5)


def test_a_move_needs_enough_users_on_enough_days(spark: Any) -> None:
    texts = spark.createDataFrame(
        [(False, f"t{i}", 10, 5, 20, 0.5, 0.0) for i in range(4)],
        "past boolean, text string, votes long, users long, source_count long, success double, repeat double",
    )
    # users and days of the same pair come in two parts
    parts = [("t0", "t1", 1, 0b01), ("t0", "t1", 1, 0b10), ("t0", "t2", 2, 0b01), ("t0", "t2", 1, 0b01)]
    parts += [("t0", "t3", 1, 0b11)]
    moves = spark.createDataFrame(
        [(False, s, t, 10**6, users, users, True, days) for s, t, users, days in parts],
        "past boolean, source string, target string, weight long, count long, users long, alike boolean, days_0 long",
    )
    found = {row["target"]: row for row in chain.edges(moves, texts, min_users=2, min_days=2).collect()}
    assert set(found) == {"t1"}
    assert (found["t1"]["users"], found["t1"]["days"], found["t1"]["count"]) == (2, 2, 2)
    assert {row["target"] for row in chain.edges(moves, texts, 2, 1).collect()} == {"t1", "t2"}


def test_the_text_said_for_a_reading_is_the_one_that_worked_for_most_users(spark: Any) -> None:
    state = "\u241f{}"
    members = spark.createDataFrame(
        [(False, state, "play jazz", 3), (False, state, "jazz", 9), (False, "\u241fother", "jazz", 2)],
        "past boolean, state string, text string, n long",
    )
    texts = spark.createDataFrame(
        [(False, "play jazz", 5, 9), (False, "jazz", 2, 90)], "past boolean, text string, happy long, turns long"
    )
    surfaces = chain.surfaces(members, texts)
    assert {(r["state"], r["text"], r["surface"]) for r in surfaces.collect()} == {
        (state, "play jazz", "play jazz"),
        (state, "jazz", "play jazz"),
    }
    blank = dict.fromkeys(chain.REWRITES[2:], 0.5) | {"evidence_id": "", "rule": "similar"}
    rewrites = [("play chess", state), (state, "stop"), ("play jazz", state), ("a", "\u241funknown")]
    frame = spark.createDataFrame([{"past": False, "source": s, "target": t, **blank} for s, t in rewrites])
    found = {(row["source"], row["target"]) for row in chain.spoken(frame, surfaces).collect()}
    assert found == {("play chess", "play jazz"), ("play jazz", "stop"), ("jazz", "stop")}
