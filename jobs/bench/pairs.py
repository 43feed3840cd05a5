"""Misheard queries and the texts that were meant: the task of `reprise bench quality --pairs`, and how it is scored."""

import random
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from jobs.base import held_out
from jobs.pretrain import spoken_form
from jobs.references import Answers

_UNKNOWN = ("< unk >", "@@unknown@@")
_DROPPED = re.compile(r"[^a-z0-9' ]")


def plain(text: str) -> str:
    """Lower case, letters, digits and apostrophes only, the recogniser's marks for unknown words dropped."""
    text = text.lower().replace("’", "'").replace(" '", "'")
    for mark in _UNKNOWN:
        text = text.replace(mark, " ")
    return " ".join(_DROPPED.sub(" ", text).split())


@dataclass(frozen=True)
class PairTask:
    """N queries with the texts that were meant, and the catalogue that holds those among others, sorted."""

    queries: tuple[str, ...]
    meant: tuple[str, ...]
    texts: tuple[str, ...]

    @classmethod
    def read(cls, pairs: Path, catalogue: Sequence[Path], sample: int, unseen: bool = False) -> "PairTask":
        """Read a parquet of `recognised`, `spoken`, and texts from parquet (`spoken` or `text`) or one a line.

        Queries that are in the catalogue themselves are left out: the right answer there is to leave them alone. Of
        the others `sample` are drawn, the same ones every time; `unseen` draws among those whose texts
        `jobs.pretrain` leaves out of training.

        Raises:
            ValueError: a file lacks its columns, or no query is left.
        """
        import pyarrow.parquet as pq

        names = pq.read_schema(pairs).names
        if missing := {"recognised", "spoken"} - set(names):
            raise ValueError(f"{pairs} lacks {', '.join(sorted(missing))}; got {', '.join(names)}")
        known = {text for path in catalogue for text in map(plain, _texts(path))} - {""}
        rows = pq.read_table(pairs, columns=["recognised", "spoken"]).to_pylist()
        rows = [row for row in rows if not unseen or held_out(spoken_form(row["spoken"]))]
        heard = sorted({(plain(r["recognised"]), plain(r["spoken"])) for r in rows})
        kept = [(q, t) for q, t in heard if q and t and q != t and q not in known]
        random.Random(0).shuffle(kept)
        if not kept:
            raise ValueError(f"{pairs} holds no misheard query: every recognised text is as spoken or in the catalogue")
        queries, meant = zip(*kept[:sample], strict=True)
        return cls(queries, meant, tuple(sorted(known | set(meant))))

    def of(self, rows: Sequence[int]) -> "PairTask":
        """The queries at these rows; the catalogue stays whole."""
        return PairTask(tuple(self.queries[r] for r in rows), tuple(self.meant[r] for r in rows), self.texts)

    def heard_before(self) -> tuple[tuple[str, ...], ...]:
        """For each query another hearing of what was meant, as the failed try before it; empty where there is none."""
        heard: dict[str, set[str]] = {}
        for query, meant in zip(self.queries, self.meant, strict=True):
            heard.setdefault(meant, set()).add(query)
        others = (sorted(heard[m] - {q, m}) for q, m in zip(self.queries, self.meant, strict=True))
        return tuple((other[0],) if other else () for other in others)


def _texts(path: Path) -> list[str]:
    import pyarrow.parquet as pq

    if path.suffix != ".parquet":
        return path.read_text(encoding="utf-8").splitlines()
    column = next((name for name in ("spoken", "text") if name in pq.read_schema(path).names), None)
    if column is None:
        raise ValueError(f"{path} has no column spoken or text to take a catalogue from")
    texts: list[str] = pq.read_table(path, columns=[column])[column].to_pylist()
    return texts


def scores(task: PairTask, answers: Answers) -> dict[str, float]:
    """P@1, and the precision of the 50, 70 and 80 % answered with most confidence; an answer of None is wrong."""
    right = np.array([text == meant for text, meant in zip(answers.rewrites, task.meant, strict=True)])
    surest = right[np.argsort(-answers.confidence, kind="stable")]
    found = {"p_at_1": float(right.mean())}
    for share in (50, 70, 80):
        found[f"precision_at_{share}"] = float(surest[: max(share * len(right) // 100, 1)].mean())
    return found


def curve(task: PairTask, answers: Answers, points: int = 100) -> list[tuple[float, float]]:
    """(trigger rate, precision) as the threshold on confidence falls, both in [0, 1]."""
    right = np.array([text == meant for text, meant in zip(answers.rewrites, task.meant, strict=True)])
    surest = np.cumsum(right[np.argsort(-answers.confidence, kind="stable")])
    counts = np.unique(np.linspace(1, len(right), points).astype(int))
    return [(float(c / len(right)), float(surest[c - 1] / c)) for c in counts]


def left_alone(present: NDArray[np.float64], absent: NDArray[np.float64], share: int = 70) -> float:
    """Share of queries whose text was taken out that stay below the confidence of the surest `share` %.

    Args:
        present: confidence of each answer with its text in the catalogue. absent: of answers without it.
    """
    threshold = np.sort(present)[::-1][max(share * len(present) // 100, 1) - 1]
    return float((absent < threshold).mean())
