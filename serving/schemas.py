"""What goes over the wire, with its limits. Unknown fields are refused: a misspelt one would otherwise be ignored."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from rewrite.turn import Reading, Turn

TEXT_CHARS = 2000
TURNS = 20
TURNS_USED = 3
BATCH = 32

Text = Annotated[str, Field(max_length=TEXT_CHARS)]
Name = Annotated[str, Field(max_length=200)]
Identifier = Annotated[str, Field(min_length=1, max_length=200)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
NotNegative = Annotated[float, Field(ge=0, le=1e12, allow_inf_nan=False)]


class Strict(BaseModel):
    """No guessing: `"0.5"` is no number."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class Slot(Strict):
    """One slot that the NLU filled."""

    name: Name
    value: Text


class RewriteRequest(Strict):
    """One user turn, as it is known before it is acted on."""

    utterance: Text = Field(description="the request as heard or typed", examples=["play alien bridges"])
    user_id: Identifier | None = Field(None, description="stable pseudonym; without it only shared texts are used")
    interaction_id: Identifier | None = Field(
        None, description="the turn's id in your interaction log, by which exposures are joined to it"
    )
    turns: list[Text] = Field(
        [], max_length=TURNS, description="the session's earlier texts, oldest first, of a rewritten turn its rewrite"
    )
    gap_s: NotNegative | None = Field(None, description="seconds since the latest of `turns`")
    asr_confidence: Share | None = None
    asr_nbest: list[Text] = Field([], max_length=20, description="what else may have been said, best first")
    domain: Name | None = None
    intent: Name | None = None
    slots: list[Slot] = Field([], max_length=50)
    nlu_confidence: Share | None = None
    device: Name | None = None
    locale: Name | None = None
    timestamp_s: NotNegative | None = Field(None, description="Unix time of the turn; now, where it is not given")
    deadline_ms: Annotated[float, Field(gt=0, le=60_000, allow_inf_nan=False)] | None = Field(
        None, description="how long an answer is of use; after that 504"
    )
    explain: bool = Field(False, description="add the candidates with their scores and the evidence")

    def turn(self, now_s: float) -> Turn:
        """As the rewriter takes it."""
        return Turn(
            utterance=self.utterance,
            interaction_id=self.interaction_id,
            user_id=self.user_id,
            timestamp_s=now_s if self.timestamp_s is None else self.timestamp_s,
            asr_confidence=self.asr_confidence,
            asr_nbest=tuple(self.asr_nbest),
            reading=Reading.of(self.domain, self.intent, [(s.name, s.value) for s in self.slots]),
            nlu_confidence=self.nlu_confidence,
            device=self.device,
            locale=self.locale,
            turns=tuple(self.turns[-TURNS_USED:]),
            gap_s=self.gap_s,
        )


class BatchRequest(Strict):
    """Turns to decide together; each is answered as if alone."""

    requests: list[dict[str, Any]] = Field(
        min_length=1,
        max_length=BATCH,
        json_schema_extra={"items": {"$ref": "#/components/schemas/RewriteRequest"}},
    )


class Timings(Strict):
    """Milliseconds: of the whole request, of deciding, and of the model."""

    total: float
    deciding: float
    model: float


class CandidateOut(Strict):
    """One text that the turn could be rewritten to."""

    text: str
    space: Literal["personal", "global"]
    sources: list[str]
    p_right: float
    gain: float
    features: dict[str, float | None]
    evidence: dict[str, Any]
    path: list[str] = Field(description="the text in pieces, cut where the trie branches")


class RewriteResponse(Strict):
    """What to do with the turn: use `rewrite` instead of it, or leave it alone where that is null."""

    rewrite: str | None
    source: Literal["personal", "global"] | None
    confidence: float = Field(description="probability that the rewrite is right, or that the turn is fine as it is")
    reason: str = Field(description="why, as a code")
    shed: bool = Field(description="decided without the generator, as too many turns were waiting for it")
    bundle: str = Field(description="the bundle that decided")
    request_id: str
    timings_ms: Timings
    candidates: list[CandidateOut] | None = None


class BatchResponse(Strict):
    """One answer or one problem for each request, in order."""

    results: list[dict[str, Any]] = Field(
        json_schema_extra={
            "items": {
                "anyOf": [{"$ref": "#/components/schemas/RewriteResponse"}, {"$ref": "#/components/schemas/Problem"}]
            }
        },
    )


class FeedbackRequest(Strict):
    """What became of a turn; name it by the id of the rewrite's answer, or by your own."""

    request_id: Identifier | None = None
    interaction_id: Identifier | None = None
    status: Literal["ok", "no_match", "error"] | None = None
    interrupted: bool | None = None
    dwell_s: NotNegative | None = None


class BlockRequest(Strict):
    """A text that must not come out any more, or, with `blocked` false, may again."""

    text: Annotated[str, Field(min_length=1, max_length=TEXT_CHARS)]
    blocked: bool = True


class PinRequest(Strict):
    """A text that is always rewritten to `target` from now on; without one it is decided as any other."""

    source: Annotated[str, Field(min_length=1, max_length=TEXT_CHARS)]
    target: Annotated[str, Field(min_length=1, max_length=TEXT_CHARS)] | None = None


class ReloadRequest(Strict):
    """Which bundle to put in force; the champion where none is named."""

    bundle: Identifier | None = None


class DrainRequest(Strict):
    """Whether to say that no more requests should be sent."""

    draining: bool = True
