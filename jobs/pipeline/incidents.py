"""Requests with a known right answer: texts that nearly always work, and past incidents that must not come back."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rewrite import Rewriter

LEAST_COUNT = 10
MOST_DEFECTS = 0.05


@dataclass(frozen=True)
class Incident:
    """One request. `must` is the only right rewrite; `must_not` may not come out; neither: it must be left alone."""

    utterance: str
    user_id: str | None = None
    turns: tuple[str, ...] = ()
    must: str | None = None
    must_not: tuple[str, ...] = ()

    def held(self, answer: str | None) -> bool:
        """Whether `answer`, None for leaving it alone, is allowed."""
        if self.must is not None:
            return answer == self.must
        return answer not in self.must_not if self.must_not else answer is None


def read_incidents(path: Path) -> list[Incident]:
    """From JSON lines with the fields of `Incident`.

    Raises:
        ValueError: a line is no such object.
    """
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            fields = json.loads(line)
            turns, must_not = (tuple(fields.pop(name, ())) for name in ("turns", "must_not"))
            found.append(Incident(**fields, turns=turns, must_not=must_not))
        except (TypeError, ValueError, AttributeError) as error:
            raise ValueError(
                f"{path}:{number} is no incident: {error}; expected utterance and maybe user_id, turns, must, must_not"
            ) from error
    return found


def sure_texts(mined: Path) -> set[str]:
    """The texts that nearly always work: whoever got what they wanted with one of them must not be rewritten wrong."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    outcomes = pq.read_table(mined / "text_outcomes", columns=["text", "count", "defect_rate"])
    kept = pc.and_(
        pc.greater_equal(outcomes["count"], LEAST_COUNT), pc.less_equal(outcomes["defect_rate"], MOST_DEFECTS)
    )
    return set(outcomes.filter(kept)["text"].to_pylist())


def broken(incidents: Iterable[Incident], rewriter: "Rewriter") -> list[dict[str, str | None]]:
    """Those that the bundle gets wrong: utterance and what came out."""
    found: list[dict[str, str | None]] = []
    for incident in incidents:
        answer = rewriter.rewrite(incident.utterance, incident.user_id, incident.turns).text
        if not incident.held(answer):
            found.append({"utterance": incident.utterance, "answer": answer})
    return found
