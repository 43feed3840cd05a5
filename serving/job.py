"""What passes between the service and the processes that decide: light, so that the front imports no model."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from rewrite.turn import Turn

LATE = "late"
CROWDED = "crowded"
FAULT = "fault"
GONE = "gone"
FAILURES = {
    LATE: "the deadline passed before an answer was found",
    CROWDED: "the answer could not have been found before the deadline: too many are waiting for the model",
    FAULT: "deciding failed",
    GONE: "the bundle, or the process that held it, is gone",
}
"""Why a job has no answer."""


@dataclass(frozen=True)
class Job:
    """One turn to decide under one bundle before `deadline_s` (monotonic clock, which processes share).

    Where the model would not begin with it by `model_by_s`, it is decided without the model.
    """

    job_id: int
    bundle_id: str
    turn: Turn
    deadline_s: float
    explain: bool = False
    model_by_s: float = math.inf


@dataclass(frozen=True)
class Answer:
    """A decision in plain values; `failure` is one of FAILURES, None where there is an answer.

    `by_model` tells whether the generator ran for this job (else look-up, caches and trees sufficed), `shed` whether it
    should have run, but too many were waiting for it: then the cheap trees decided.
    `took_ms` is the time since it was first looked at, `model_ms` the part of it that the model ran.
    """

    job_id: int
    text: str | None = None
    source: str | None = None
    confidence: float = 0.0
    reason: str = ""
    p_fail: float = 0.0
    candidates: tuple[Mapping[str, Any], ...] = ()
    failure: str | None = None
    by_model: bool = False
    shed: bool = False
    took_ms: float = 0.0
    model_ms: float = 0.0


@dataclass(frozen=True)
class Load:
    """Verify, open and warm the bundle at `path`, beside those that are open."""

    path: str
    hidden: "Hidden"


@dataclass(frozen=True)
class Loaded:
    """The outcome of a `Load`: the bundle's id and card, or why it cannot be used."""

    path: str
    bundle_id: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)
    error: str | None = None


@dataclass(frozen=True)
class Drop:
    """Close every bundle but these."""

    keep: frozenset[str]


@dataclass(frozen=True)
class Hidden:
    """What operators took out of force: users forgotten, with the epoch at which, and blocked texts; and what they
    pinned: a text, and what it is always rewritten to.
    """

    users: Mapping[str, int] = field(default_factory=dict)
    blocked: frozenset[str] = frozenset()
    epoch: int = 0
    pinned: Mapping[str, str] = field(default_factory=dict)
