"""Texts by the million: vectors in an inverted file say which few hundred are worth comparing with a query.

FAISS is an extra (`retrieval`) and imported when an index is built; a build for CUDA is used the same way.
Source: André et al. (2015), as IndexIVFPQFastScan in FAISS: half a byte for every two numbers of a vector, compared in
registers. On a GPU, which has no such index, a byte a number (IndexIVFScalarQuantizer).
"""

from collections.abc import Sequence
from importlib.util import find_spec
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz, process

from rewrite.sounds import word_code

POOL = 2000
"""Texts whose ratio with a query is computed."""

SOUNDED = 200
"""... and of those the nearest by ratio, whose sound is compared too."""

PROBES, PROBED_SHARE = 160, 0.08
"""Lists of the inverted file that are read for a query: so many, or this share of them if that is more."""

GPU_MOST = 2048
"""Rows that FAISS can find at once on a GPU."""

EXACT_BELOW = 10_000
"""Texts from which on not all vectors are compared."""

TEXTS_PER_LIST = 500
TRAINED_PER_LIST = 40
ENCODED_AT_ONCE = 50_000


class TextEncoder(Protocol):
    """Maps texts to vectors of which near ones mean like texts, by Euclidean distance (of unit vectors: by cosine)."""

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
    """Rows of N vectors by Euclidean distance, nearly exact.

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

        self._encoder, self._most = encoder, GPU_MOST if on_gpu else len(texts)
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
        """Squared distances and rows, both (Q, up to count), nearest first; a row is -1 where no text is left."""
        found: tuple[NDArray[np.float32], NDArray[np.int64]]
        found = self._index.search(self._encoder.encode(queries), min(count, self._most))
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
        return faiss.IndexFlatL2(dimensions)
    lists = int(np.clip(len(texts) // TEXTS_PER_LIST, 16, 2048))
    quantiser = faiss.IndexFlatL2(dimensions)
    index: Any
    if on_gpu or dimensions % 2:
        kind = faiss.ScalarQuantizer.QT_8bit
        index = faiss.IndexIVFScalarQuantizer(quantiser, dimensions, lists, kind, faiss.METRIC_L2)
    else:
        index = faiss.IndexIVFPQFastScan(quantiser, dimensions, lists, dimensions // 2, 4, faiss.METRIC_L2)
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
        distances, rows = self._index.search(queries, min(self._size, POOL + min(gone, 4 * POOL)))
        return [self._compared(*one) for one in zip(queries, distances, rows, strict=True)]

    def _compared(
        self, query: str, distances: NDArray[np.float32], rows: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
        kept = np.flatnonzero(self.alive[rows] & (rows >= 0))
        texts = [self._texts[row] for row in rows[kept].tolist()]
        ratios = process.cdist([query], texts, scorer=fuzz.ratio, dtype=np.float32)[0]
        nearest = np.argsort(-ratios, kind="stable")[:SOUNDED]
        codes = [_sound(texts[at]) for at in nearest.tolist()]
        sounds = np.zeros(len(kept), dtype=np.float32)
        sounds[nearest] = process.cdist([_sound(query)], codes, scorer=fuzz.ratio, dtype=np.float32)[0]
        order = np.argsort(rows[kept])
        return rows[kept][order], np.stack([ratios, -distances[kept], sounds])[:, order]


def _sound(text: str) -> str:
    """As `phonetic`, without keeping every text."""
    return " ".join(map(word_code, text.split()))
