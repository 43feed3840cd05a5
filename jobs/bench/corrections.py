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
    model is scored; that it was not trained on this very file is all that is checked. The shipped one has seen
    simulated users only.
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

    from jobs.correction_pairs import by_rules, read_pairs, scores
    from jobs.mine import read_model
    from jobs.rundir import sha256
    from mining import models
    from mining.likeness_model import SHIPPED

    read, labels = read_pairs(pairs)
    pairs_id, shipped = sha256(pairs), read_model(SHIPPED, models.read)
    if model_path is None:
        guess, how = _nested(read, labels, folds), f"{folds} blocks of time, each held out in turn"
    else:
        model = read_model(model_path, models.read)
        how, guess = f"{model_path.name}, {_apart(model, model_path, pairs_id)}", _guess(model, read)
    not_executed = np.array([int(pair.executed < 0.5) for pair in read])
    guesses = {"reprise": guess, "rules": by_rules(read), "not executed": not_executed}
    if shipped.trained_on != pairs_id:
        guesses["shipped"] = _guess(shipped, read)
    systems = {name: scores(labels, said) for name, said in guesses.items()}
    ours = systems["reprise"]
    return {"pairs": len(labels), "how": how, "f1": ours.get("f1"), "macro_f1": ours["macro_f1"], "systems": systems}


def _nested(pairs: Any, labels: Any, folds: int) -> Any:
    from jobs.correction_pairs import INNER, check_enough, nested_guess
    from mining import kinds

    check_enough(labels, folds, inner=INNER)
    return nested_guess(kinds.matrix(pairs), labels, folds)


def _apart(model: Any, path: Path, pairs_id: str) -> str:
    """What is known of the pairs that the model was trained on: no more than the fingerprint of their file."""
    if model.trained_on == pairs_id:
        raise ValueError(f"{path} was trained on these very pairs; expected other pairs, or no --model")
    return "which was trained on another file" if model.trained_on else "which does not say what it was trained on"


def _guess(model: Any, pairs: Any) -> Any:
    from mining import kinds
    from mining.likeness import of_pairs

    rows = kinds.matrix(pairs) if isinstance(model, kinds.KindModel) else of_pairs(pairs).columns()
    return model.decide(model.probabilities(rows))
