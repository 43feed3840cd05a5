"""Where the base model that ships lies; absent in a build without it."""

from pathlib import Path

BASE = Path(__file__).parent.parent / "rewrite" / "base"
"""Written by `python -m jobs.pretrain`; what `reprise learn` starts from."""
