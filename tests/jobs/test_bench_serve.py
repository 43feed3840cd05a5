"""The load of `reprise bench serve`: what it asks for, when, and what its figures mean."""

import asyncio
import json
from pathlib import Path

import numpy as np
import pytest

from jobs.bench import serve_runs
from jobs.bench.serve_load import Load, Sent, summary
from jobs.bench.serve_mix import Ask, Asker, Mix
from rewrite.spaces import write_knowledge
from tests.rewrite.world import SONGS, tables_of, turn_rows
from tests.serving.fakes import Rules, service


@pytest.fixture(scope="module")
def knowledge(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("knowledge")
    write_knowledge(tables_of(turn_rows()), folder)
    return folder


def test_the_mix_is_as_asked_and_the_same_for_one_seed(knowledge: Path) -> None:
    mix = Mix(0.5, 0.25, 0.25, fresh=0.4, pool=20)
    asks = Asker(knowledge, mix, 3).draw(2000)
    assert asks == Asker(knowledge, mix, 3).draw(2000)
    shares = {kind: sum(a.kind == kind for a in asks) / 2000 for kind in ("lookup", "personal", "global")}
    assert shares == pytest.approx({"lookup": 0.5, "personal": 0.25, "global": 0.25}, abs=0.04)
    misheard = [a for a in asks if a.kind != "lookup"]
    assert sum(a.fresh for a in misheard) / len(misheard) == pytest.approx(0.4, abs=0.05)
    for ask in asks:
        body = json.loads(ask.body)
        assert ("user_id" in body) == (ask.kind == "personal")
        assert ask.kind != "lookup" or body["utterance"] in SONGS.values()


def test_what_was_asked_before_was_asked_in_the_warm_up(knowledge: Path) -> None:
    asker = Asker(knowledge, Mix(fresh=0.5, pool=10), 0)
    warm = {json.loads(a.body)["utterance"] for a in asker.pool()}
    for ask in asker.draw(300):
        if not ask.fresh:
            assert json.loads(ask.body)["utterance"] in warm


def test_a_bundle_with_nothing_to_ask_for_is_refused(tmp_path: Path) -> None:
    write_knowledge(tables_of([]), tmp_path)
    with pytest.raises(ValueError, match="nothing to ask for"):
        Asker(tmp_path, Mix(), 0)


def test_latencies_count_from_when_a_request_was_due(tmp_path: Path) -> None:
    rules = Rules("b1", {"m": "M"}, modelled=["m"], model_s=0.2)
    with service(tmp_path, rules, model_batch=1) as running:
        port = int(running.url.rpartition(":")[2])

        async def run() -> list[Sent]:
            load = Load(port)
            asks = [Ask("lookup", False, b'{"utterance": "m", "user_id": "u%d"}' % n) for n in range(8)]
            try:
                return await load.open_loop(asks, 100.0, 0)
            finally:
                load.close()

        sent = asyncio.run(run())
    assert [s.status for s in sent] == [200] * 8
    assert all(s.modelled for s in sent)
    assert all(s.service_ms is not None and 200 < s.service_ms <= s.latency_ms for s in sent)
    latencies = sorted(s.latency_ms for s in sent)
    assert latencies[-1] > 6 * 200  # the last waited for all before it
    row = summary(sent, 100.0)
    assert row["served_per_s"] == 100.0
    assert row["shed_share"] == 0.0
    assert row["refused_share"] == 0.0
    assert row["service_p99_ms"] <= row["p99_ms"]  # type: ignore[operator]


def test_what_was_decided_without_the_model_is_counted(tmp_path: Path) -> None:
    rules = Rules("b1", {"m": "M"}, modelled=["m"], model_s=2.0)
    with service(tmp_path, rules, model_wait_ms=30.0) as running:
        port = int(running.url.rpartition(":")[2])

        async def run() -> list[Sent]:
            load, asks = Load(port), [Ask("lookup", False, b'{"utterance": "m"}')] * 8
            try:
                first = asyncio.create_task(load.open_loop(asks[:1], 50.0, 0))
                while not running.engine("b1").batches:  # the model is busy from here on
                    await asyncio.sleep(0.01)
                return await load.open_loop(asks[1:], 50.0, 0) + await first
            finally:
                load.close()

        sent = asyncio.run(run())
    assert [s.modelled for s in sent] == [not s.shed for s in sent] == [False] * 7 + [True]
    assert summary(sent, 50.0)["shed_share"] == 7 / 8


def test_the_summary_tells_served_refused_and_failed_apart() -> None:
    ask = Ask("lookup", False, b"{}")
    sent = [Sent(ask, 200, float(n), False, 0.0) for n in range(1, 97)]
    sent[0] = Sent(ask, 200, 1.0, False, 0.0, shed=True)
    sent += [Sent(ask, status, 500.0, True, 0.0) for status in (429, 503, 504, 0)]
    row = summary(sent, 50.0)
    assert (row["refused_share"], row["failed_share"], row["served_per_s"]) == (0.03, 0.01, 48.0)
    assert row["p50_ms"] == pytest.approx(float(np.percentile(range(1, 97), 50)), abs=0.01)
    assert row["model_share"] == 0.0
    assert row["shed_share"] == pytest.approx(1 / 96, abs=1e-4)
    shown = {**row, "system": "reprise", "cpu_ms_per_request": 1.0, "stolen_share": 0.01}
    assert len(serve_runs.line(shown).split()) == len(serve_runs.HEADER.replace(" ms", "").split())


def test_the_plot_is_drawn_for_one_system_or_two(tmp_path: Path) -> None:
    rows = [
        {"system": system, "rate": rate, "p50_ms": 5.0, "p99_ms": None if rate > 5 else 9.0, "served_per_s": rate}
        for system in ("reprise", "generate")
        for rate in (1.0, 10.0)
    ]
    serve_runs.draw({"rows": rows}, tmp_path / "plot.png")
    serve_runs.draw({"rows": rows[:2]}, tmp_path / "one.svg")
    assert (tmp_path / "plot.png").stat().st_size > 1000
