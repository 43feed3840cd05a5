"""What `reprise bench neighbours` measures."""

import gc
import platform
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
from rapidfuzz import fuzz, process

from jobs.world.grammar import generate
from rewrite.neighbours import Neighbours, nearest, top_rows
from rewrite.text import normalise

RECORDINGS = Path(__file__).parents[1] / "demo" / "recognitions.parquet"
SCANS_TIMED = 25
"""Queries that a scan is timed on, one by one; its recall comes from a batch, which gives the same."""

BATCH = 16


@dataclass(frozen=True)
class Settings:
    """What to measure; see the options of `reprise bench neighbours`."""

    sizes: list[int]
    pairs: Path | None
    queries: int
    k: int
    views_limit: int
    gpu: bool
    threads: int
    seed: int


@dataclass(frozen=True)
class Task:
    """N misheard queries, the texts that were meant, and a space that holds those."""

    queries: list[str]
    meant: list[str]
    texts: list[str]


def rows(wanted: Settings) -> Iterator[dict[str, Any]]:
    """A row per size and system: recall, P@1, times and bytes."""
    import faiss

    faiss.omp_set_num_threads(wanted.threads)
    pairs = read_pairs(wanted.pairs or RECORDINGS)
    order = np.random.default_rng(wanted.seed).permutation(len(pairs))[: wanted.queries]
    drawn = [pairs[row] for row in order.tolist()]
    filling = generate(max(wanted.sizes), np.random.default_rng(wanted.seed))
    for size in sorted(wanted.sizes):
        meant = dict.fromkeys(text for _, text in drawn)
        texts = list(dict.fromkeys([*meant, *filling]))[: max(size, len(meant))]
        np.random.default_rng(wanted.seed).shuffle(texts)
        task = Task([query for query, _ in drawn], [text for _, text in drawn], texts)
        yield from _of_size(task, wanted)


def read_pairs(path: Path) -> list[tuple[str, str]]:
    """Distinct (recognised, meant) texts that differ, normalised, in a stable order.

    Raises:
        ValueError: the file lacks its columns, or holds no misheard query.
    """
    names = pq.read_schema(path).names
    meant = next((name for name in ("spoken", "text") if name in names), None)
    if meant is None or "recognised" not in names:
        raise ValueError(f"{path} is no file of pairs; got {', '.join(names)}; expected recognised, and spoken or text")
    listed = pq.read_table(path, columns=["recognised", meant]).to_pylist()
    pairs = {(normalise(row["recognised"] or ""), normalise(row[meant] or "")) for row in listed}
    kept = sorted((query, text) for query, text in pairs if query and text and query != text)
    if not kept:
        raise ValueError(f"{path} holds no misheard query: every recognised text is as it was meant")
    return kept


def _of_size(task: Task, wanted: Settings) -> Iterator[dict[str, Any]]:
    k = wanted.k
    best = [top_rows(ratios, k) for ratios in _ratios(task)]
    first = [task.texts[near_rows[0]] for near_rows in best]
    recall = _share(
        meant in {task.texts[row] for row in near_rows} for meant, near_rows in zip(task.meant, best, strict=True)
    )
    yield _row(task, "ratio scan", first, recall, lambda q: nearest(q, task.texts, k), SCANS_TIMED)
    systems = (
        [("index", True)] if len(task.texts) > wanted.views_limit else [("scan, all views", False), ("index", True)]
    )
    for name, indexed in systems:
        gc.collect()
        before, start = _resident_bytes(), time.perf_counter()
        built = Neighbours(task.texts, indexed=indexed, on_gpu=wanted.gpu and indexed)
        build_s, grown = time.perf_counter() - start, _resident_bytes() - before
        near = [built.near(query, k) for query in task.queries]
        found = _share(meant in dict(texts) for meant, texts in zip(task.meant, near, strict=True))
        first = [texts[0][0] if texts else "" for texts in near]
        timed = len(task.queries) if indexed else SCANS_TIMED
        row = _row(task, name, first, found, lambda q, b=built: b.near(q, k), timed)  # type: ignore[misc]
        size = built.index_bytes() / len(task.texts)
        yield row | {
            "build_s": build_s,
            "index_bytes_per_text": size,
            "resident_bytes_per_text": grown / len(task.texts),
        }


def _row(
    task: Task, system: str, first: Sequence[str], recall: float, near: Callable[[str], object], timed: int
) -> dict[str, Any]:
    """Measure the time of one query at a time, after a few to warm up."""
    for query in task.queries[:5]:
        near(query)
    wall, cpu = [], time.process_time()
    for query in task.queries[:timed]:
        start = time.perf_counter()
        near(query)
        wall.append(1000 * (time.perf_counter() - start))
    return {
        "texts": len(task.texts),
        "system": system,
        "queries": len(task.queries),
        "recall": recall,
        "p_at_1": _share(found == meant for found, meant in zip(first, task.meant, strict=True)),
        "ms_per_query": float(np.mean(wall)),
        "p95_ms": float(np.percentile(wall, 95)),
        "cpu_ms_per_query": 1000 * (time.process_time() - cpu) / len(wall),
        "build_s": 0.0,
        "index_bytes_per_text": 0.0,
        "resident_bytes_per_text": 0.0,
    }


def _ratios(task: Task) -> Iterator[np.ndarray]:
    """Of each query with all texts, float32, shape (N,): several at once, for speed."""
    for start in range(0, len(task.queries), BATCH):
        part = task.queries[start : start + BATCH]
        yield from process.cdist(part, task.texts, scorer=fuzz.ratio, dtype=np.float32)


def _share(held: Iterable[bool]) -> float:
    return float(np.mean(list(held)))


def _resident_bytes() -> int:
    """Of this process; 0 where the system does not tell."""
    status = Path("/proc/self/statm")
    return int(status.read_text().split()[1]) * 4096 if status.exists() else 0


def machine(wanted: Settings) -> dict[str, Any]:
    """Where and on what the rows were measured."""
    import os

    import faiss

    settings = {name: str(value) if isinstance(value, Path) else value for name, value in asdict(wanted).items()}
    versions = {"python": platform.python_version(), "faiss": faiss.__version__}
    return {"cores": len(os.sched_getaffinity(0)), "processor": platform.processor(), **versions, **settings}
