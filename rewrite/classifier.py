"""Classes of texts, garbled ones too, by a linear model over hashed character n-grams: which intent a query may have
had, how it may continue its session.
"""

import warnings
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from rewrite.ngrams import grams

_FEATURES = 2**15


class Classifier:
    """log P(class | text) for the classes it knows.

    Attributes:
        classes: sorted names, C of them. weights: float32, shape (features, C). bias: float32, shape (C,).
    """

    def __init__(self, classes: Sequence[str], weights: np.ndarray, bias: np.ndarray) -> None:
        self.classes = list(classes)
        self.weights = weights
        self.bias = bias

    @classmethod
    def fit(
        cls, texts: Sequence[str], classes: Sequence[str], weights: Sequence[float], seed: int, penalty: float = 3e-6
    ) -> "Classifier | None":
        """Fit on labelled texts; None where there are fewer than two classes to tell apart.

        Args:
            penalty: on the squared weights; the greater, the less is learned of single texts.
        """
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import SGDClassifier

        if len(set(classes)) < 2:
            return None
        model = SGDClassifier(
            loss="log_loss", alpha=penalty, max_iter=30, tol=1e-3, n_iter_no_change=3, random_state=seed
        )
        with warnings.catch_warnings():
            # thirty passes are enough whether or not the loss still falls a little
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(_hashed(texts), list(classes), sample_weight=np.asarray(weights))
        coefficients = model.coef_ if len(model.classes_) > 2 else np.vstack([-model.coef_, model.coef_])
        bias = model.intercept_ if len(model.classes_) > 2 else np.array([-model.intercept_[0], model.intercept_[0]])
        return cls(model.classes_.tolist(), coefficients.T.astype(np.float32), bias.astype(np.float32))

    def log_probs(self, text: str) -> dict[str, float]:
        """log P(class | text) by class, nats: softmax over the one-against-rest scores."""
        rows, heard = _hashed_one(text)
        # only the rows in use: a product with the whole would first turn all weights into doubles
        scores = heard @ self.weights[rows].astype(np.float64) + self.bias
        scores -= scores.max()
        scores -= np.log(np.exp(scores).sum())
        return dict(zip(self.classes, scores.tolist(), strict=True))

    def save(self, folder: Path, name: str) -> None:
        """Write NAME.safetensors (half precision) and NAME.txt."""
        folder.mkdir(parents=True, exist_ok=True)
        # safetensors writes memory as it lies, whatever its strides say
        weights = np.ascontiguousarray(self.weights, dtype=np.float16)
        save_file({"weights": weights, "bias": np.ascontiguousarray(self.bias)}, str(folder / f"{name}.safetensors"))
        (folder / f"{name}.txt").write_text("\n".join(self.classes) + "\n")

    @classmethod
    def load(cls, folder: Path, name: str) -> "Classifier | None":
        """Read what `save` wrote; None where nothing is there."""
        if not (folder / f"{name}.txt").exists():
            return None
        tensors = load_file(str(folder / f"{name}.safetensors"))
        classes = (folder / f"{name}.txt").read_text().split("\n")[:-1]
        return cls(classes, tensors["weights"].astype(np.float32), tensors["bias"])

    @cached_property
    def rounded(self) -> "Classifier":
        """The model as it is after `save` and `load`: what decisions must be fitted with."""
        return Classifier(self.classes, self.weights.astype(np.float16).astype(np.float32), self.bias)


@lru_cache(maxsize=20_000)
def _buckets(word: str) -> tuple[int, ...]:
    from sklearn.utils import murmurhash3_32

    return tuple(abs(murmurhash3_32(gram, 0)) % _FEATURES for gram in grams(word))


def _hashed_one(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and values of `_hashed` of one text, to the last bit: sklearn's checks would be most of the time."""
    counts = Counter(bucket for word in text.split() for bucket in _buckets(word))
    rows = np.array(sorted(counts), dtype=np.int64)
    values = np.array([counts[row] for row in rows.tolist()], dtype=np.float64)
    return rows, values / np.sqrt((values**2).sum()) if len(rows) else values


def _hashed(texts: Sequence[str]) -> Any:
    from sklearn.feature_extraction.text import HashingVectorizer

    vectorizer = HashingVectorizer(
        analyzer="char_wb", ngram_range=(2, 4), n_features=_FEATURES, alternate_sign=False, norm="l2", lowercase=False
    )
    return vectorizer.transform(list(texts))
