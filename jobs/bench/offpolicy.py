"""`reprise bench offpolicy`: the estimators on bandits made of the demo world, where each action's outcome is known."""

from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from jobs.counterfactual.trial import Bandit

DEMO = Path(__file__).parents[1] / "demo"
CHOICES = 3
"""Nearest texts that a policy chooses from, besides leaving the turn alone."""


def offpolicy(
    world: Annotated[Path, typer.Option(help="Folder with logs.parquet, truth.parquet and oracle.parquet.")] = DEMO,
    users: Annotated[int, typer.Option(min=10, help="Users in one log.")] = 100,
    logs: Annotated[int, typer.Option(min=20, help="Logs to draw.")] = 500,
    turns: Annotated[int, typer.Option(min=100, help="Turns that users are drawn from.")] = 6_000,
    seed: Annotated[int, typer.Option(help="Seed of everything random.")] = 0,
    json: Annotated[Path | None, typer.Option(help="Write the figures here.")] = None,
) -> None:
    """Bias, error and coverage of every estimator, under a right and a wrong reward model."""
    import numpy as np

    from jobs.counterfactual.trial import trial

    results: dict[str, Any] = {"users": users, "logs": logs, "seed": seed, "cases": {}}
    for case in ("reward model fitted on other users", "reward model wrong"):
        rng = np.random.default_rng(seed)
        bandit = make(world, turns, rng, right_model="wrong" not in case)
        found = trial(bandit, users, logs, rng)
        results["cases"][case] = {"truth": bandit.truth, "estimators": [asdict(v) for v in found]}
        typer.echo(f"{case}; true success {bandit.truth:.4f}; {logs} logs of {users} users")
        typer.echo(f"{'':14s} {'bias':>8s} {'±':>7s} {'rmse':>7s} {'coverage':>8s} {'width':>7s}")
        for v in found:
            typer.echo(
                f"{v.name:14s} {v.bias:+8.4f} {v.bias_error:7.4f} {v.rmse:7.4f} {v.coverage:8.1%} {v.width:7.4f}"
            )
    if json is not None:
        json.write_text(dumps(results, indent=1) + "\n")


def make(world: Path, turns: int, rng: Any, right_model: bool) -> "Bandit":
    """A bandit whose turns are a log's, actions leaving the turn alone or one of its nearest texts, and rewards what
    the assistant makes of each for what the user wanted.

    The logging policy tries everything, the nearest most; the target takes the nearest from a likeness on.
    """
    import numpy as np

    from jobs.counterfactual.trial import Bandit

    queries, user_row, reward, ratio = _world(world, turns)
    logging = _softmax(np.hstack([np.full((len(queries), 1), 4.5), ratio / 20.0])) * 0.92 + 0.08 / (CHOICES + 1)
    target = np.zeros_like(logging)
    target[np.arange(len(queries)), np.where((ratio[:, 0] > 80) & (ratio[:, 0] < 100), 1, 0)] = 1.0
    target = 0.9 * target + 0.1 * logging
    if right_model:
        expected = _fitted(reward, np.hstack([np.full((len(queries), 1), 100.0), ratio]), ratio, user_row)
    else:
        expected = np.full_like(reward, 0.95)
    return Bandit(reward, logging, target, expected, user_row)


def _softmax(scores: Any) -> Any:
    import numpy as np

    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


def _world(world: Path, turns: int) -> tuple[list[str], Any, Any, Any]:
    """Queries, users' rows (N,), reward of each action (N, 1 + CHOICES) and likeness of the choices (N, CHOICES)."""
    import numpy as np
    import pyarrow.parquet as pq
    from rapidfuzz import fuzz, process

    from jobs.truth import read_oracle, read_truth, satisfied
    from rewrite.text import normalise

    log = pq.read_table(world / "logs.parquet", columns=["interaction_id", "user_id", "utterance"])
    log = log.sort_by([("user_id", "ascending"), ("interaction_id", "ascending")]).slice(0, turns)
    queries = [normalise(u) for u in log["utterance"].to_pylist()]
    truth = read_truth(world / "truth.parquet", log["interaction_id"].to_pylist())
    oracle = read_oracle(world / "oracle.parquet")
    catalogue = sorted({want.intended for want in truth.wants})
    near: dict[str, list[tuple[str, float]]] = {}
    for query in set(queries):
        found = process.extract(query, catalogue, scorer=fuzz.ratio, limit=CHOICES)
        near[query] = [(text, score) for text, score, _ in found]
    users = {user: row for row, user in enumerate(sorted(set(log["user_id"].to_pylist())))}
    user_row = np.array([users[user] for user in log["user_id"].to_pylist()])
    reward = np.zeros((len(queries), 1 + CHOICES))
    for row, (query, want) in enumerate(zip(queries, truth.wants, strict=True)):
        reward[row, 0] = not truth.defect[row]
        reward[row, 1:] = [satisfied(text, oracle.get(text), want) for text, _ in near[query]]
    return queries, user_row, reward, np.array([[score for _, score in near[query]] for query in queries])


def _fitted(reward: Any, likeness: Any, ratio: Any, user_row: Any) -> Any:
    """Success by action, fitted on the other half of the users from likenesses alone."""
    import numpy as np

    from jobs.counterfactual.rewards import cross_fitted

    count, actions = reward.shape
    columns = [np.column_stack([np.full(count, a), likeness[:, a], ratio[:, 0]]) for a in range(actions)]
    found = np.zeros_like(reward)
    for a in range(actions):
        found[:, a] = cross_fitted(columns[a], reward[:, a], user_row, [columns[a]], folds=2)[0]
    return found
