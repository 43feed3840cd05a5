"""Gates: thresholds, verdicts, and what they are computed from."""

import math
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from jobs.pipeline import checks
from jobs.pipeline.gate import Gate, failing
from jobs.pipeline.incidents import Incident, read_incidents
from jobs.pipeline.page import render
from jobs.pipeline.profile import drift, profile, unseen
from jobs.pipeline.taking_out import take_out

LOOK = {
    "rows": 5_000,
    "users": 300,
    "greatest_user_share": 0.01,
    "null_share": {"asr_confidence": 0.1},
    "lengths": {"<= 3": 0.5, "more": 0.5},
    "words": {"play": 0.3, "jazz": 0.2},
    "intents": {"play": 0.7, "stop": 0.3},
    "pairs": 40,
}
EVALUATION: dict[str, Any] = {
    "figures": {"harm": {"value": 0.001, "low": 0.0, "high": 0.002}},
    "slices": [{"slice": "device phone", "worse": False}],
    "sure": {"share": 0.0, "broken": []},
    "incidents": [],
    "blocked": [],
    "intent_flips": 0.0,
}
LEARNED = {"right_of_known": 0.8, "harm": 0.001}
LIMITS = checks.Limits()


def all_gates(look: dict[str, Any], evaluation: dict[str, Any], learned: dict[str, float]) -> list[Gate]:
    return [
        *checks.data_gates(look, LOOK, 0.1, LIMITS),
        *checks.quality_gates(learned, evaluation, LIMITS),
        *checks.offpolicy_gates(None, prove=False, least=0.5),
        *checks.safety_gates(evaluation, LIMITS),
        *checks.cost_gates(20.0, 10**7, LIMITS),
    ]


def test_a_good_bundle_passes_every_gate() -> None:
    assert failing(all_gates(LOOK, EVALUATION, LEARNED)) == []


@pytest.mark.parametrize(
    ("where", "change", "name"),
    [
        ("look", {"rows": 10}, "rows"),
        ("look", {"greatest_user_share": 0.4}, "greatest share of one user"),
        ("look", {"null_share": {}}, "rise of null shares"),
        ("look", {"lengths": {"<= 3": 0.99, "more": 0.01}}, "drift of lengths"),
        ("look", {"words": {"spam": 0.5, "play": 0.3}}, "words not known before"),
        ("look", {"intents": {"buy": 1.0}}, "drift of intents"),
        ("evaluation", {"figures": {"harm": {"high": 0.2}}}, "harm on replay, upper end"),
        (
            "evaluation",
            {"sure": {"share": 0.5, "broken": [{"utterance": "stop", "answer": "shop"}]}},
            "rewritten wrong",
        ),
        ("evaluation", {"slices": [{"slice": "device car", "worse": True}]}, "slices worse"),
        ("evaluation", {"incidents": [{"utterance": "a", "answer": "b"}]}, "incidents"),
        ("evaluation", {"blocked": ["rude"]}, "blocked texts in force"),
        ("evaluation", {"intent_flips": 0.1}, "another intent"),
        ("learned", {"right_of_known": 0.1}, "right of those"),
        ("learned", {"harm": math.nan}, "harm"),
    ],
)
def test_each_fault_fails_its_own_gate_and_the_reason_names_it(where: str, change: dict[str, Any], name: str) -> None:
    given: dict[str, Any] = {"look": LOOK, "evaluation": EVALUATION, "learned": LEARNED}
    given[where] = {**given[where], **change}
    found = failing(all_gates(**given))
    assert len(found) == 1
    assert name in found[0].why()


def test_a_figure_that_is_missing_fails_unless_it_may_be() -> None:
    assert Gate("quality", "harm", None, 0.1).verdict == "fail"
    assert Gate("quality", "harm", None, 0.1, optional=True).verdict == "not measured"
    assert Gate("quality", "harm", math.nan, 0.1, optional=True).verdict == "fail"


def test_without_a_champion_drift_is_not_measured() -> None:
    gates = checks.data_gates(LOOK, None, None, LIMITS)
    assert failing(gates) == []
    assert [g.verdict for g in gates].count("not measured") == 5
    compared = {g.limit: g.threshold for g in gates if g.value is None}
    assert compared == {name: asdict(LIMITS)[name] for name in compared}
    assert min(compared.values()) > 0


def test_a_gate_has_the_same_threshold_and_name_whether_it_was_measured_or_not() -> None:
    for measured, unmeasured in (
        (checks.data_gates(LOOK, LOOK, 0.1, LIMITS), checks.data_gates(LOOK, None, None, LIMITS)),
        (checks.offpolicy_gates(judged(0.1, 0.2), True, 0.4), checks.offpolicy_gates(None, True, 0.4)),
    ):
        assert [(g.name, g.threshold, g.limit) for g in measured] == [
            (g.name, g.threshold, g.limit) for g in unmeasured
        ]


def test_every_limit_is_named_by_a_gate() -> None:
    named = {gate.limit for gate in all_gates(LOOK, EVALUATION, LEARNED)} - {""}
    assert named == {f.name for f in fields(checks.Limits)}


def test_the_report_names_the_limit_of_each_gate() -> None:
    gates = [g.as_dict() for g in all_gates(LOOK, EVALUATION, LEARNED)]
    report = {
        "run": "r",
        "verdict": "published",
        "bundle": None,
        "champion_before": None,
        "failing": [],
        "gates": gates,
    }
    page = render({**report, "window": {"first": "a", "last": "b"}, "steps": []})
    assert "<td>drift of lengths</td><td>length_drift</td>" in page
    del gates[0]["limit"]  # of a step that an earlier version ended
    assert "<td>rows</td><td></td>" in render({**report, "window": {"first": "a", "last": "b"}, "steps": []})


def test_what_is_at_least_is_needed_and_what_is_at_most_is_allowed() -> None:
    assert Gate("data", "rows", 803, 1000, "at least").why() == "data: rows is 803, at least 1000 is needed"
    assert Gate("quality", "harm", 0.01, 0.002).why() == "quality: harm is 0.01, at most 0.002 is allowed"


@pytest.mark.parametrize(("low", "supported", "passes"), [
    (0.01, 0.95, True), (0.0, 0.95, False), (0.01, 0.45, False), (-0.01, 0.95, False),
])  # fmt: skip
def test_a_proof_needs_a_gain_above_zero_and_support(low: float, supported: float, passes: bool) -> None:
    assert (
        failing(checks.offpolicy_gates(judged(low, 0.1, supported=supported), prove=True, least=0.5)) == []
    ) is passes


@pytest.mark.parametrize(("high", "passes"), [(0.1, True), (0.0, True), (-0.001, False)])
def test_without_a_proof_a_proven_loss_stops(high: float, passes: bool) -> None:
    assert (failing(checks.offpolicy_gates(judged(-0.1, high), prove=False, least=0.5)) == []) is passes


@pytest.mark.parametrize("prove", [True, False])
def test_a_gain_over_no_rewrites_must_be_proven_where_enough_are_held_out(prove: bool) -> None:
    for low, passes in ((0.01, True), (0.0, False), (-0.01, False)):
        assert (failing(checks.offpolicy_gates(judged(0.1, 0.2, over_nothing=low), prove, 0.5)) == []) is passes
        assert failing(checks.offpolicy_gates(judged(0.1, 0.2, over_nothing=low, held_out=False), prove, 0.5)) == []


@pytest.mark.parametrize("prove", [True, False])
def test_few_exposures_judge_nothing(prove: bool) -> None:
    for found in (None, judged(-0.2, -0.1, supported=0.1, over_nothing=-1.0, users=False, held_out=False)):
        assert [g.verdict for g in checks.offpolicy_gates(found, prove, 0.5)] == ["not measured"] * 3


@pytest.mark.parametrize("prove", [True, False])
def test_without_days_that_are_new_to_the_champion_the_gain_over_no_rewrites_is_judged_all_the_same(
    prove: bool,
) -> None:
    found = {**judged(-0.2, -0.1, over_nothing=-0.1), "champion": None}
    gates = checks.offpolicy_gates(found, prove, 0.5)
    assert [g.verdict for g in gates] == ["fail", "not measured", "pass"]


def judged(
    low: float,
    high: float,
    *,
    supported: float = 0.9,
    over_nothing: float = 0.1,
    users: bool = True,
    held_out: bool = True,
) -> dict[str, Any]:
    """Of `jobs.offpolicy.judge_bundle` what the gates read."""
    return {
        "over_nothing": {"dr": {"low": over_nothing}},
        "support": {"supported": supported},
        "enough_users": users,
        "enough_held_out": held_out,
        "champion": {"gains": {"dr": {"low": low, "high": high}}, "enough_users": users},
    }


def test_drift_is_nothing_for_the_same_and_grows_with_the_change() -> None:
    same, some, other = {"a": 0.5, "b": 0.5}, {"a": 0.6, "b": 0.4}, {"c": 1.0}
    assert drift(same, same) == 0
    assert 0 < drift(some, same) < 0.1 < 0.25 < drift(other, same)
    assert drift(some, same) == pytest.approx(drift(same, some))
    assert unseen({"a": 0.5, "c": 0.5}, {"a": 1.0}) == 0.5


def test_limits_come_from_a_file_and_slips_are_named(tmp_path: Path) -> None:
    (tmp_path / "g.toml").write_text("harm = 0.01\nrows = 5\n")
    assert checks.Limits.read(tmp_path / "g.toml") == checks.Limits(harm=0.01, rows=5)
    for wrong in ("harms = 1", "harm = true", "harm = 'x'", "harm = "):
        (tmp_path / "g.toml").write_text(wrong)
        with pytest.raises(ValueError, match="gate"):
            checks.Limits.read(tmp_path / "g.toml")


@pytest.mark.parametrize(("incident", "answer", "held"), [
    (Incident("a"), None, True), (Incident("a"), "b", False),
    (Incident("a", must="b"), "b", True), (Incident("a", must="b"), None, False),
    (Incident("a", must_not=("b",)), "c", True), (Incident("a", must_not=("b",)), "b", False),
])  # fmt: skip
def test_an_incident_says_what_may_come_out(incident: Incident, answer: str | None, held: bool) -> None:
    assert incident.held(answer) is held


def test_incidents_are_read_and_a_bad_line_is_named(tmp_path: Path) -> None:
    path = tmp_path / "i.jsonl"
    path.write_text('{"utterance": "a", "must_not": ["b"]}\n\n{"utterance": "c", "turns": ["d"]}\n')
    assert read_incidents(path) == [Incident("a", must_not=("b",)), Incident("c", turns=("d",))]
    for wrong in ('{"text": "a"}', "[1]", "{"):
        path.write_text('{"utterance": "a"}\n' + wrong)
        with pytest.raises(ValueError, match=r"i\.jsonl:2"):
            read_incidents(path)


def write(folder: Path, rows: list[dict[str, Any]]) -> None:
    folder.mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "part-00000.parquet")


def test_a_profile_counts_words_that_several_users_said(tmp_path: Path) -> None:
    turns = [{"user_id": f"u{n}", "text": "play jazz", "intent": "play", "device": None} for n in range(6)]
    turns += [{"user_id": "u0", "text": "my secret", "intent": None, "device": "phone"} for _ in range(4)]
    write(tmp_path / "turns", turns)
    write(tmp_path / "rewrites", [{"source": "a", "target": "b"}])
    found = profile(tmp_path)
    assert (found["rows"], found["users"], found["greatest_user_share"], found["pairs"]) == (10, 6, 0.5, 1)
    assert found["words"] == {"jazz": 0.3, "play": 0.3}
    assert found["null_share"] == {"device": 0.6, "intent": 0.4}
    assert found["intents"] == {"play": 1.0}


def test_blocked_texts_and_withdrawn_pairs_are_taken_out_and_the_rest_stays(tmp_path: Path) -> None:
    mined = tmp_path / "mined"
    pairs = [{"source": "a", "target": t} for t in ("rude", "b", "c")]
    for folder in (mined, mined / "past"):
        for name in ("rewrites", "personal_rewrites", "reformulations"):
            write(folder / name, pairs)
        for name in ("utterances", "personal"):
            write(folder / name, [{"text": t} for t in ("rude", "b", "c")])
        write(folder / "text_outcomes", [{"text": "rude"}])
    (mined / "manifest.json").write_text("{}")
    out = take_out(mined, tmp_path / "out", {"rude"}, {("a", "c")})
    for folder in (out, out / "past"):
        assert pq.read_table(folder / "rewrites")["target"].to_pylist() == ["b"]
        assert pq.read_table(folder / "utterances")["text"].to_pylist() == ["b", "c"]
        assert pq.read_table(folder / "text_outcomes").num_rows == 1
    assert (out / "manifest.json").read_text() == "{}"
    assert take_out(mined, tmp_path / "same", set(), set()) == mined
