"""Text normalisation and key formats: the one leaf that every room may import (standard library only)."""

import hashlib
import re
import unicodedata

MAX_CHARS = 500
"""Longest utterance that is ever kept, in characters after normalising."""

USER_SEPARATOR = "\u241f"
"""Stands between user and text in the keys of a personal store (never part of a normalised text)."""

_SPACE = re.compile(r"\s+")
_DROPPED = frozenset({"Cc", "Cf", "Cs", "Co", "Cn"})


def normalise(text: str) -> str:
    """Return `text` in the one form that tables, stores and tries hold.

    NFKC, lower case, straight apostrophes, control, format and bidi characters and lone surrogates removed, white space
    collapsed. Punctuation stays. Empty stays empty.
    """
    folded = unicodedata.normalize("NFKC", text).replace("\u2019", "'").lower()
    kept = (c for c in folded if c.isspace() or (c != USER_SEPARATOR and unicodedata.category(c) not in _DROPPED))
    # dropping a character can bring two together that compose
    return _SPACE.sub(" ", unicodedata.normalize("NFKC", "".join(kept)).lower()).strip()


def can_be_key(user_id: str) -> bool:
    """Whether a user id can stand in the keys of a personal store: no NUL, no separator, valid Unicode."""
    return not any(c in "\0" + USER_SEPARATOR or "\ud800" <= c <= "\udfff" for c in user_id)


def personal_key(user_id: str, text: str) -> str:
    """Key of one user's text in a personal store."""
    return f"{user_id}{USER_SEPARATOR}{text}"


def personal_shard(user_id: str, shards: int) -> int:
    """Shard number in [0, shards) that holds `user_id`: stable across machines and Python versions."""
    return int(hashlib.sha256(user_id.encode(errors="surrogatepass")).hexdigest()[:8], 16) % shards
