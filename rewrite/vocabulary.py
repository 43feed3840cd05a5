"""Texts to token ids and back: bytes by default, any Hugging Face tokenizer by name or path."""

from collections.abc import Sequence
from typing import Any, ClassVar, Literal, Protocol

Direction = Literal["forward", "channel"]
"""`forward` proposes, P(text | query, turns); `channel` rescores, P(query | text)."""

MAX_TURNS = 2
"""Earlier turns that the forward direction sees, the latest ones."""


class Vocabulary(Protocol):
    """What the generator needs of a vocabulary."""

    pad_id: int
    eos_id: int

    def source(self, direction: Direction, text: str, turns: Sequence[str] = ()) -> list[int]:
        """Encoder input for one text, ending in eos."""

    def target(self, text: str) -> list[int]:
        """Decoder target for one text, ending in eos."""

    def text(self, token_ids: Sequence[int]) -> str:
        """The text of a target, its eos and any padding dropped."""


class ByteVocabulary:
    """UTF-8 bytes, ids as in ByT5 (byte + 3; pad 0, eos 1), so that its checkpoints stay loadable.

    The first three ids that ByT5 keeps as sentinels mark the direction and separate earlier turns.
    """

    pad_id = 0
    eos_id = 1
    size = 264  # 256 bytes, 3 specials and 3 marks, rounded up to a multiple of 8
    _OFFSET = 3
    _MARKS: ClassVar[dict[Direction, int]] = {"forward": 259, "channel": 260}
    _TURN = 261

    def source(self, direction: Direction, text: str, turns: Sequence[str] = ()) -> list[int]:
        """Encoder input: direction mark, earlier turns (forward only), text, eos."""
        ids = [self._MARKS[direction]]
        if direction == "forward":
            for turn in turns[-MAX_TURNS:]:
                ids += [*self._encode(turn), self._TURN]
        return [*ids, *self._encode(text), self.eos_id]

    def target(self, text: str) -> list[int]:
        """Bytes of `text`, then eos."""
        return [*self._encode(text), self.eos_id]

    def text(self, token_ids: Sequence[int]) -> str:
        """Decode a target; bytes that are not valid UTF-8 become U+FFFD."""
        return bytes(i - self._OFFSET for i in token_ids if self._OFFSET <= i < 259).decode(errors="replace")

    def _encode(self, text: str) -> list[int]:
        return [byte + self._OFFSET for byte in text.encode()]


class HubVocabulary:
    """A Hugging Face tokenizer; the direction is told by a short text prefix, turns are joined by a bar."""

    def __init__(self, tokenizer: Any) -> None:
        if tokenizer.eos_token_id is None or tokenizer.pad_token_id is None:
            raise ValueError(
                f"tokenizer {type(tokenizer).__name__} has no end-of-sequence or padding token; expected one of an "
                "encoder-decoder (T5, BART, Pegasus, Marian, ByT5)"
            )
        self.tokenizer = tokenizer
        self.pad_id: int = tokenizer.pad_token_id
        self.eos_id: int = tokenizer.eos_token_id

    def source(self, direction: Direction, text: str, turns: Sequence[str] = ()) -> list[int]:
        """Encoder input: "rewrite: turn | turn | text" or "heard: text"."""
        parts = [*turns[-MAX_TURNS:], text] if direction == "forward" else [text]
        prefix = "rewrite: " if direction == "forward" else "heard: "
        return self._encode(prefix + " | ".join(parts))

    def target(self, text: str) -> list[int]:
        """Tokens of `text`, then eos."""
        return self._encode(text)

    def text(self, token_ids: Sequence[int]) -> str:
        """Decode a target without special tokens."""
        return str(self.tokenizer.decode(token_ids, skip_special_tokens=True)).strip()

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self.tokenizer(text, add_special_tokens=False)["input_ids"]
        return [*ids, self.eos_id]
