"""Texts by the million: vectors in an inverted file say which few hundred are worth comparing with a query.

FAISS is an extra (`retrieval`) and imported when an index is built; a build for CUDA is used the same way.
Source: André et al. (2015), as IndexIVFPQFastScan in FAISS: half a byte for every two numbers of a unit vector,
compared in registers. On a GPU, which has no such index, a byte a number (IndexIVFScalarQuantizer).
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from rewrite.sounds import word_code

POOL = 1000
"""Texts whose ratio with a query is computed."""

SOUNDED = 200
"""... and of those the nearest by ratio, whose sound is compared too."""

PROBES, PROBED_SHARE = 64, 0.16
"""Lists of the inverted file that are read for a query: so many, or this share of them if that is more."""

EXACT_BELOW = 10_000
"""Texts from which on not all vectors are compared."""

TEXTS_PER_LIST = 500
TRAINED_PER_LIST = 40
ENCODED_AT_ONCE = 50_000


class TextEncoder(Protocol):
    """Maps texts to unit vectors."""

    @property
    def dimensions(self) -> int:
        """Length of a vector."""
        ...

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Float32, shape (N, dimensions)."""
        ...


def available() -> bool:
    """Whether FAISS is installed."""
    return find_spec("faiss") is not None


class VectorIndex:
    """Rows of N unit vectors by inner product, nearly exact.

    Args:
        on_gpu: keep the index on the first CUDA device.
        exact_below: with fewer texts vectors are kept whole and all compared.

    Raises:
        ModuleNotFoundError: FAISS is not installed. ValueError: a GPU is asked for and FAISS sees none.
    """

    def __init__(
        self, encoder: TextEncoder, texts: Sequence[str], on_gpu: bool = False, exact_below: int = EXACT_BELOW
    ) -> None:
        import faiss

        self._encoder = encoder
        self._index = _empty(encoder, texts, exact_below, on_gpu)
        for start in range(0, len(texts), ENCODED_AT_ONCE):
            self._index.add(encoder.encode(texts[start : start + ENCODED_AT_ONCE]))
        if on_gpu:
            if not getattr(faiss, "get_num_gpus", lambda: 0)():
                raise ValueError("FAISS sees no GPU; is faiss-gpu installed in place of faiss-cpu, and a device free?")
            self._index = faiss.index_cpu_to_gpu(faiss.StandardGpuResources(), 0, self._index)
        if hasattr(self._index, "nprobe"):
            self._index.nprobe = max(PROBES, int(PROBED_SHARE * self._index.nlist))

    def search(self, queries: Sequence[str], count: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
        """Inner products and rows, both (Q, count), best first; rows are -1 where there are no more."""
        found: tuple[NDArray[np.float32], NDArray[np.int64]] = self._index.search(self._encoder.encode(queries), count)
        return found

    def nbytes(self) -> int:
        """Size as written to disk, bytes."""
        import faiss

        index = self._index if not hasattr(self._index, "getDevice") else faiss.index_gpu_to_cpu(self._index)
        return int(faiss.serialize_index(index).nbytes)


def _empty(encoder: TextEncoder, texts: Sequence[str], exact_below: int, on_gpu: bool) -> Any:
    """A trained index without rows."""
    import faiss

    dimensions = encoder.dimensions
    if len(texts) < exact_below:
        return faiss.IndexFlatIP(dimensions)
    lists = int(np.clip(len(texts) // TEXTS_PER_LIST, 16, 2048))
    quantiser = faiss.IndexFlatIP(dimensions)
    index: Any
    if on_gpu or dimensions % 2:
        kind = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexIVFScalarQuantizer(quantiser, dimensions, lists, kind, faiss.METRIC_INNER_PRODUCT)
    else:
        metric = faiss.METRIC_INNER_PRODUCT
        index = faiss.IndexIVFPQFastScan(quantiser, dimensions, lists, dimensions // 2, 4, metric)
        index.by_residual = False
    index.cp.niter, index.cp.max_points_per_centroid = 8, TRAINED_PER_LIST
    step = max(1, len(texts) // (TRAINED_PER_LIST * lists))
    index.train(encoder.encode(texts[::step]))
    return index


class Indexed:
    """N texts of which those are compared with a query whose vectors are nearest to its own."""

    def __init__(self, texts: Sequence[str], index: VectorIndex) -> None:
        self._texts, self._index = texts, index
        self._size = len(texts)
        self.alive = np.ones(self._size, dtype=bool)

    def nbytes(self) -> int:
        """Size of the index, bytes, without the texts themselves."""
        return self._index.nbytes()

    def scored(self, queries: Sequence[str]) -> list[tuple[NDArray[np.int64], NDArray[np.float32]]]:
        """Rows that are worth comparing, ascending, and their scores as of `Scan.scored`."""
        gone = int(np.count_nonzero(~self.alive))
        if not self._size:
            return [(np.zeros(0, dtype=np.int64), np.zeros((3, 0), dtype=np.float32))] * len(queries)
        products, rows = self._index.search(queries, min(self._size, POOL + min(gone, 4 * POOL)))
        return [self._compared(*one) for one in zip(queries, products, rows, strict=True)]

    def _compared(
        self, query: str, products: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        kept = np.flatnonzero(self.alive[rows] & (rows >= 0))
        texts = [self._texts[row] for row in rows[kept].tolist()]
        ratios = process.cdist([query], texts, scorer=fuzz.ratio, dtype=np.float32)[0]
        nearest = np.argsort(-ratios, kind="stable")[:SOUNDED]
        codes = [_sound(texts[at]) for at in nearest.tolist()]
        sounds = np.zeros(len(kept), dtype=np.float32)
        sounds[nearest] = process.cdist([_sound(query)], codes, scorer=fuzz.ratio, dtype=np.float32)[0]
        order = np.argsort(rows[kept])
        return rows[kept][order], np.stack([ratios, products[kept], sounds])[:, order]


def _sound(text: str) -> str:
    """As `phonetic`, without keeping every text."""
    return " ".join(map(word_code, text.split()))
