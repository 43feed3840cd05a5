"""The personal path alone: our rewrites to users' own texts beside their nearest own text, as many of each."""

from pathlib import Path
from typing import Any

import numpy as np

from jobs.references import Answers, nothing, personal_else

LEVELS = (0.0, 0.1, 0.2, 0.3, 0.5, 0.7)
"""Confidences from which our rewrites count, one row each."""


def personal_precision(future: Path, truth: Path, oracle: Path, mined: Path, decisions: Path) -> list[dict[str, Any]]:
    """Precision and harm of both at the trigger rate of ours, and the relative gain, by least confidence; null where
    ours rewrote nothing so.
    """
    import pyarrow.parquet as pq

    from jobs.evaluation import evaluate_answers
    from jobs.truth import read_oracle, read_truth
    from jobs.turns import read_log
    from rewrite.text import normalise

    log = read_log(future)
    ids = log["interaction_id"].to_pylist()
    made = {row["interaction_id"]: row for row in pq.read_table(decisions).to_pylist()}
    queries = [normalise(text or "") for text in log["utterance"].to_pylist()]
    users = [str(user) for user in log["user_id"].to_pylist()]
    own = pq.read_table(mined / "personal", columns=["user", "text"]).to_pandas()
    texts = {str(user): sorted(group) for user, group in own.groupby("user")["text"]}
    nearest = personal_else(queries, users, texts, nothing(queries), 0.0)
    known, best = read_truth(truth, ids), read_oracle(oracle)
    rows = []
    for level in LEVELS:
        sure = [made[i] if made[i]["source"] == "personal" and made[i]["confidence"] >= level else None for i in ids]
        ours = Answers(
            tuple(row["rewrite"] if row else None for row in sure),
            np.array([row["confidence"] if row else 0.0 for row in sure]),
        )
        count = sum(row is not None for row in sure)
        found = evaluate_answers(log, known, best, ours, {"nearest own text": surest(nearest, count)}, draws=1)
        precision, reference = (system.estimates["precision"].value for system in found.systems)
        harm, of_reference = (system.estimates["harm"].value for system in found.systems)
        rows.append(
            {
                "least_confidence": level,
                "rewrites": count,
                "trigger_rate": count / max(len(ids), 1),
                "precision": precision if count else None,
                "precision_of_nearest_own": reference if count else None,
                "relative_gain": precision / reference - 1 if count and reference else None,
                "harm": harm,
                "harm_of_nearest_own": of_reference,
            }
        )
    return rows


def surest(answers: Answers, count: int) -> Answers:
    """The `count` answers of highest confidence; the others become None."""
    kept = set(np.argsort(-answers.confidence, kind="stable")[:count].tolist())
    return Answers(
        tuple(text if row in kept else None for row, text in enumerate(answers.rewrites)), answers.confidence
    )
