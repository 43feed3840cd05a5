"""`reprise mine`: logs in, tables and stores out."""

from pathlib import Path
from typing import Annotated

import typer


def mine(
    logs: Annotated[list[Path], typer.Argument(help="Parquet or JSON-lines files or folders.")],
    out: Annotated[Path, typer.Option(help="Run directory to write.")],
) -> None:
    """Mine interaction logs on Spark into tables and utterance stores."""
    raise NotImplementedError
