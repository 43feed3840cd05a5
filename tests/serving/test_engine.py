"""The engine over a real, tiny bundle: the rewriter's answers, whatever is cached, batched, blocked or forgotten."""

import copy
import itertools
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rewrite.cascade import ALWAYS, NEVER, Zone
from rewrite.rewriter import Rewriter
from rewrite.turn import Reading, Turn
from serving.engine import BundleEngine, open_bundle
from serving.job import Answer, Hidden, Job
from serving.scoring import buckets
from serving.seats import WorkerSettings
from tests.rewrite.world import SONGS, reading

ROOT = Path(__file__).parents[2]
HOUR = 1.7e9 // 3600 * 3600


@pytest.fixture(scope="module")
def rewriter(bundle: Path) -> Rewriter:
    return Rewriter.load(bundle)


@pytest.fixture
def engine(bundle: Path) -> BundleEngine:
    return open_bundle(str(bundle), WorkerSettings())


def turns() -> list[Turn]:
    texts = [*SONGS, *SONGS.values(), "kall friend 3", "play silly liver", "", "x" * 600]
    made = []
    for text in texts:
        read = reading(text)
        understood = Reading.of(read["domain"], read["intent"], read["slots"])
        for user in (None, "u03"):
            made.append(Turn(text, user_id=user, asr_confidence=0.4, reading=understood, timestamp_s=HOUR))
    return [*made, Turn("play silly river", turns=("stop", "play silly liver"), gap_s=5.0)]


def decided(engine: BundleEngine, asked: list[Turn], explain: bool = False) -> list[Answer]:
    """All turns together, as the lanes would."""
    open_jobs = [(Job(n, engine.bundle_id, turn, 0.0, explain), engine.memo()) for n, turn in enumerate(asked)]
    answers: dict[int, Answer] = {}
    while open_jobs:
        found = [(job, memo, engine.attempt(job, memo)) for job, memo in open_jobs]
        answers |= {job.job_id: a for job, _, a in found if isinstance(a, Answer)}
        needs: list[Any] = [(memo, need) for _, memo, need in found if not isinstance(need, Answer)]
        if needs:
            engine.compute(needs)
        open_jobs = [(job, memo) for job, memo, a in found if not isinstance(a, Answer)]
    return [answers[n] for n in range(len(asked))]


def told(answers: list[Any]) -> list[tuple[Any, ...]]:
    return [(a.text, a.source, round(a.confidence, 4), a.reason, round(a.p_fail, 6)) for a in answers]


def test_the_engine_answers_as_the_rewriter_does_alone_together_and_again(
    engine: BundleEngine, rewriter: Rewriter
) -> None:
    asked = turns()
    plain = told([rewriter.rewrite_turn(turn) for turn in asked])
    assert told(decided(engine, asked)) == plain
    assert told(decided(engine, asked[::-1]))[::-1] == plain  # now from what is known
    fresh = [told(decided(engine, [turn]))[0] for turn in asked]
    assert fresh == plain
    assert {row[3] for row in plain} >= {"rewritten", "empty", "too_long"}


def test_what_is_kept_of_one_turn_does_not_colour_another(engine: BundleEngine, rewriter: Rewriter) -> None:
    text = next(iter(SONGS.values()))
    told_apart = itertools.product((0.1, 0.4, 0.9), (None, 0.5), (None, "u01", "u03"), ((), ("stop",)))
    asked = [
        Turn(text, asr_confidence=heard, nlu_confidence=read, user_id=user, turns=turns, timestamp_s=HOUR)
        for heard, read, user, turns in told_apart
    ]
    for turn in asked:
        for field in ("features", "p_right", "gain"):
            ours = decided(engine, [turn], explain=True)[0].candidates
            theirs = rewriter.rewrite_turn(turn, explain=True).candidates
            assert [c["text"] for c in ours] == [c.text for c in theirs]
            got = [c[field] for c in ours]
            for a, b in zip(got, [getattr(c, field) for c in theirs], strict=True):
                assert b == pytest.approx(a, abs=2e-4, nan_ok=True)
    assert told(decided(engine, asked)) == told([rewriter.rewrite_turn(turn) for turn in asked])


def test_the_front_of_the_service_loads_no_model() -> None:
    script = "import sys, serving.server, serving.child; print({'torch', 'lightgbm', 'numpy'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_what_was_asked_once_is_answered_without_the_model(engine: BundleEngine, rewriter: Rewriter) -> None:
    text = next(iter(SONGS.values()))
    turn = Turn(text, asr_confidence=0.4)
    decided(engine, [turn])

    def never(_: Any) -> None:
        raise AssertionError("the model ran")

    engine.compute = never  # type: ignore[method-assign]
    assert told(decided(engine, [turn])) == told([rewriter.rewrite_turn(turn)])


@pytest.mark.parametrize("share", [0.0, 0.5])
def test_turns_outside_the_zone_are_decided_without_the_model(
    share: float, engine: BundleEngine, rewriter: Rewriter
) -> None:
    asked = turns()
    gains = [c.gain for turn in asked for c in rewriter.rewrite_turn(turn, explain=True).candidates[:1]]
    zone = Zone(float(np.quantile(gains, 1 - share)), 1.0) if share else NEVER
    ran = []
    compute = engine.compute
    engine.compute = lambda needs: (ran.append(len(needs)), compute(needs))[1]  # type: ignore[method-assign]
    here = copy.copy(rewriter)
    here.decider = copy.copy(rewriter.decider)
    for decider in (here.decider, engine._decider):
        decider.thresholds = replace(decider.thresholds, ask=zone)
    assert told(decided(engine, asked)) == told([here.rewrite_turn(turn) for turn in asked])
    assert bool(ran) == bool(share)


def test_without_the_model_the_cheap_trees_decide_and_nothing_of_it_is_kept(
    engine: BundleEngine, rewriter: Rewriter
) -> None:
    asked = [turn for turn in turns() if 0 < len(turn.utterance) < 500]
    engine._decider.thresholds = replace(rewriter.decider.thresholds, ask=ALWAYS)
    bare = copy.copy(rewriter)
    bare.decider = copy.copy(rewriter.decider)
    bare.decider.thresholds = replace(rewriter.decider.thresholds, ask=NEVER)
    shed = 0
    for turn in asked:
        job, memo = Job(1, engine.bundle_id, turn, 0.0), engine.memo()
        if isinstance(engine.attempt(job, memo), Answer):
            continue
        found = engine.unasked(job, memo)
        assert told([found]) == told([bare.rewrite_turn(turn)])
        assert not isinstance(engine.attempt(job, engine.memo()), Answer)  # asks again
        shed += 1
    assert shed > 3


def test_a_bundle_whose_cheap_trees_are_not_calibrated_waits_for_the_model(engine: BundleEngine) -> None:
    engine._decider = copy.copy(engine._decider)
    engine._decider._sift_calibration = {}
    engine._decider.thresholds = replace(engine._decider.thresholds, ask=ALWAYS)
    job, memo = Job(1, engine.bundle_id, Turn("play silly liver", asr_confidence=0.4), 0.0), engine.memo()
    assert not isinstance(engine.attempt(job, memo), Answer)
    assert engine.unasked(job, memo) is None


def test_look_up_sources_are_scored_ahead_of_need(engine: BundleEngine) -> None:
    while engine.idle():
        pass

    def never(_: Any) -> None:
        raise AssertionError("the model ran")

    engine.compute = never  # type: ignore[method-assign]
    decided(engine, [Turn(source) for source in SONGS.values()])


def test_a_blocked_text_is_cut_out_and_comes_back_when_allowed(engine: BundleEngine, rewriter: Rewriter) -> None:
    meant, misheard = next(iter(SONGS.items()))
    turn = Turn(misheard, asr_confidence=0.4)
    whole = engine._scorer.trie
    engine.hide(Hidden({}, frozenset({meant}), 1))
    (answer,) = decided(engine, [turn], explain=True)
    assert meant not in {answer.text, *(c["text"] for c in answer.candidates)}
    assert len(engine._scorer.trie) == len(whole) - 1
    engine.hide(Hidden({}, frozenset(), 2))
    assert told(decided(engine, [turn])) == told([rewriter.rewrite_turn(turn)])


def test_a_pin_decides_where_its_target_is_in_force(engine: BundleEngine, rewriter: Rewriter) -> None:
    (meant, misheard), (other, _) = list(SONGS.items())[:2]
    turn = Turn(misheard, asr_confidence=0.4)
    engine.hide(Hidden(epoch=1, pinned={misheard: other}))
    (answer,) = decided(engine, [turn])
    assert (answer.text, answer.source, answer.reason) == (other, "global", "pinned")
    (explained,) = decided(engine, [turn], explain=True)
    assert (explained.text, explained.reason) == (other, "pinned")
    assert meant in {c["text"] for c in explained.candidates}
    for hidden in (
        Hidden(pinned={misheard: "nobody ever said so"}),
        Hidden(blocked=frozenset({other}), pinned={misheard: other}),
    ):
        engine.hide(hidden)
        assert decided(engine, [turn])[0].reason != "pinned"
    engine.hide(Hidden())
    assert told(decided(engine, [turn])) == told([rewriter.rewrite_turn(turn)])


def test_a_forgotten_user_has_nothing_of_their_own(engine: BundleEngine) -> None:
    turn = Turn("kall friend 3", user_id="u03", asr_confidence=0.4)

    def own() -> set[str]:
        return {c["text"] for c in decided(engine, [turn], explain=True)[0].candidates if c["space"] == "personal"}

    assert "call friend 3" in own()
    engine.hide(Hidden({"u03": 1}, frozenset(), 1))
    assert own() == set()
    engine.facts["deletion_epoch"] = 1  # built since then
    engine.hide(Hidden({"u03": 1}, frozenset(), 1))
    assert "call friend 3" in own()


def test_an_explanation_has_the_evidence_and_the_path(engine: BundleEngine) -> None:
    meant, misheard = next(iter(SONGS.items()))
    (answer,) = decided(engine, [Turn(misheard, asr_confidence=0.4)], explain=True)
    (best,) = [c for c in answer.candidates if c["text"] == meant]
    assert best["evidence"]["pair_lower_bound"] == 0.7
    assert "".join(best["path"]) == meant


def test_warming_runs_and_a_damaged_bundle_does_not_open(bundle: Path, tmp_path: Path, engine: BundleEngine) -> None:
    import shutil

    engine.warm()
    for number, damage in enumerate(("cut", "flip", "lose", "empty")):
        copy = tmp_path / str(number)
        shutil.copytree(bundle, copy)
        victim = sorted(copy.rglob("*.marisa"))[0]
        data = victim.read_bytes()
        if damage == "lose":
            victim.unlink()
        elif damage == "empty":
            shutil.rmtree(copy)
        else:
            victim.write_bytes(data[:-1] if damage == "cut" else bytes([data[0] ^ 1]) + data[1:])
        with pytest.raises(ValueError, match=r"corrupt|misses|not a bundle"):
            open_bundle(str(copy), WorkerSettings())


def test_half_precision_moves_scores_little(bundle: Path, rewriter: Rewriter) -> None:
    half = open_bundle(str(bundle), WorkerSettings(precision="bf16"))
    asked = turns()
    texts = [a.text for a in decided(half, asked)]
    plain = [rewriter.rewrite_turn(turn).text for turn in asked]
    assert sum(a == b for a, b in zip(texts, plain, strict=True)) >= 0.9 * len(plain)


def test_buckets_cover_every_row_once_within_their_budget() -> None:
    widths = sorted([1, 5, 5, 9, 30, 31, 32, 200, 500, 500])
    ranges = list(buckets(widths, tokens=600))
    assert [row for start, stop in ranges for row in range(start, stop)] == list(range(len(widths)))
    for start, stop in ranges:
        assert stop - start == 1 or max(widths[start:stop]) * (stop - start) <= 600
    assert list(buckets([])) == []
