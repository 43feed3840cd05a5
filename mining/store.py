"""Marisa stores of both spaces: the global texts, and each user's own. No Spark in here: executors call it."""

from collections.abc import Iterable
from pathlib import Path

import marisa_trie

from rewrite.text import personal_key

PERSONAL_FORMAT = "<IIf"
"""Value of a personal text: count, day of last use (since 1970-01-01), success rate."""

PersonalRow = tuple[str, str, int, int, float]
"""user, text, count, last_used_day, success_rate"""


def global_trie(texts: Iterable[str]) -> "marisa_trie.Trie":
    """The global space as a trie; the same texts give the same bytes in any order."""
    return marisa_trie.Trie(sorted(texts))


def personal_trie(rows: Iterable[PersonalRow]) -> "marisa_trie.RecordTrie":
    """One shard of the personal space, keyed user and text."""
    records = ((personal_key(user, text), (count, day, rate)) for user, text, count, day, rate in sorted(rows))
    return marisa_trie.RecordTrie(PERSONAL_FORMAT, records)


def personal_shard_bytes(rows: Iterable[PersonalRow]) -> bytes:
    """A shard as the bytes of its file: what an executor sends instead of a file on a disk that nobody else sees."""
    trie = personal_trie(rows)
    return bytes(trie.tobytes())


def write_global(texts: Iterable[str], path: Path) -> None:
    """Write the global store to `path`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    global_trie(texts).save(str(path))


def shard_name(shard: int) -> str:
    """File name of one personal shard."""
    return f"shard-{shard:03d}.marisa"


def write_personal(shards: Iterable[tuple[int, bytes]], shard_count: int, folder: Path) -> None:
    """Write every shard under `folder`; shards that nobody fell into are written empty."""
    folder.mkdir(parents=True, exist_ok=True)
    seen = set()
    for shard, data in shards:
        (folder / shard_name(shard)).write_bytes(data)
        seen.add(shard)
    empty = personal_shard_bytes([])
    for shard in set(range(shard_count)) - seen:
        (folder / shard_name(shard)).write_bytes(empty)
