"""What keeps one person from being exposed by mining, or trusted too much: pseudonyms, scrubbing, forgetting."""

import hashlib

from pyspark.sql import Column, DataFrame
from pyspark.sql import functions as F

SCRUBBERS = {
    "email": (r"(?i)\b[\w.+-]+(@| at )[\w-]+(\.| dot )[a-z]{2,}\b", "<email>"),
    "number": (r"\d[\d .,/-]*\d|\d", "<number>"),
}
"""Patterns that `--scrub` can take out of utterances, and what stands there instead."""

_BLOCK = 64
"""Bytes of one block of SHA-256."""


def hmac_sha256(key: bytes, text: Column) -> Column:
    """HMAC-SHA256 of a string column as 64 hexadecimal digits, from native functions only. Source: RFC 2104."""
    padded = (hashlib.sha256(key).digest() if len(key) > _BLOCK else key).ljust(_BLOCK, b"\0")
    inner, outer = (F.lit(bytes(byte ^ pad for byte in padded)) for pad in (0x36, 0x5C))
    return F.sha2(F.concat(outer, F.unhex(F.sha2(F.concat(inner, text.cast("binary")), 256))), 256)


def with_pseudonyms(rows: DataFrame, key: bytes) -> DataFrame:
    """`rows` with every user_id replaced by its keyed hash: without the key nobody can test a guess."""
    return rows.withColumn("user_id", hmac_sha256(key, F.col("user_id")))


def without_users(rows: DataFrame, users: DataFrame) -> DataFrame:
    """`rows` less those of the users named in `users` (one column, user_id), and less what nobody can be asked about.

    A line that cannot be parsed may be theirs: its text is dropped with the rest of the line, by the caller.
    """
    return rows.join(F.broadcast(users), "user_id", "left_anti").select(*rows.columns)


def scrubbed(rows: DataFrame, kinds: tuple[str, ...], names: tuple[str, ...] = ()) -> DataFrame:
    """`rows` with e-mail addresses, numbers and listed names taken out of what was said, heard and answered.

    A text with a gap in it can never become a rewrite: `<` and `>` mark it, and the spaces leave such texts out.

    Raises:
        ValueError: an unknown kind.
    """
    unknown = sorted(set(kinds) - set(SCRUBBERS))
    if unknown:
        raise ValueError(f"cannot scrub {unknown}; expected some of {sorted(SCRUBBERS)}")
    patterns = [SCRUBBERS[kind] for kind in kinds]
    if names:
        listed = "|".join(_quoted(name) for name in sorted(names, key=lambda n: (-len(n), n)))
        patterns.append((rf"(?iu)\b(?:{listed})\b", "<name>"))
    for name in ("utterance", "response"):
        rows = rows.withColumn(name, _replaced(F.col(name), patterns))
    rows = rows.withColumn("asr_nbest", F.transform("asr_nbest", lambda text: _replaced(text, patterns)))
    values = F.transform(
        "slots", lambda s: F.struct(s["name"].alias("name"), _replaced(s["value"], patterns).alias("value"))
    )
    return rows.withColumn("slots", values)


def _quoted(name: str) -> str:
    return "".join(c if c.isalnum() or c == " " else f"\\{c}" for c in name)


def _replaced(text: Column, patterns: list[tuple[str, str]]) -> Column:
    for pattern, mark in patterns:
        text = F.regexp_replace(text, pattern, mark)
    return text


GAP = "<(email|number|name)>"
"""What a scrubbed text can be known by."""
