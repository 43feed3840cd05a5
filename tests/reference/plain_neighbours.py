"""Neighbours the slow and obvious way: every view scored by the libraries that define it, one text at a time."""

from collections.abc import Sequence

import jellyfish
import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz
from sklearn.feature_extraction.text import TfidfVectorizer


def scores(query: str, texts: Sequence[str], weighted_by: Sequence[str]) -> NDArray[np.float64]:
    """Ratio, n-gram cosine (weights from `weighted_by`) and ratio of the metaphone codes: shape (3, N)."""
    cut = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), lowercase=False).fit(weighted_by)
    cosines = (cut.transform(texts) @ cut.transform([query]).T).toarray()[:, 0]
    sounds = [fuzz.ratio(_sound(query), _sound(text)) for text in texts]
    return np.array([[fuzz.ratio(query, text) for text in texts], cosines, sounds])


def taken(views: NDArray[np.float64], turns: Sequence[int], count: int) -> list[int]:
    """Rows named when the views take turns until `count` differ, in that order; ties go to the earlier row."""
    best = [sorted(range(len(row)), key=lambda at, row=row: (-row[at], at)) for row in views]
    found: list[int] = []
    for round_number in range(views.shape[1]):
        for turn, view in enumerate(turns):
            place = round_number * turns.count(view) + turns[:turn].count(view)
            if place < views.shape[1] and best[view][place] not in found and len(found) < count:
                found.append(best[view][place])
    return found


def _sound(text: str) -> str:
    return " ".join(jellyfish.metaphone(word) for word in text.split())
