"""What `reprise explain` prints of one decision."""

import math
from dataclasses import replace
from typing import Any

import pytest

from jobs.explain import explain, in_need, in_words
from rewrite import Rewriter
from rewrite.decision import Candidate, Decision
from rewrite.guards import Barrier

FOUND = Candidate("play ancient bridges", "global", ("look_up", "search"), 0.91, 0.8, {"ratio": 88.0, "channel": -4.5})


class Stub:
    """A rewriter with one candidate, and what it was asked."""

    def __init__(self, decision: Decision, generates: bool = True) -> None:
        self.decision = decision
        self.generates = generates
        self.asked: list[Any] = []

    def rewrite_turn(self, turn: Any, explain: bool) -> Decision:
        self.asked.append((turn.utterance, turn.user_id, turn.turns, turn.asr_confidence, explain))
        return self.decision

    def path(self, text: str) -> list[str]:
        return ["play a", "ncient bridges"]

    def evidence(self, source: str, target: str) -> dict[str, Any] | None:
        return {"users": 4, "success_rate": 0.96789} if source == "play alien bridges" else None


def shown(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    decision: Decision,
    text: str,
    generates: bool = True,
) -> str:
    stub = Stub(decision, generates)
    monkeypatch.setattr(Rewriter, "load", lambda path: stub)
    explain(text, bundle=None, user="u1", turn=["louder"], asr_confidence=0.4)  # type: ignore[arg-type]
    assert stub.asked == [(text, "u1", ("louder",), 0.4, True)]
    return capsys.readouterr().out


def test_a_rewrite_is_shown_with_scores_path_and_evidence(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    decision = Decision(FOUND.text, "global", 0.91, "rewritten", 0.95, (FOUND,))
    out = shown(monkeypatch, capsys, decision, "Play Alien Bridges")
    assert "query      'play alien bridges'" in out
    assert "rewrite to 'play ancient bridges' from the global texts" in out
    assert "look_up, search" in out
    assert "-4.50" in out
    assert "  path      play a│ncient bridges" in out
    assert "  evidence  users 4, success rate 0.968" in out


def test_a_sensitive_intent_that_is_held_back_is_told_in_the_decision(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    barred = replace(FOUND, text="call mum", barrier=Barrier("sensitive", math.inf))
    out = shown(monkeypatch, capsys, Decision(None, None, 0.1, "guarded", 0.9, (FOUND, barred)), "cold mum")
    told = next(line for line in out.splitlines() if line.startswith("decision"))
    assert "a guard holds back what would have been chosen, 'call mum': sensitive intent (a call, a purchase" in told
    assert "`reprise learn --allow-intent`" in told


@pytest.mark.parametrize("generates", [True, False])
def test_a_bundle_without_a_generator_is_told_to_have_no_paths(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], generates: bool
) -> None:
    decision = Decision(FOUND.text, "global", 0.91, "rewritten", 0.95, (FOUND,))
    out = shown(monkeypatch, capsys, decision, "play alien bridges", generates)
    assert ("paths      none: this bundle has no generator" in out) is not generates


def test_a_turn_left_alone_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    out = shown(monkeypatch, capsys, Decision(None, None, 0.98, "no_candidate", 0.02), "stop")
    assert "leave it alone: no text in force comes near (chance that it fails as it is: 0.02)" in out
    assert "candidates none" in out


def test_markup_in_a_text_is_printed_as_it_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    odd = Candidate("play [bold]x[/bold]", "personal", ("own",), 0.1, 0.0)
    out = shown(monkeypatch, capsys, Decision(None, None, 0.5, "unsure", 0.5, (odd,)), "play x")
    assert "play [bold]x[/bold]" in out
    assert "one of the user’s own texts" in out


def test_every_reason_is_spelled_out() -> None:
    from rewrite.decision import REASONS

    for reason, meaning in REASONS.items():
        assert meaning in in_words(Decision(None, None, 0.0, reason))


def test_what_a_guard_asks_for_is_said() -> None:
    assert in_need(Barrier("sensitive", math.inf)).startswith(
        "sensitive intent (a call, a purchase, a deletion…): never"
    )
    assert in_need(Barrier("number", 0.7)) == "number changed: must be right with a chance of at least 0.70"
    assert in_need(Barrier("flip", 0.0, 0.02)) == "flip: another intent, needs 0.02 more gain"


def test_the_tie_stands_among_the_grounds(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    again = replace(FOUND, features={"ratio": 88.0, "tie": 3.0, "tie_log_prob": 0.0})
    out = shown(monkeypatch, capsys, Decision(FOUND.text, "global", 0.91, "rewritten", 0.95, (again,)), "Play it again")
    assert "  session   what was said before, again" in out


@pytest.mark.parametrize("reason", ["empty", "too_long"])
def test_no_chance_is_told_of_what_was_never_judged(reason: str) -> None:
    assert "chance" not in in_words(Decision(None, None, 0.0, reason))
    assert "chance that it fails as it is: 0.20" in in_words(Decision(None, None, 0.8, "likely_fine", 0.2))
