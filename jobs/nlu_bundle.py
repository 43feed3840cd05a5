"""NLU bundles: one directory is one model with its card and lineage, verified before use, never changed in place."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from selection.model import Nlu


def refuse_existing(out: Path) -> None:
    """Raises FileExistsError where something is at `out`, before any work is done."""
    if out.exists():
        raise FileExistsError(
            f"{out} exists already and bundles are never changed in place; choose another --out or remove it"
        )


def write_bundle(model: "Nlu", out: Path, facts: Mapping[str, Any], extra: Mapping[str, str] | None = None) -> str:
    """Pack a model; returns the bundle's id.

    Args:
        facts: of the manifest: parents, config, rows, figures.
        extra: file name -> text to lay beside the model.
    """
    from jobs.pretrained import save_model
    from rewrite.bundle import pack

    def write(folder: Path) -> None:
        save_model(model, folder / "model")
        (folder / "README.md").write_text(card(model, facts), encoding="utf-8")
        for name, text in (extra or {}).items():
            (folder / name).write_text(text, encoding="utf-8")

    return pack(out, write, {"kind": "nlu", **facts})


def card(model: "Nlu", facts: Mapping[str, Any]) -> str:
    """The model card."""
    labels = model.labels
    rows = [f"| {k.replace('_', ' ')} | {_number(v)} |" for k, v in facts.get("figures", {}).items() if _plain(v)]
    parameters = sum(p.numel() for p in model.parameters())
    parents: Sequence[str] = facts.get("parents", [])
    return (
        "# NLU\n\nDomain, intent and slots of one utterance; written by Reprise.\n\n"
        f"{len(labels.domains)} domains, {len(labels.intents)} intents, {len(labels.slots)} slots; "
        f"{parameters / 1e6:.1f} M parameters; encoder {model.encoder.facts()['kind']}.\n"
        f"Trained on {facts.get('rows')} rows. Parents: {', '.join(parents) or 'none'}. "
        f"Config: {dict(facts.get('config', {}))}.\n"
        f"Temperatures (domain, intent, slots): {', '.join(f'{float(t):.3f}' for t in model.temperatures)}.\n\n"
        "Figures on rows that were kept back. SemER: errors / (1 intent + slots of the reference), a wrong domain or "
        "intent being one error and a missing, wrong or extra slot another.\n\n"
        "| figure | value |\n|---|---|\n" + "\n".join(rows) + "\n\n"
        "It knows only the labels above, and reads nothing into an utterance but its words.\n"
    )


def _plain(value: object) -> bool:
    return isinstance(value, int | float)


def _number(value: float) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)
