"""`reprise bench corrections`: does mining tell a correction from a new request?"""

from pathlib import Path
from typing import Annotated, Any

import typer

from jobs.pair_rows import HELP


def corrections(
    pairs: Annotated[Path, typer.Argument(help=HELP)],
    json: Annotated[Path | None, typer.Option(help="Where to write the figures.")] = None,
    model: Annotated[
        Path | None, typer.Option(help="Score this model, from `python -m jobs.fit_kinds`, instead of training here.")
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Blocks of time, each held out in turn from training.")] = 10,
) -> None:
    """Score the model of follow-ups on labelled pairs, beside the one that ships, the rules, and "not executed" alone.

    Blocks of time are held out in turn: model and cuts of a block come from the other blocks. With `--model`, that
    model is scored, which must have been trained on other pairs. The shipped one has seen simulated users only.
    """
    report = measure(pairs, folds, model)
    for name, row in report["systems"].items():
        typer.echo(f"{name:14s}" + "".join(f"  {key} {value:.3f}" for key, value in row.items()))
    typer.echo(f"{report['pairs']} pairs; {report['how']}")
    if json is not None:
        import json as writer

        json.write_text(writer.dumps(report, indent=1) + "\n")


def measure(pairs: Path, folds: int = 10, model_path: Path | None = None) -> dict[str, Any]:
    """f1 (None where there is no correction to find or said to be one) and macro_f1 of ours, and a row per system.

    Raises:
        ValueError: the model was trained on these very pairs, or there are too few to train one on.
    """
    import numpy as np

    from jobs.correction_pairs import INNER, by_rules, check_enough, nested_guess, read_pairs, scores
    from jobs.rundir import sha256
    from mining import kinds, models
    from mining.likeness_model import SHIPPED

    read, labels = read_pairs(pairs)
    if model_path is not None:
        guess, how = _guess(model_path, read, sha256(pairs)), f"{model_path.name}, trained on other pairs"
    else:
        check_enough(labels, folds, inner=INNER)
        guess, how = nested_guess(kinds.matrix(read), labels, folds), f"{folds} blocks of time, each held out in turn"
    not_executed = np.array([int(pair.executed < 0.5) for pair in read])
    guesses = {"reprise": guess, "rules": by_rules(read), "not executed": not_executed}
    if models.read(SHIPPED.read_text(encoding="utf-8")).trained_on != sha256(pairs):
        guesses["shipped"] = _guess(SHIPPED, read, sha256(pairs))
    systems = {name: scores(labels, said) for name, said in guesses.items()}
    ours = systems["reprise"]
    return {"pairs": len(labels), "how": how, "f1": ours.get("f1"), "macro_f1": ours["macro_f1"], "systems": systems}


def _guess(path: Path, pairs: Any, pairs_id: str) -> Any:
    """Classes by a model that has not learned from these pairs."""
    from mining import kinds, models
    from mining.likeness import of_pairs

    model = models.read(path.read_text(encoding="utf-8"))
    if model.trained_on == pairs_id:
        raise ValueError(f"{path} was trained on these very pairs; expected other pairs, or no --model")
    if isinstance(model, kinds.KindModel):
        return model.decide(model.probabilities(kinds.matrix(pairs)))
    return model.decide(model.probabilities(of_pairs(pairs).columns()))
