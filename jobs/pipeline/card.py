"""A bundle's model card, from its manifest and gate report."""

from collections.abc import Mapping, Sequence
from typing import Any


def card(facts: Mapping[str, Any], gates: Sequence[Mapping[str, Any]], replayed: Mapping[str, Any]) -> str:
    """The README.md of a bundle.

    Args:
        facts: the learned manifest with `run` and `parents`.
        gates: as `Gate.as_dict` gives them.
        replayed: what `evaluate` wrote.
    """
    window = facts["data_window"]
    parents = ", ".join(facts["parents"]) or "none"
    lines = [
        "# Bundle",
        "",
        "Rewrites requests of an assistant that would likely fail into requests that worked for others or for the "
        "same user. For use through `reprise serve` or `reprise rewrite`; not for anything that ranks people.",
        "",
        f"- learned from the log of {window['first']} to {window['last']}, by run {facts['run']}",
        f"- champion at that time: {parents}",
        f"- generator: {facts['config']['steps']} training steps, seed {facts['config']['seed']}",
        "- what it knows of a user comes from that user's own turns; what it offers to all worked for several users",
        "",
        "## Gates",
        "",
        "| group | gate | value | threshold | verdict |",
        "|---|---|---|---|---|",
        *(_row(gate) for gate in gates),
        "",
        "## On held-back turns",
        "",
        "The same turns that the decision was fitted on, judged by the log's own signals and not by people; "
        "out-of-fold figures are under Gates.",
        "",
        "| figure | value | 95 % interval over users |",
        "|---|---|---|",
        *(_figure(name, e) for name, e in replayed["figures"].items()),
        "",
        "## Limits",
        "",
        "A log shows only failures that users let on; those who give up in silence are not seen. Figures are of the "
        "users in the log window; other devices, languages and catalogues were not tried.",
    ]
    return "\n".join(lines) + "\n"


def _row(gate: Mapping[str, Any]) -> str:
    value = "not measured" if gate["value"] is None else f"{gate['value']:.4g}"
    value = f"{value} ({gate['note']})" if gate["value"] is None and gate["note"] else value
    return (
        f"| {gate['group']} | {gate['name']} | {value} | {gate['bound']} {gate['threshold']:.4g} | {gate['verdict']} |"
    )


def _figure(name: str, e: Mapping[str, float | None]) -> str:
    values = ["-" if e[part] is None else f"{e[part]:.4f}" for part in ("value", "low", "high")]
    return f"| {name.replace('_', ' ')} | {values[0]} | {values[1]} to {values[2]} |"
