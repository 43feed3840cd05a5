"""Which text the assistant acted on: what was said, or what a rewrite made of it."""

import pyarrow as pa

from rewrite.text import normalise


def acted_on(turns: pa.Table) -> tuple[list[str], list[bool]]:
    """The text that the assistant acted on in each turn, and whether that was a rewrite."""
    if "effective_text" not in turns.column_names:
        said = [normalise(text or "") for text in turns["utterance"].to_pylist()]
        return said, [False] * len(said)
    said, acted = turns["text"].to_pylist(), turns["effective_text"].to_pylist()
    return [a or "" for a in acted], [a != s for a, s in zip(acted, said, strict=True)]


def as_said(turns: pa.Table) -> pa.Table:
    """The turns that were not rewritten: what became of the others says nothing about the text that was said."""
    return turns.filter(pa.array([not shown for shown in acted_on(turns)[1]]))
