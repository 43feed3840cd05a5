"""One evaluation: our decisions and the reference rows, judged on the same turns."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from jobs import metrics
from jobs.references import Answers
from jobs.truth import Deed, Truth, judge
from rewrite.text import normalise

OURS = "reprise"
ALONE = "reprise, each turn alone"
"""Ours without what the session said before: what that is worth."""

DECISION_COLUMNS = ("interaction_id", "rewrite")


@dataclass(frozen=True)
class Judged:
    """One system on N turns: its answers, what they did, and the metrics of it."""

    name: str
    answers: Answers
    outcomes: metrics.Outcomes
    estimates: Mapping[str, metrics.Estimate]


@dataclass(frozen=True)
class Evaluation:
    """Everything a table or a report needs; `systems` begins with ours.

    `interaction_ids`, `user_ids` and `queries` (as logged) have one entry per turn; `judged_by` is `oracle` or
    `intended`; `beside` names the systems that are compared with ours and are no references.
    """

    interaction_ids: tuple[str, ...]
    user_ids: tuple[str, ...]
    queries: tuple[str, ...]
    truth: Truth
    systems: tuple[Judged, ...]
    judged_by: str
    seed: int
    draws: int
    beside: tuple[str, ...] = ()

    @property
    def ours(self) -> Judged:
        """The system under test."""
        return self.systems[0]

    @property
    def best_reference(self) -> Judged | None:
        """The reference that lowers the defect rate most; None where there is none but ours."""
        others = (s for s in self.systems if s.name not in (OURS, *self.beside))
        return min(others, key=lambda s: s.estimates["cpdr_change"].value, default=None)

    def lead(self) -> metrics.Estimate | None:
        """Our lead over the best reference; None where there is none."""
        best = self.best_reference
        return None if best is None else self.lead_over(best)

    def leads(self) -> dict[str, metrics.Estimate]:
        """Our lead over each system beside ours, by name."""
        return {s.name: self.lead_over(s) for s in self.systems if s.name in self.beside}

    def lead_over(self, other: Judged) -> metrics.Estimate:
        """Our CPDR change minus the other's, paired on the same users; below zero means ours is better."""
        return metrics.difference(self.ours.outcomes, other.outcomes, "cpdr_change", self.seed, self.draws)


def evaluate_answers(
    turns: pa.Table,
    truth: Truth,
    oracle: Mapping[str, Deed] | None,
    ours: Answers,
    references: Mapping[str, Answers],
    seed: int = 0,
    draws: int = metrics.DRAWS,
    beside: Mapping[str, Answers] | None = None,
) -> Evaluation:
    """Judge our answers, each reference's, and those beside ours, on the rows of `turns` (interaction_id, user_id,
    utterance).

    A rewrite equal to the query, as logged or normalised, is no rewrite.
    """
    others = {**references, **(beside or {})}
    queries = tuple(t or "" for t in turns["utterance"].to_pylist())
    users = tuple(str(u) for u in turns["user_id"].to_pylist())
    user_row = np.unique(np.array(users, dtype=object).astype(str), return_inverse=True)[1].astype(np.int64)

    def judged(name: str, answers: Answers) -> Judged:
        outcomes = _outcomes(answers, queries, truth, oracle, user_row)
        return Judged(name, answers, outcomes, metrics.measure(outcomes, seed, draws))

    systems = (judged(OURS, ours), *(judged(name, answers) for name, answers in others.items()))
    judged_by = "intended" if oracle is None else "oracle"
    ids = tuple(turns["interaction_id"].to_pylist())
    return Evaluation(ids, users, queries, truth, systems, judged_by, seed, draws, tuple(beside or ()))


def _outcomes(
    answers: Answers,
    queries: Sequence[str],
    truth: Truth,
    oracle: Mapping[str, Deed] | None,
    user_row: NDArray[np.int64],
) -> metrics.Outcomes:
    made = [None if t in (q, normalise(q)) else t for t, q in zip(answers.rewrites, queries, strict=True)]
    rewritten = np.array([t is not None for t in made], dtype=bool)
    return metrics.Outcomes(rewritten, judge(made, truth, oracle), truth.defect, truth.curable, user_row)


def read_decisions(path: Path, interaction_ids: Sequence[str]) -> Answers:
    """Read a decisions file (interaction_id, rewrite, confidence) as answers in the order of `interaction_ids`.

    Raises:
        FileNotFoundError: no such file. ValueError: not a decisions file, or a turn has no row in it.
    """
    if not path.exists():
        raise FileNotFoundError(f"no decisions; got {path}; expected a parquet file; did `reprise rewrite` finish?")
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"cannot read {path}; got {error}; expected parquet; is the file complete?") from error
    if lacking := [c for c in DECISION_COLUMNS if c not in table.column_names]:
        raise ValueError(
            f"{path} is no decisions file; got columns {', '.join(table.column_names[:12])}; "
            f"expected also {', '.join(lacking)}; `reprise rewrite` writes such files"
        )
    made = {row["interaction_id"]: row for row in table.to_pylist()}
    if len(made) < table.num_rows:
        raise ValueError(
            f"{path} decides turns more than once; got {table.num_rows} rows of {len(made)} interaction ids; expected "
            "one row for each; was it joined, or written, twice?"
        )
    if missing := [i for i in interaction_ids if i not in made]:
        raise ValueError(
            f"turns without a decision; got {len(missing)} of {len(interaction_ids)} turns that have no row in {path} "
            f"(the first: {missing[0]}); expected one for each; do turns and decisions belong together?"
        )
    rows = [made[i] for i in interaction_ids]
    confidence = np.array([row.get("confidence") or 0.0 for row in rows], dtype=np.float64)
    return Answers(tuple(row["rewrite"] for row in rows), confidence)


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """The numbers of an evaluation as plain values; a metric without a value is null."""
    lead, best = evaluation.lead(), evaluation.best_reference
    return {
        "turns": len(evaluation.queries),
        "users": len(set(evaluation.user_ids)),
        "judged_by": evaluation.judged_by,
        "interval": {"level": 0.95, "method": "percentile bootstrap over users", "draws": evaluation.draws},
        "seed": evaluation.seed,
        "systems": {s.name: {m: _plain(e) for m, e in s.estimates.items()} for s in evaluation.systems},
        "calibration_error": _number(
            metrics.reliability(evaluation.ours.outcomes, evaluation.ours.answers.confidence).calibration_error
        ),
        "best_reference": best.name if best else None,
        "cpdr_change_minus_best_reference": _plain(lead) if lead else None,
        "cpdr_change_minus_beside": {name: _plain(lead) for name, lead in evaluation.leads().items()},
    }


def _number(value: float) -> float | None:
    return None if np.isnan(value) else value


def _plain(estimate: metrics.Estimate) -> dict[str, float | None]:
    return {key: _number(value) for key, value in asdict(estimate).items()}
