"""`reprise explain`: one turn opened up: the candidates with their scores, the way through the trie, the evidence."""

from math import isinf, isnan, nan
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rewrite import Rewriter
    from rewrite.decision import Candidate, Decision
    from rewrite.guards import Barrier

SHOWN = 8
"""Candidates printed, best first."""

FEATURES = {"channel": "log P(query|text)", "forward": "log P(text|query)", "ratio": "similarity"}
"""Features printed where the bundle computes them, with their column titles."""


def explain(
    text: Annotated[str, typer.Argument(help="The request, as it was heard.")],
    bundle: Annotated[Path, typer.Option(help="Bundle to decide with.")],
    user: Annotated[str | None, typer.Option(help="Whose request: adds their own texts.")] = None,
    turn: Annotated[
        list[str] | None, typer.Option(help="An earlier text of the session; repeat it, oldest first.")
    ] = None,
    asr_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="The recogniser's; left out, the turn is judged without.")
    ] = None,
) -> None:
    """Show the candidates for a text with their scores and the evidence behind each, and, where the bundle has a
    generator, the path through its trie.
    """
    from rewrite import Rewriter
    from rewrite.text import normalise
    from rewrite.turn import Turn

    rewriter = Rewriter.load(bundle)
    query = normalise(text)
    asked = Turn(text, user_id=user, turns=tuple(turn or ()), asr_confidence=asr_confidence)
    decision = rewriter.rewrite_turn(asked, explain=True)
    typer.echo(f"query      {query!r}")
    typer.echo(f"decision   {in_words(decision)}")
    if not rewriter.generates:
        typer.echo(
            "paths      none: this bundle has no generator, and so no trie; `reprise learn --model base` makes one"
        )
    _print_candidates(decision.candidates[:SHOWN])
    for candidate in decision.candidates[:SHOWN]:
        _print_grounds(rewriter, query, candidate)


def in_words(decision: "Decision") -> str:
    """The decision as one line, with the reason spelled out."""
    from rewrite.decision import REASONS

    fails = f"chance that it fails as it is: {decision.p_fail:.2f}"
    why = REASONS.get(decision.reason, decision.reason)
    held = next((c for c in decision.candidates if c.barrier.reason), None)
    if decision.reason == "guarded" and held is not None:
        why = f"{why}, {held.text!r}: {in_need(held.barrier)}"
    if decision.reason in ("empty", "too_long"):
        return f"leave it alone: {why}"
    if decision.text is None:
        return f"leave it alone: {why} ({fails})"
    sure = f"chance that the rewrite is right: {decision.confidence:.2f}"
    return f"rewrite to {decision.text!r} from the {decision.source} texts: {why} ({fails}; {sure})"


def _print_candidates(candidates: "tuple[Candidate, ...]") -> None:
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    if not candidates:
        typer.echo("candidates none")
        return
    # a bundle without a generator has no log-probabilities to show
    named = {name: title for name, title in FEATURES.items() if not isnan(candidates[0].features.get(name, nan))}
    table = Table("candidate", "space", "found by", "right", "gain", *named.values(), box=SIMPLE, padding=(0, 1, 0, 0))
    for c in candidates:
        scores = (f"{c.features[name]:.2f}" for name in named)
        table.add_row(c.text, c.space, ", ".join(c.sources), f"{c.p_right:.2f}", f"{c.gain:+.2f}", *scores)
    Console(width=max(Console().width, 130)).print(table, markup=False)


def _print_grounds(rewriter: "Rewriter", query: str, candidate: "Candidate") -> None:
    """Trie path and evidence of one candidate."""
    from rewrite.ties import tied_in_words

    typer.echo(candidate.text)
    if path := rewriter.path(candidate.text):
        # every bar is a place where the trie offers another continuation
        typer.echo(f"  path      {'│'.join(path)}")
    evidence = rewriter.evidence(query, candidate.text)
    if session := tied_in_words(candidate.features):
        typer.echo(f"  session   {session}")
    if candidate.barrier.reason:
        typer.echo(f"  guard     {in_need(candidate.barrier)}")
    facts = ", ".join(f"{key.replace('_', ' ')} {_shown(value)}" for key, value in (evidence or {}).items())
    typer.echo(f"  evidence  {facts or 'one of the user’s own texts'}")


def in_need(barrier: "Barrier") -> str:
    """What a guard asks for, as a line."""
    if isinf(barrier.p_right):
        return (
            "sensitive intent (a call, a purchase, a deletion…): never, unless the NLU read that intent already, or "
            "`reprise learn --allow-intent` names it"
        )
    if barrier.p_right:
        return f"{barrier.reason} changed: must be right with a chance of at least {barrier.p_right:.2f}"
    return f"{barrier.reason}: another intent, needs {barrier.gain:.2f} more gain"


def _shown(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
