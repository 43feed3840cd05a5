"""`reprise select`: the few logged utterances worth adding to the NLU's training set, and why."""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from jobs.threads import default_threads

if TYPE_CHECKING:
    from selection.influence import Influence, Misreading
    from selection.selecting import Candidate, Options, Pick
    from selection.strategies import Scene


@dataclass(frozen=True)
class Selection:
    """What was picked and what it was picked from."""

    candidates: "list[Candidate]"
    picks: "list[Pick]"
    misreadings: "list[Misreading]"
    influence: "Influence | None"
    dropped: dict[str, int]
    over_tolerance: int = 0


def select(
    mined: Annotated[Path, typer.Argument(help="Run directory of `reprise mine`.")],
    model: Annotated[Path, typer.Option(help="NLU bundle in force.")],
    held_out: Annotated[Path, typer.Option(help="Labelled rows that the model was not trained on.")],
    out: Annotated[Path, typer.Option(help="JSON lines to write: the picked rows, best first.")],
    budget: Annotated[
        float, typer.Option(help="Below 1 a share of the training rows; from 1 on a whole number of rows.")
    ] = 0.005,
    strategy: Annotated[str, typer.Option(help="How to score; see docs/selection.md.")] = "integrated gradients",
    labels: Annotated[str, typer.Option(help="Label of a pick: logged (the satisfied turns') or model.")] = "logged",
    only: Annotated[str | None, typer.Option(help="Boolean column; only held-out rows where it is true.")] = None,
    text_column: Annotated[str | None, typer.Option(help="Column of the held-out rows' text.")] = None,
    asr_floor: Annotated[float, typer.Option(min=0, max=1, help="Least mean recogniser confidence.")] = 0.6,
    defect_ceiling: Annotated[float, typer.Option(min=0, max=1, help="A turn below it is satisfied.")] = 0.2,
    min_users: Annotated[int, typer.Option(min=1, help="Distinct satisfied users.")] = 2,
    all_texts: Annotated[
        bool, typer.Option("--all-texts", help="Not only second turns of successful reformulations.")
    ] = False,
    per_intent: Annotated[float, typer.Option(help="Largest share of the budget for one intent; 1 is no quota.")] = 0.1,
    per_domain: Annotated[float, typer.Option(help="Largest share of the budget for one domain.")] = 0.3,
    near_duplicate: Annotated[
        float, typer.Option(help="Word-set similarity from which two picks are one; above 1 never.")
    ] = 0.8,
    length_exponent: Annotated[float, typer.Option(help="0 favours long texts; 1 is the mean over words.")] = 0.5,
    decay: Annotated[float, typer.Option(min=0, max=1, help="Worth of a word after it was picked once.")] = 0.5,
    penalty: Annotated[
        float, typer.Option(min=0, help="How much a word counts against a class that it wrongly led to; 0 is off.")
    ] = 1.0,
    surprise: Annotated[
        float, typer.Option(min=0, help="Power of 1 - P(label), so that what is known counts little; 0 is off.")
    ] = 1.0,
    slots: Annotated[bool, typer.Option("--slots", help="Also explain slots that were missed.")] = False,
    seed: Annotated[int, typer.Option(help="Of ties and of the random strategies.")] = 0,
    html: Annotated[Path | None, typer.Option(help="Page: words behind the mistakes, what was picked and why.")] = None,
    threads: Annotated[int, typer.Option(min=1, help="Threads for the model.")] = default_threads(),
) -> None:
    """Pick logged utterances that repair the model's mistakes on the held-out rows."""
    import torch

    from jobs.nlu_candidates import Floors, from_mined, relabel
    from jobs.nlu_rows import read_rows
    from jobs.pretrained import load_model
    from selection.selecting import Options
    from selection.strategies import Scene

    if labels not in ("logged", "model"):
        raise ValueError(f"got --labels {labels}; expected logged or model; a typing slip?")
    rows_to_pick(budget, 1)
    torch.set_num_threads(threads)
    nlu = load_model(model)
    counts, rows = training_facts(model)
    labelled = read_rows(held_out, text_column, only=only)
    scene = Scene(nlu, labelled, counts, seed, length_exponent, decay, penalty, surprise, slots=slots)
    found = from_mined(mined, nlu.labels, Floors(asr_floor, defect_ceiling, min_users, not all_texts))
    candidates = relabel(found.candidates, nlu) if labels == "model" else found.candidates
    number = rows_to_pick(budget, rows)
    options = Options(per_intent, per_domain, near_duplicate, seed)
    selection = run(scene, candidates, strategy, number, options, dict(found.dropped))
    write(selection, out)
    if html is not None:
        html.write_text(page(selection, strategy), encoding="utf-8")
    show(selection, number, out)


def rows_to_pick(budget: float, training_rows: int) -> int:
    """Rows that a budget allows: below 1 a share of the training rows, at least one; from 1 on their number.

    Raises:
        ValueError: it is neither.
    """
    if budget <= 0 or not math.isfinite(budget) or (budget > 1 and budget != int(budget)):
        raise ValueError(
            f"no budget; got --budget {budget:g}; expected a share of the training rows above 0 and below 1, or a "
            "whole number of rows; per cent?"
        )
    return max(1, round(budget * training_rows)) if budget < 1 else int(budget)


def training_facts(bundle: Path) -> tuple[dict[str, int], int]:
    """Rows of each intent that a bundle's model was trained on, and of all."""
    from rewrite.bundle import verify

    manifest = verify(bundle)
    counts: dict[str, int] = manifest.get("intent_counts", {})
    return counts, int(manifest["rows"])


def run(
    scene: "Scene",
    candidates: "list[Candidate]",
    strategy: str,
    budget: int,
    options: "Options",
    dropped: dict[str, int] | None = None,
) -> Selection:
    """Score and pick.

    Raises:
        ValueError: an unknown strategy, or no candidates.
    """
    from selection import strategies
    from selection.influence import Influence
    from selection.selecting import pick

    if strategy not in strategies.STRATEGIES:
        raise ValueError(f"unknown strategy {strategy!r}; expected one of {', '.join(strategies.STRATEGIES)}")
    if not candidates:
        why = ", ".join(f"{count} {reason}" for reason, count in (dropped or {}).items()) or "no satisfied turn at all"
        raise ValueError(f"nothing to select from: got no candidates ({why}); expected some; are the floors too high?")
    if strategy != "integrated gradients":
        scores = strategies.STRATEGIES[strategy](scene, candidates)
        return Selection(candidates, pick(candidates, scores, budget, options), [], None, dropped or {})
    misreadings, over = strategies.explain_mistakes(scene)
    influence = Influence.of(misreadings, scene.fewest_mistakes)
    scores = strategies.importance_of(scene, candidates, influence)
    return Selection(candidates, pick(candidates, scores, budget, options), misreadings, influence, dropped or {}, over)


def write(selection: Selection, out: Path) -> None:
    """The picks as JSON lines, readable by `reprise retrain` and by `reprise nlu train`."""
    lines = [json.dumps(row, ensure_ascii=False, sort_keys=True) for row in rows_of(selection)]
    part = out.with_name(f".{out.name}.part")
    part.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    part.replace(out)


def rows_of(selection: Selection) -> list[dict[str, Any]]:
    """Each pick with its label, rank, score, evidence and the words that made it important."""
    from selection.strategies import classes_of

    tables = selection.influence.by_class() if selection.influence else {}
    rows = []
    for pick in selection.picks:
        candidate = selection.candidates[pick.row]
        said = candidate.utterance
        rows.append(
            {
                "text": said.text,
                "domain": said.domain,
                "intent": said.intent,
                "slots": [{"name": name, "value": value} for name, value in said.slots],
                "rank": pick.rank,
                "score": pick.score,
                "users": candidate.users,
                "count": candidate.count,
                "evidence": candidate.evidence,
                "words": _why(said.text, [tables[c] for c in classes_of(said) if c in tables]),
            }
        )
    return rows


def _why(text: str, tables: list[dict[str, float]]) -> list[list[Any]]:
    from selection.examples import words

    sums = {word: sum(table.get(word, 0.0) for table in tables) for word in words(text)}
    weights = {word: weight for word, weight in sums.items() if weight > 0}
    return [[word, round(weight, 4)] for word, weight in sorted(weights.items(), key=lambda i: (-i[1], i[0]))[:5]]


def page(selection: Selection, strategy: str) -> str:
    """Everything there is to see of a selection, as one HTML page."""
    from jobs import nlu_html

    rows = [
        [
            str(row["rank"]),
            str(row["text"]),
            str(row["intent"]),
            f"{row['score']:.3f}",
            ", ".join(f"{word} {weight:.2f}" for word, weight in row["words"]),
            str(row["evidence"]),
        ]
        for row in rows_of(selection)
    ]
    header = ("rank", "text", "label", "score", "words that were missing", "evidence")
    sections = [f"<h2>What was picked, by {strategy}</h2>" + nlu_html.table(header, rows, numbers=(0, 3))]
    if selection.influence is not None:
        sections.append(nlu_html.influence_section(selection.influence))
        sections.append(nlu_html.mistakes_section(selection.misreadings))
    return nlu_html.page("Utterances worth retraining on", *sections)


def show(selection: Selection, budget: int, out: Path) -> None:
    """Say what happened, the first picks with it."""
    for reason, count in sorted(selection.dropped.items()):
        typer.echo(f"{count} texts left out: {reason}")
    if selection.influence is not None:
        typer.echo(
            f"{len(selection.misreadings)} mistakes explained, {selection.over_tolerance} left out for their "
            f"completeness error, {len(selection.influence.tables)} confusions"
        )
    for row in rows_of(selection)[:10]:
        typer.echo(f"{row['rank']:4d}  {row['intent']:28s} {row['text']}")
    short = "" if len(selection.picks) == budget else f" ({budget} asked for: quotas or candidates ran out)"
    typer.echo(f"{len(selection.picks)} of {len(selection.candidates)} candidates{short} written to {out}")
