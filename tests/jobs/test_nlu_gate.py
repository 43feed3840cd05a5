"""The gate's rule, the tail, and the pages."""

import numpy as np
import pytest

from jobs import nlu_html
from jobs.nlu_evaluation import Judged
from jobs.nlu_gate import judge_gate, tail_rows
from selection.examples import Utterance
from selection.model import Reading


def judged(errors: dict[str, list[int]]) -> Judged:
    rows = [
        Utterance(f"{domain} {n}", domain, f"{domain}_i") for domain, mine in errors.items() for n in range(len(mine))
    ]
    flat = np.array([e for mine in errors.values() for e in mine])
    said = [Reading(u.domain, u.intent if not e else "other", (), 1, 1, 1, 1) for u, e in zip(rows, flat, strict=True)]
    return Judged(rows, said, flat, np.ones(len(flat), dtype=int))


def test_better_everywhere_passes() -> None:
    verdict = judge_gate(judged({"a": [1] * 40, "b": [1] * 40}), judged({"a": [0] * 40, "b": [1] * 40}))
    assert verdict.passed
    assert verdict.before == 1
    assert verdict.after == 0.5


def test_worse_in_one_domain_is_refused_however_good_the_whole() -> None:
    verdict = judge_gate(judged({"a": [1] * 90, "b": [0] * 40}), judged({"a": [0] * 90, "b": [1] * 20 + [0] * 20}))
    assert not verdict.passed
    assert "worse beyond its interval in b by +0.5" in verdict.reason


def test_worse_within_the_interval_passes() -> None:
    verdict = judge_gate(judged({"a": [1] * 90, "b": [0] * 40}), judged({"a": [0] * 90, "b": [1] + [0] * 39}))
    assert verdict.passed


def test_no_change_is_refused() -> None:
    same = judged({"a": [1, 0]})
    assert "did not fall" in judge_gate(same, same).reason


def test_nothing_to_compare_on_is_refused() -> None:
    with pytest.raises(ValueError, match="no held-out rows"):
        judge_gate(judged({}), judged({}))


def test_the_tail_is_the_rarest_intents() -> None:
    assert tail_rows(["a"] * 8 + ["b", "c"]).tolist() == [False] * 8 + [True, True]
    assert not tail_rows(["a", "a", "b"]).any()


def test_text_of_users_cannot_break_the_page() -> None:
    shown = nlu_html.word_importance(["<script>"], np.array([-1.0]), "<b>", 0.01)
    assert "<script>" not in shown
    assert "−1.00" in shown
    assert "completeness error 1.00 %" in shown


def test_confusions_are_counted_before_and_after() -> None:
    shown = nlu_html.confusions_section(judged({"a": [1, 1]}), judged({"a": [1, 0]}))
    assert '<td>a_i</td><td>other</td><td class="n">2</td><td class="n">1</td><td class="n">-1</td>' in shown
