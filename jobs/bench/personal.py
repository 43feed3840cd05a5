"""The personal path alone: our rewrites to users' own texts beside their nearest own text, as many of each."""

from pathlib import Path
from typing import Any

import numpy as np

from jobs.references import Answers, nothing, personal_else


def personal_precision(future: Path, truth: Path, oracle: Path, mined: Path, decisions: Path) -> dict[str, Any]:
    """Precision of both at the trigger rate of ours, and the relative gain; null where ours rewrote nothing so."""
    import pyarrow.parquet as pq

    from jobs.evaluation import evaluate_answers
    from jobs.truth import read_oracle, read_truth
    from jobs.turns import read_log
    from rewrite.text import normalise

    log = read_log(future)
    ids = log["interaction_id"].to_pylist()
    made = {row["interaction_id"]: row for row in pq.read_table(decisions).to_pylist()}
    personal = [made[i] if made[i]["source"] == "personal" else None for i in ids]
    ours = Answers(
        tuple(row["rewrite"] if row else None for row in personal),
        np.array([row["confidence"] if row else 0.0 for row in personal]),
    )
    queries = [normalise(text or "") for text in log["utterance"].to_pylist()]
    users = [str(user) for user in log["user_id"].to_pylist()]
    own = pq.read_table(mined / "personal", columns=["user", "text"]).to_pandas()
    texts = {str(user): sorted(group) for user, group in own.groupby("user")["text"]}
    count = sum(text is not None for text in ours.rewrites)
    near = surest(personal_else(queries, users, texts, nothing(queries), 0.0), count)
    found = evaluate_answers(log, read_truth(truth, ids), read_oracle(oracle), ours, {"nearest own text": near})
    precision, reference = (system.estimates["precision"].value for system in found.systems)
    return {
        "rewrites": count,
        "precision": precision if count else None,
        "precision_of_nearest_own": reference if count else None,
        "relative_gain": precision / reference - 1 if count and reference else None,
    }


def surest(answers: Answers, count: int) -> Answers:
    """The `count` answers of highest confidence; the others become None."""
    kept = set(np.argsort(-answers.confidence, kind="stable")[:count].tolist())
    return Answers(
        tuple(text if row in kept else None for row, text in enumerate(answers.rewrites)), answers.confidence
    )
