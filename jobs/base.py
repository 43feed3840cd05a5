"""Where the base model that ships lies, absent in a build without it; and which pairs it never sees."""

from pathlib import Path

from rewrite.assignment import bucket

BASE = Path(__file__).parent.parent / "rewrite" / "base"
"""Written by `python -m jobs.pretrain`; what `reprise learn` starts from."""

HELD_OUT = 0.25
"""Share of the texts whose pairs `jobs.pretrain` leaves out of every file it is given."""


def held_out(text: str) -> bool:
    """Whether pairs that mean this text are kept for measuring the base model; by a hash, the same everywhere."""
    return bucket(text, "base") < HELD_OUT
