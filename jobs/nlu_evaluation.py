"""Figures of an NLU on labelled rows, with the reference row: TF-IDF of words and characters, logistic regression."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from selection import metrics
from selection.examples import Utterance, align
from selection.model import Nlu, Reading


@dataclass(frozen=True)
class Judged:
    """Rows, what the model said, and the errors of each row by SemER.

    Attributes:
        errors: (N,) counts. units: (N,) 1 + slots of the reference.
    """

    rows: Sequence[Utterance]
    readings: Sequence[Reading]
    errors: np.ndarray
    units: np.ndarray


def judge(model: Nlu, rows: Sequence[Utterance]) -> Judged:
    """Read all rows and count the errors."""
    texts = sorted({u.text for u in rows})
    found = dict(zip(texts, model.read(texts), strict=True))
    readings = [found[u.text][0] for u in rows]
    counted = [metrics.semantic_errors(u, r.domain, r.intent, r.slots) for u, r in zip(rows, readings, strict=True)]
    table = np.array(counted, dtype=np.int64).reshape(-1, 2)
    return Judged(rows, readings, table[:, 0], table[:, 1])


def figures(model: Nlu, judged: Judged) -> dict[str, Any]:
    """Accuracy and macro F1 of domain and intent, slot F1, SemER, calibration, and labels the model does not know."""
    right = [u.intent for u in judged.rows]
    said = [r.intent for r in judged.readings]
    domains = ([u.domain for u in judged.rows], [r.domain for r in judged.readings])
    confidence = np.array([r.intent_confidence for r in judged.readings])
    hits = np.array([a == b for a, b in zip(right, said, strict=True)])
    paired = zip(judged.rows, judged.readings, strict=True)
    tags = [(t, r.tags) for u, r in paired if (t := align(u.text, u.slots))]
    return {
        "rows": len(judged.rows),
        "intent_accuracy": metrics.accuracy(right, said),
        "intent_macro_f1": metrics.macro_f1(right, said),
        "domain_accuracy": metrics.accuracy(*domains),
        "domain_macro_f1": metrics.macro_f1(*domains),
        "slot_f1": metrics.slot_f1([a for a, _ in tags], [b for _, b in tags]),
        "rows_with_aligned_slots": len(tags),
        "semer": metrics.semer(judged.errors, judged.units),
        "intent_calibration_error": metrics.calibration_error(confidence, hits),
        "unknown_labels": dict(model.labels.unknown(judged.rows).most_common()),
    }


def reference(train: Sequence[Utterance], rows: Sequence[Utterance], seed: int = 0) -> dict[str, float]:
    """Intent figures of TF-IDF (words and characters) with logistic regression, trained on the same rows."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline, make_union

    tf_idf = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, token_pattern=r"\S+"),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), sublinear_tf=True),
    )
    pipeline = make_pipeline(tf_idf, LogisticRegression(C=10, max_iter=200, random_state=seed))
    pipeline.fit([u.text for u in train], [u.intent for u in train])
    said = [str(label) for label in pipeline.predict([u.text for u in rows])]
    right = [u.intent for u in rows]
    return {"intent_accuracy": metrics.accuracy(right, said), "intent_macro_f1": metrics.macro_f1(right, said)}


def by_domain(judged: Judged) -> dict[str, np.ndarray]:
    """Rows of every domain of the reference."""
    domains = np.array([u.domain for u in judged.rows])
    return {str(name): np.flatnonzero(domains == name) for name in sorted(set(domains.tolist()))}
