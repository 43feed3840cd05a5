"""What an experiment's report asks for, and doing it: roll back, stop the challenger, withdraw pairs."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rewrite.disk import append_line, read_lines
from rewrite.registry import Registry

WITHDRAWN = "withdrawn.jsonl"


@dataclass(frozen=True)
class Action:
    """One thing to do, and why: `roll back` and `stop challenger` name the bundle, `withdraw` a pair."""

    kind: str
    why: str
    bundle: str = ""
    source: str = ""
    target: str = ""


def actions(report: Mapping[str, Any]) -> list[Action]:
    """What the bounds call for; nothing where the split of users is unsound, as then no figure can be trusted, but a
    pair that harms is withdrawn in any case.
    """
    found = []
    sound = report["sample_ratio"]["sound"]
    for name, kind in (("champion", "roll back"), ("challenger", "stop challenger")):
        result = report["arms"].get(name)
        if sound and result is not None and result["harm"]:
            low = result["always_valid"]["low"]
            why = f"CPDR is at least {100 * low:.2f} points higher than under {result['against']}"
            found.append(Action(kind, why, report[name] or ""))
        elif sound and name in report["sure_texts"] and report["sure_texts"][name]["harm"]:
            low = report["sure_texts"][name]["always_valid"]["low"]
            why = f"texts that go well when left alone fail in at least {100 * low:.2f} % more of their turns"
            found.append(Action(kind, why, report[name] or ""))
    for pair in report["pairs"]:
        if pair["verdict"] == "withdraw":
            why = f"success is at least {100 * -pair['gain_high']:.0f} points lower than without it"
            found.append(Action("withdraw", why, "", pair["source"], pair["target"]))
    return found


def urgent(report: Mapping[str, Any]) -> list[Action]:
    """Those of `actions` that cannot wait for the night: about bundles, not about single pairs, for which the judgement
    of the hour is too rough.
    """
    return [action for action in actions(report) if action.kind != "withdraw"]


def act(registry: Registry, wanted: list[Action], by: str) -> list[str]:
    """Do what is asked, once: what has been done already is left out. Returns a line for each thing done.

    A champion is rolled back only while it is still the one that the report speaks of, and never to a bundle that was
    itself rolled back: that one is known to be worse.
    """
    done = []
    for action in wanted:
        if action.kind == "roll back" and registry.resolve("champion") == action.bundle:
            done.append(_roll_back(registry, action.why, by))
        elif action.kind == "stop challenger" and registry.resolve("challenger") == action.bundle:
            registry.point("challenger", None, by=by, reason=action.why)
            done.append(f"challenger {action.bundle} stopped: {action.why}")
        elif action.kind == "withdraw" and (action.source, action.target) not in withdrawn(registry.root):
            append_line(
                registry.root / WITHDRAWN,
                {"source": action.source, "target": action.target, "by": by, "why": action.why},
            )
            done.append(f"withdrawn: {action.source!r} → {action.target!r}: {action.why}")
    return done


def _roll_back(registry: Registry, why: str, by: str) -> str:
    if registry.resolve("previous") in {None, *condemned(registry)}:
        return f"NOT rolled back, as no other bundle is known to be better; promote one, or stop the service: {why}"
    return f"rolled back to {registry.rollback(by=by, reason=why)}: {why}"


def condemned(registry: Registry) -> set[str]:
    """Bundles that were rolled back and not promoted since."""
    found: set[str] = set()
    for entry in registry.history():
        if entry["event"] == "promote":
            found.discard(entry["bundle"])
        elif entry["event"] == "rollback" and entry.get("before"):
            found.add(entry["before"])
    return found


def withdrawn(root: Path) -> set[tuple[str, str]]:
    """Pairs that may not be made any more, (source, target)."""
    return {(line["source"], line["target"]) for line in read_lines(root / WITHDRAWN)}
