"""Which files a log is made of, and a first look at their columns, without Spark."""

import gzip
import json
import zlib
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path

_JSON = (".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz")

_MAGIC = b"PAR1"

HEAD = 50
"""First lines of a JSON log whose keys are taken for all."""


def expand(path: Path) -> list[Path]:
    """The log files at `path`, sorted: itself, or all that a folder holds.

    Raises:
        ValueError: nothing is there.
    """
    if path.is_file():
        return [path]
    if not path.exists():
        raise ValueError(f"{path}: no such file or folder; expected parquet or JSON-lines logs")
    found = sorted(p for p in path.rglob("*") if p.is_file() and not p.name.startswith(("_", ".")))
    if not found:
        raise ValueError(f"{path}: the folder holds no file; expected parquet or JSON-lines logs")
    return found


def is_json(file: Path) -> bool:
    """Whether a file's name is one of JSON lines, compressed or not."""
    return file.name.endswith(_JSON)


def parquet_files(paths: list[Path]) -> list[Path] | None:
    """The files at `paths` where all are parquet, for whoever reads them without Spark; else None."""
    files = [file for path in paths for file in expand(path)]
    return None if any(is_json(file) for file in files) else with_rows(files)


def with_rows(files: list[Path]) -> list[Path]:
    """`files` without the parquet files of no rows: an export of nothing may have no types either."""
    return [file for file in files if is_json(file) or _rows(file) != 0]


def _rows(file: Path) -> int | None:
    """Rows of a parquet file; None where whoever reads it has to say what is wrong with it."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return int(pq.read_metadata(file).num_rows)
    except (OSError, pa.ArrowException):
        return None


def check_formats(path: Path) -> None:
    """Refuse what is neither parquet nor JSON lines by its name and its first lines, in a folder, too.

    Raises:
        ValueError: such a file, or there is no line at all.
    """
    files = expand(path)
    found = [_has_lines(file) for file in files if is_json(file)]
    if len(found) == len(files) and not any(found):
        raise ValueError(f"{path}: empty; expected JSON lines, one turn each; did its export fail?")
    for file in files:
        if not is_json(file) and _begins(file) != _MAGIC:
            raise ValueError(
                f"{file}: cannot be read as parquet: it does not begin as such; expected parquet, or "
                f"JSON lines named {', '.join(_JSON[:3])} (or those with .gz), and nothing else in a folder of logs"
            )


def _has_lines(file: Path) -> bool:
    """Whether a file of JSON lines holds any.

    Raises:
        ValueError: none of its first lines is an object, so it is another format.
    """
    try:
        head = list(islice(_lines(file), HEAD))
    except (OSError, EOFError, zlib.error) as error:
        cause = "cut off, or not what its name says?"
        raise ValueError(f"{file}: cannot be read ({error}); expected JSON lines; {cause}") from error
    if head and not any(_is_object(line) for line in head):
        is_array = head[0].lstrip().startswith(b"[")
        cause = "is it one array? `jq -c '.[]'` makes lines of it" if is_array else "another format?"
        raise ValueError(f"{file}: not JSON lines; got {head[0].strip()[:40]!r}; expected one object a line; {cause}")
    return bool(head)


def _is_object(line: bytes) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except ValueError:
        return False


def _begins(file: Path) -> bytes:
    with file.open("rb") as opened:
        return opened.read(len(_MAGIC))


def columns(path: Path) -> dict[Path, list[str]]:
    """What columns each parquet file at `path` has by its footer, and JSON lines together by their first lines; nothing
    of a file without a row to tell or one that cannot be read: whoever reads all of it says that better.
    """
    files = expand(path)
    parts = {file: [file] for file in files if not is_json(file)}
    if lines := [file for file in files if is_json(file)]:
        parts[path] = lines
    return {where: names for where, of in parts.items() if (names := _columns(of)) is not None}


def _columns(files: list[Path]) -> list[str] | None:
    try:
        return _keys(files) if is_json(files[0]) else _footer(files[0])
    except (OSError, ValueError, EOFError, zlib.error):
        return None


def _footer(file: Path) -> list[str]:
    import pyarrow.parquet as pq

    return list(pq.read_schema(file).names)


def _keys(files: Iterable[Path]) -> list[str] | None:
    head = list(islice((line for file in files for line in _lines(file)), HEAD))
    return sorted({key for line in head for key in _parsed(line)}) if head else None


def _lines(file: Path) -> Iterator[bytes]:
    with gzip.open(file) if file.name.endswith(".gz") else file.open("rb") as lines:
        yield from (line for line in lines if line.strip())


def _parsed(line: bytes) -> Iterable[str]:
    try:
        row = json.loads(line)
    except ValueError:
        return ()
    return row if isinstance(row, dict) else ()
