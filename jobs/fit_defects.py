"""Fit the defect model on labelled turns: `python -m jobs.fit_defects MINED LABELS --out MODEL`."""

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.faults import run_alone


def fit_defects(
    mined: Annotated[Path, typer.Argument(help="A finished run of `reprise mine`, whose turns have signals.")],
    labels: Annotated[Path, typer.Argument(help="Parquet: interaction_id, defect (boolean, or a share in [0, 1]).")],
    out: Annotated[Path, typer.Option(help="JSON file to write the model to; for `reprise mine --defects`.")],
) -> None:
    """Fit P(level | class) of every signal on turns whose defects are known, in place of EM over unlabelled ones."""
    import numpy as np

    from mining.defects import fit_labelled, posterior

    levels, defects = labelled_levels(mined, labels)
    model = fit_labelled(levels, defects)
    out.write_text(model.to_json() + "\n", encoding="utf-8")
    error = float(np.mean((posterior(model, levels) - defects) ** 2))
    typer.echo(f"{len(levels)} labelled turns, defect rate {model.defect_rate:.3f}, Brier score {error:.4f}, in {out}")


def labelled_levels(mined: Path, labels: Path) -> tuple[Any, Any]:
    """Signal levels (N, signals) and defects (N,) of the labelled turns of a run.

    Raises:
        ValueError: a file or column is missing, or no labelled turn is among the run's.
    """
    import numpy as np
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    from jobs.rundir import manifest_of
    from mining.signals import LEVELS

    manifest_of(mined)
    if not labels.is_file():
        raise ValueError(f"{labels}: no such file; expected parquet with interaction_id and defect")
    known = pq.read_table(labels)
    missing = {"interaction_id", "defect"} - set(known.column_names)
    if missing:
        raise ValueError(f"{labels}: missing {sorted(missing)}; got {known.column_names}")
    known = known.select(["interaction_id", "defect"]).filter(pc.is_valid(known["defect"]))
    turns = pq.read_table(mined / "turns", columns=["interaction_id", *LEVELS])
    joined = turns.join(known, "interaction_id", join_type="inner").sort_by("interaction_id")
    if not len(joined):
        raise ValueError(f"{labels}: none of its {len(known)} turns is in {mined}; were they labelled in another log?")
    levels = np.stack([joined[name].to_numpy() for name in LEVELS], axis=1).astype(float)
    return levels, joined["defect"].cast("double").to_numpy()


if __name__ == "__main__":
    run_alone(fit_defects)
