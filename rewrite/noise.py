"""An error channel learned from pairs: what was said to what was heard, for synthesising noisy queries.

Fitted by one alignment of every pair: whole words first (insert, delete, replace blocks), characters inside replaced
blocks.
Every text of the catalogue can then be given queries, also those that nobody has reformulated yet.
Source: confusion counts as in Brill & Moore (2000), here over word blocks backed off to single characters.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from rapidfuzz import fuzz, process
from rapidfuzz.distance import Levenshtein

_BLOCK_WORDS = 3
"""Longest replaced block that is kept as a confusion of its own."""


class _Weighted:
    """A Counter frozen for sampling: keys in a stable order, cumulative weights."""

    def __init__(self, counts: Counter[str]) -> None:
        self.keys = sorted(counts)
        weights = np.array([counts[k] for k in self.keys], dtype=np.float64)
        self.total = float(weights.sum())
        self._cumulative = np.cumsum(weights)

    def draw(self, rng: np.random.Generator) -> str:
        row = int(np.searchsorted(self._cumulative, rng.random() * self.total, side="right"))
        return self.keys[min(row, len(self.keys) - 1)]


@dataclass
class _Counts:
    blocks: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    characters: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    inserted: Counter[str] = field(default_factory=Counter)
    edits: Counter[str] = field(default_factory=Counter)
    heard: Counter[str] = field(default_factory=Counter)


class ErrorChannel:
    """Samples what a recogniser would make of a text.

    Args:
        pairs: (heard, meant) texts: mined reformulations.
        heard_texts: further recognised texts, whose words are the recogniser's vocabulary.
    """

    def __init__(self, pairs: Iterable[tuple[str, str]], heard_texts: Iterable[str] = ()) -> None:
        counts = _count(pairs)
        for text in heard_texts:
            counts.heard.update(text.split())
        self._blocks = {meant: _Weighted(heard) for meant, heard in counts.blocks.items()}
        self._characters = {c: _Weighted(heard) for c, heard in counts.characters.items()}
        self._inserted = _Weighted(counts.inserted) if counts.inserted else None
        self._edits = _Weighted(counts.edits) if counts.edits else _Weighted(Counter({"replace": 1}))
        self._words = sorted(counts.heard)
        self._near: dict[str, list[str]] = {}

    def sample(self, text: str, rng: np.random.Generator) -> str:
        """A noisy version of `text`, nearly always different from it; never empty where `text` is not."""
        words = text.split()
        if not words:
            return text
        for _ in range(1 + rng.geometric(0.6) // 2):
            words = self._edit(words, rng) or words
        heard = " ".join(words)
        return heard if heard != text else self._character_noise(text, rng)

    def light(self, text: str, rng: np.random.Generator) -> str:
        """A lightly edited copy: one or two random character edits (for the first minutes of training)."""
        characters = list(text)
        for _ in range(int(rng.integers(0, 3))):
            at = int(rng.integers(len(characters))) if characters else 0
            kind = rng.random()
            if kind < 0.34 and len(characters) > 1:
                del characters[at]
            elif characters:
                characters[at] = chr(int(rng.integers(97, 123))) + (characters[at] if kind < 0.67 else "")
        return "".join(characters)

    def _edit(self, words: list[str], rng: np.random.Generator) -> list[str]:
        kind = self._edits.draw(rng)
        at = int(rng.integers(len(words)))
        if kind == "delete" and len(words) > 1:
            return words[:at] + words[at + 1 :]
        if kind == "insert" and self._inserted is not None:
            return [*words[:at], self._inserted.draw(rng), *words[at:]]
        length = min(1 + int(rng.integers(_BLOCK_WORDS)), len(words) - at)
        for width in range(length, 0, -1):
            block = self._blocks.get(" ".join(words[at : at + width]))
            if block is not None and rng.random() < block.total / (block.total + 1):
                return [*words[:at], *block.draw(rng).split(), *words[at + width :]]
        return [*words[:at], *self._mishear(words[at], rng).split(), *words[at + 1 :]]

    def _mishear(self, word: str, rng: np.random.Generator) -> str:
        """A word of the recogniser's vocabulary that is near, or the word with its characters corrupted."""
        if self._words and rng.random() < 0.6:
            near = self._near.get(word)
            if near is None:
                found = process.extract(word, self._words, scorer=fuzz.ratio, limit=9)
                near = self._near[word] = [w for w, score, _ in found if w != word and score >= 40]
            if near:
                return near[int(rng.triangular(0, 0, len(near)))]
        return self._character_noise(word, rng)

    def _character_noise(self, text: str, rng: np.random.Generator, rate: float = 0.4) -> str:
        out = []
        for character in text:
            channel = self._characters.get(character)
            out.append(channel.draw(rng) if channel is not None and rng.random() < rate else character)
        return " ".join("".join(out).split()) or text


def _count(pairs: Iterable[tuple[str, str]]) -> _Counts:
    counts = _Counts()
    for heard, meant in pairs:
        heard_words, meant_words = heard.split(), meant.split()
        counts.heard.update(heard_words)
        for op in Levenshtein.opcodes(meant_words, heard_words):
            meant_block, heard_block = meant_words[op.src_start : op.src_end], heard_words[op.dest_start : op.dest_end]
            _count_block(counts, op.tag, meant_block, heard_block)
    return counts


def _count_block(counts: _Counts, tag: str, meant: Sequence[str], heard: Sequence[str]) -> None:
    if tag == "equal":
        return
    counts.edits[tag] += 1
    if tag == "insert":
        counts.inserted.update(heard)
    elif tag == "replace":
        meant_text, heard_text = " ".join(meant), " ".join(heard)
        if len(meant) <= _BLOCK_WORDS and len(heard) <= _BLOCK_WORDS + 1:
            counts.blocks[meant_text][heard_text] += 1
        for op in Levenshtein.opcodes(meant_text, heard_text):
            _count_characters(counts, meant_text[op.src_start : op.src_end], heard_text[op.dest_start : op.dest_end])


def _count_characters(counts: _Counts, meant: str, heard: str) -> None:
    """What stands for each character: the first takes all that was heard, the others nothing."""
    if meant != heard:
        for at, character in enumerate(meant):
            counts.characters[character][heard if at == 0 else ""] += 1
