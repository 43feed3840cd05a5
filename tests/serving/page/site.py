"""A registry with bundles, runs and hostile utterances, and the page served over it."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rewrite.bundle import pack
from rewrite.registry import Registry
from serving.config import ServeConfig
from serving.keys import new_key
from tests.serving.fakes import Rules, Running, open_rules, write_rules

HOSTILE = (
    "<img src=x onerror=document.title='owned'>",
    "</script><script>document.title='owned'</script>",
    "{{ 7*7 }} <b hx-get='/page/runs' hx-trigger='load'>",
    "play \u202egpj.exe",
)
PAIRS = {"play alien bridges": "play ancient bridges", "turn on the chicken light": "turn on the kitchen light"}
TEXTS = ["play ancient bridges", "play jazz", "play jazz in the kitchen", "stop", "turn on the kitchen light"]


def pair(source: str, target: str, count: int = 9) -> dict[str, Any]:
    return {
        "source": source, "target": target, "reach": 0.9, "success": 0.9, "worth": 0.8, "lower_bound": 0.6,
        "users": 6, "days": 4, "count": count, "source_count": 20, "source_defect_rate": 0.7, "evidence_id": "e1",
    }  # fmt: skip


def make_bundle(folder: Path, texts: list[str], pairs: dict[str, str], figures: dict[str, float]) -> Path:
    known = [
        {"text": t, "domain": "music", "intent": "play", "slots": [], "users": 7, "days": 5, "count": 40,
         "success_rate": 0.96, "success_lower": 0.9} for t in texts
    ]  # fmt: skip
    outcomes = [{"text": t, "users": 6, "count": 12, "defect_rate": 0.8} for t in pairs]

    def write(part: Path) -> None:
        (part / "global").mkdir()
        tables = {"utterances": known, "rewrites": [pair(*p) for p in pairs.items()], "text_outcomes": outcomes}
        for name, rows in tables.items():
            pq.write_table(pa.Table.from_pylist(rows), part / "global" / f"{name}.parquet")
        write_rules(part / "rules.json", Rules("b", shared=pairs))

    window = {"first": "2026-03-01T00:00:00+00:00", "last": "2026-03-28T00:00:00+00:00"}
    pack(folder, write, {"parents": [], "figures": figures, "data_window": window})
    return folder


def arm(treated: float, control: float) -> dict[str, Any]:
    around = [{"value": v, "low": v - 0.01, "high": v + 0.01, "clusters": 200} for v in (treated, control)]
    gap = treated - control
    change = {"value": gap, "low": gap - 0.015, "high": gap + 0.015}
    return {
        "treated": around[0], "control": around[1], "change": change, "against": "holdout", "enough_users": True,
        "always_valid": {**change, "p_value": 0.002}, "harm": False,
    }  # fmt: skip


def report(day: int, bundle: str | None, failing: list[str]) -> dict[str, Any]:
    gate = {"group": "quality", "name": "harm", "value": 0.01 if failing else 0.001, "threshold": 0.005,
            "bound": "at most", "note": HOSTILE[0], "verdict": "fail" if failing else "pass"}  # fmt: skip
    shown = {"source": "play alien bridges", "target": "play ancient bridges", "wins": 40, "losses": 3, "users": 12,
             "gain_low": 0.2, "gain_high": 0.7, "verdict": "keep"}  # fmt: skip
    group = {"group": "device", "value": "phone", **arm(0.1, 0.15)}
    return {
        "run": f"run{day}", "verdict": "a gate failed" if failing else "published", "bundle": bundle,
        "released": None if failing else "champion", "champion_before": None, "failing": failing, "gates": [gate],
        "window": {"first": "2026-03-01T00:00", "last": f"2026-03-{day:02d}T00:00"},
        "steps": [{"name": "mine", "key": "k1"}],
        "experiment": {
            "turns": 4000, "arms": {"champion": arm(0.10 + day / 1000, 0.15)}, "groups": [group], "pairs": [shown],
            "sample_ratio": {"users": {"holdout": 20, "champion": 400}, "p_value": 0.4, "sound": True},
        },
    }  # fmt: skip


def make_registry(root: Path, hostile: bool = False) -> Path:
    """Two bundles and three runs; with `hostile`, utterances that try to be more than text."""
    registry = Registry(root)
    pairs = {**PAIRS, **({h.lower(): "stop" for h in HOSTILE} if hostile else {})}
    first = registry.publish(
        make_bundle(root / "a", TEXTS[:3], {"play alien bridges": "play jazz"}, {"harm": 0.002, "right_of_known": 0.7})
    )
    second = registry.publish(make_bundle(root / "b", TEXTS, pairs, {"harm": 0.001, "right_of_known": 0.8}))
    registry.promote(first, by="run1", reason="gates passed")
    registry.promote(second, by="run2", reason=HOSTILE[1] if hostile else "gates passed")
    for day, bundle, failing in ((26, first, []), (27, second, []), (28, None, ["quality: harm is 0.01"])):
        folder = root / "runs" / f"run{day}"
        folder.mkdir(parents=True)
        (folder / "report.json").write_text(json.dumps(report(day, bundle, failing)))
    shutil.rmtree(root / "a")
    shutil.rmtree(root / "b")
    return root


class Explaining:
    """A rule engine that also says what it considered."""

    def __init__(self, path: str) -> None:
        self._engine = open_rules(path)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._engine, name)

    def attempt(self, job: Any, memo: Any) -> Any:
        answer = self._engine.attempt(job, memo)
        if not job.explain or answer.text is None:
            return answer
        candidate = {"text": answer.text, "space": "global", "sources": ["lookup"], "p_right": 0.9,
                     "gain": 0.7, "features": {"tie": 3.0}, "evidence": {"pair_users": 6},
                     "path": ["play ", "ancient bridges"]}  # fmt: skip
        return replace(answer, candidates=(candidate,))


@contextmanager
def site(folder: Path, registry: Path | None, keyed: bool = False) -> Iterator[tuple[Running, str]]:
    """The page over a registry, or over a bare bundle where that is None; yields it and an admin's key, if any."""
    secret, settings = "", {"registry": registry}
    if registry is None:
        settings = {"bundle": write_rules(folder / "b1.json", Rules("b1", shared=PAIRS))}
    if keyed:
        secret, line = new_key("admin", "olga")
        use, use_line = new_key("use", "ulf")
        (folder / "keys").write_text(line + use_line)
        settings["keys"] = folder / "keys"
        (folder / "use").write_text(use)
    defaults: dict[str, Any] = {"holdout_share": 0.0, "grace_s": 0.0, "deadline_ms": 5000.0, "watch_s": 0.05}
    running = Running(ServeConfig(state=folder / "state", **settings, **defaults), Explaining)
    running.start()
    try:
        yield running, secret
    finally:
        running.stop()
