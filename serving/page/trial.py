"""Trying a text out: the candidates with their scores, and which words the decision hangs on. Nothing is recorded."""

import time
from dataclasses import replace
from typing import Any

from rewrite.text import normalise
from rewrite.turn import Turn
from serving.job import Answer, Job
from serving.service import Service

DEADLINE_S = 10.0
MOST_WORDS = 12


async def attempt(service: Service, turn: Turn) -> Answer | None:
    """What the bundle in force would do, with its candidates; None where there is none, or it cannot say in time."""
    bundle = service.holder.current
    if bundle is None:
        return None
    job = Job(service.pool.job_id(), bundle.bundle_id, turn, time.monotonic() + DEADLINE_S, True)
    answer = await service.pool.submit(job)
    return None if answer.failure is not None else answer


async def word_importance(service: Service, turn: Turn, answer: Answer) -> list[dict[str, Any]]:
    """For every word of the text: how much surer the best candidate is with the word than without it.

    Occlusion: the word is left out and the turn decided again. Source: Li, Monroe & Jurafsky, arXiv 1612.08220.
    """
    words = normalise(turn.utterance).split()
    best = answer.candidates[0] if answer.candidates else None
    if best is None or not 1 < len(words) <= MOST_WORDS:
        return []
    found = []
    for place, word in enumerate(words):
        rest = " ".join(words[:place] + words[place + 1 :])
        without = await attempt(service, replace(turn, utterance=rest))
        candidates = without.candidates if without is not None else ()
        same = next((c["p_right"] for c in candidates if c["text"] == best["text"]), 0.0)
        found.append({"word": word, "change": float(best["p_right"]) - float(same)})
    return found
