"""An evaluation as one HTML page."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from jobs.evaluate import TITLES, cell, lead_in_words
from jobs.evaluation import Evaluation
from jobs.metrics import reliability
from jobs.report import pictures
from jobs.report.evidence import Pair, evidence
from rewrite.text import normalise

TOP = 25
"""Rewrites listed among the most frequent ones."""

GLOSSARY = {
    "defect": "a turn whose user did not get what they wanted",
    "CPDR": "customer-perceived defect rate: defective turns / turns",
    "trigger": "turns rewritten / turns",
    "precision": "rewrites that do what the user wanted / rewrites",
    "fixed": "defective turns that the rewrite cures / defective turns",
    "harm": "good turns rewritten wrong / good turns",
    "each turn alone": "ours, had nothing been said before the turn: what the session is worth",
}


@dataclass(frozen=True)
class TopRewrite:
    """One (source, target) over all its turns: how often made, right, curing and breaking; confidence is the mean."""

    source: str
    target: str
    turns: int
    right: int
    fixed: int
    broken: int
    confidence: float
    evidence: str


@dataclass(frozen=True)
class BrokenTurn:
    """One good turn that was rewritten wrong."""

    interaction_id: str
    user_id: str
    source: str
    target: str
    intended: str
    confidence: float
    evidence: str


def render(evaluation: Evaluation, mined: Path | None, facts: Mapping[str, str]) -> str:
    """The page; `mined` is where the evidence is looked up, `facts` are printed as they are."""
    rows = np.flatnonzero(evaluation.ours.outcomes.rewritten).tolist()
    why = evidence(mined, {_pair(evaluation, row) for row in rows})
    return _template().render(
        titles=TITLES,
        cell=cell,
        evaluation=evaluation,
        ours=evaluation.ours.estimates,
        best=evaluation.best_reference,
        lead=lead_in_words(evaluation.lead()),
        leads={name: lead_in_words(lead) for name, lead in evaluation.leads().items()},
        rates=pictures.defect_rates(evaluation),
        curves=pictures.precision_curves(evaluation),
        reliability=pictures.reliability_curve(evaluation),
        calibration=calibration(evaluation),
        top=top_rewrites(evaluation, why),
        rewritten=len(rows),
        broken=broken_turns(evaluation, why),
        facts=facts,
        glossary=GLOSSARY,
    )


def calibration(evaluation: Evaluation) -> str:
    """The expected calibration error of our rewrites, in words."""
    found = reliability(evaluation.ours.outcomes, evaluation.ours.answers.confidence)
    return f"{100 * found.calibration_error:.1f} %" if len(found.count) else "-"


def _template() -> Template:
    # utterances are anybody's words: everything is escaped but our own pictures, which the template marks
    environment = Environment(loader=PackageLoader("jobs.report", "."), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("report.html.jinja")


def _pair(evaluation: Evaluation, row: int) -> Pair:
    return normalise(evaluation.queries[row]), evaluation.ours.answers.rewrites[row] or ""


def top_rewrites(evaluation: Evaluation, why: Mapping[Pair, str]) -> list[TopRewrite]:
    """The rewrites that were made most often, those that cured most first."""
    outcomes, confidence = evaluation.ours.outcomes, evaluation.ours.answers.confidence
    turns: dict[Pair, list[int]] = {}
    for row in np.flatnonzero(outcomes.rewritten).tolist():
        turns.setdefault(_pair(evaluation, row), []).append(row)
    made = [
        TopRewrite(
            *pair,
            turns=len(rows),
            right=int(outcomes.right[rows].sum()),
            fixed=int(outcomes.fixed[rows].sum()),
            broken=int(outcomes.broken[rows].sum()),
            confidence=float(confidence[rows].mean()),
            evidence=why[pair],
        )
        for pair, rows in turns.items()
    ]
    return sorted(made, key=lambda r: (-r.fixed, -r.turns, r.source, r.target))[:TOP]


def broken_turns(evaluation: Evaluation, why: Mapping[Pair, str]) -> list[BrokenTurn]:
    """Every good turn that was rewritten wrong, in the order of the turns."""
    answers = evaluation.ours.answers
    return [
        BrokenTurn(
            evaluation.interaction_ids[row],
            evaluation.user_ids[row],
            evaluation.queries[row],
            answers.rewrites[row] or "",
            evaluation.truth.wants[row].intended,
            float(answers.confidence[row]),
            why[_pair(evaluation, row)],
        )
        for row in np.flatnonzero(evaluation.ours.outcomes.broken).tolist()
    ]
