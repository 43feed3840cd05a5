"""How texts sound: metaphone codes, word by word."""

from functools import lru_cache

import jellyfish


@lru_cache(maxsize=200_000)
def word_code(word: str) -> str:
    """Metaphone code of one word; empty where it has no letter that is spoken."""
    return str(jellyfish.metaphone(word))


@lru_cache(maxsize=200_000)
def phonetic(text: str) -> str:
    """Metaphone codes of the words, joined."""
    return " ".join(map(word_code, text.split()))
