"""The whole loop on voice logs with known truth: `reprise bench quality --voicelogs DIR`."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from jobs.learn import LearnConfig


def measure_voicelogs(folder: Path, work: Path | None, min_users: int, learning: "LearnConfig") -> dict[str, Any]:
    """Mine history.parquet, learn, rewrite future.parquet, and score it, ours first, then every reference.

    Args:
        folder: holds history.parquet, future.parquet, future_truth.parquet and oracle.parquet.
        min_users: the global space's floor.
        work: where run, bundle and decisions stay; None throws them away.

    Raises:
        FileNotFoundError: one of the four files is missing.
    """
    from jobs import evaluate, learn, mine, rewrite
    from jobs.bench.personal import personal_precision
    from jobs.evaluation import as_json
    from jobs.threads import default_workers
    from mining.config import MineConfig

    names = ("history", "future", "future_truth", "oracle")
    history, future, truth, oracle = (folder / f"{name}.parquet" for name in names)
    for path in (history, future, truth, oracle):
        if not path.is_file():
            raise FileNotFoundError(f"no {path.name} in {folder}; expected {', '.join(n + '.parquet' for n in names)}")
    with ExitStack() as stack:
        out = work if work is not None else Path(stack.enter_context(TemporaryDirectory()))
        mine.run([history], out / "mined", MineConfig(min_users=min_users))
        learn.run(out / "mined", out / "bundle", learning)
        rewrite.run(future, out / "bundle", out / "decisions.parquet", workers=default_workers())
        evaluation = evaluate.run(
            evaluate.EvaluateConfig(
                turns=future, truth=truth, decisions=out / "decisions.parquet", oracle=oracle, mined=out / "mined",
                seed=learning.seed,
            )
        )  # fmt: skip
        evaluate.print_table(evaluation)
        personal = personal_precision(future, truth, oracle, out / "mined", out / "decisions.parquet")
        show_personal(personal)
        return {"min_users": min_users, "personal": personal, **as_json(evaluation)}


def show_personal(found: dict[str, Any]) -> None:
    """Say what the personal path gains over the nearest own text."""
    if found["relative_gain"] is not None:
        typer.echo(
            "personal path: precision {precision:.3f} over {rewrites} rewrites; the nearest own text "
            "{precision_of_nearest_own:.3f} over as many ({relative_gain:+.1%})".format(**found)
        )
