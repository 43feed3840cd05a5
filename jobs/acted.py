"""Which text the assistant acted on: what was said, or what a rewrite made of it."""

from typing import Any

import pyarrow as pa

from rewrite.text import normalise


def acted_on(turns: pa.Table) -> tuple[list[str], list[bool]]:
    """The text that the assistant acted on in each turn, normalised, and whether that was a rewrite.

    Args:
        turns: a log, or mining's table of turns, which has both texts already.
    """
    if "effective_text" in turns.column_names:
        said, acted = turns["text"].to_pylist(), turns["effective_text"].to_pylist()
    else:
        said = [normalise(text or "") for text in turns["utterance"].to_pylist()]
        made = turns["rewrite"].to_pylist() if "rewrite" in turns.column_names else [None] * len(said)
        acted = [_rewritten(rewrite) or text for rewrite, text in zip(made, said, strict=True)]
    return [a or "" for a in acted], [a != s for a, s in zip(acted, said, strict=True)]


def _rewritten(rewrite: dict[str, Any] | None) -> str:
    """What a turn was rewritten to; empty where it was not, or was held out."""
    return "" if rewrite is None or rewrite.get("holdout") else normalise(rewrite.get("text") or "")


def as_said(turns: pa.Table) -> pa.Table:
    """The turns that were not rewritten: what became of the others says nothing about the text that was said."""
    return turns.filter(pa.array([not shown for shown in acted_on(turns)[1]]))
