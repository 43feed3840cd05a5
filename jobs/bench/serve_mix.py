"""What the load asks for: look-up hits, and misheard forms of users' own texts and of the global space's.

A misheard form is made by typing errors, so it stands in no table. Of these a share was never asked before; the rest
comes from a pool that is asked once before the clock starts, as a service that has been up for a while has seen them.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

KINDS = ("lookup", "personal", "global")
LETTERS = np.array(list("abcdefghijklmnopqrstuvwxyz "))


@dataclass(frozen=True)
class Mix:
    """Share of each kind, adding up to 1; of the misheard ones, the share never asked before; the size of the pool."""

    lookup: float = 0.4
    personal: float = 0.3
    shared: float = 0.3
    fresh: float = 0.2
    pool: int = 400
    edits: int = 3


@dataclass(frozen=True)
class Ask:
    """One request: its kind, whether it is fresh, and its body."""

    kind: str
    fresh: bool
    body: bytes


class Asker:
    """Draws requests from what a bundle holds."""

    def __init__(self, bundle: Path, mix: Mix, seed: int) -> None:
        """Read the bundle's tables.

        Raises:
            ValueError: it has nothing to ask for.
        """
        self._mix = mix
        self._rng = np.random.default_rng(seed)
        self._weighted = _texts(bundle)
        missing = [kind for kind in KINDS if not self._weighted[kind][0] and self._share(kind) > 0]
        if missing:
            raise ValueError(
                f"{bundle} has nothing to ask for of the kinds {missing}; set their shares to 0 with --mix"
            )
        kinds = [kind for kind in KINDS[1:] if self._share(kind) > 0]
        self._pool = {kind: [self._misheard(kind, fresh=False) for _ in range(mix.pool)] for kind in kinds}

    def pool(self) -> Iterator[Ask]:
        """What was asked before the clock starts: the whole pool, and every look-up source once."""
        for kind in self._pool:
            yield from self._pool[kind]
        for user, text in self._weighted["lookup"][0]:
            yield Ask("lookup", False, _body(text, user))

    def draw(self, count: int) -> list[Ask]:
        """`count` requests."""
        kinds = self._rng.choice(len(KINDS), size=count, p=[self._share(kind) for kind in KINDS])
        heard = self._rng.uniform(0.3, 0.8, size=count).tolist()
        return [_heard_again(self._one(KINDS[row]), c) for row, c in zip(kinds, heard, strict=True)]

    def _one(self, kind: str) -> Ask:
        if kind == "lookup":
            user, text = self._text(kind)
            return Ask(kind, False, _body(text, user))
        if self._rng.random() < self._mix.fresh:
            return self._misheard(kind, fresh=True)
        return self._pool[kind][self._rng.integers(len(self._pool[kind]))]

    def _share(self, kind: str) -> float:
        return {"lookup": self._mix.lookup, "personal": self._mix.personal, "global": self._mix.shared}[kind]

    def _text(self, kind: str) -> tuple[str | None, str]:
        texts, weights = self._weighted[kind]
        return texts[int(self._rng.choice(len(texts), p=weights))]

    def _misheard(self, kind: str, fresh: bool) -> Ask:
        user, text = self._text(kind)
        letters = list(text)
        for _ in range(self._mix.edits):
            letters[self._rng.integers(len(letters))] = str(self._rng.choice(LETTERS))
        return Ask(kind, fresh, _body("".join(letters), user))


def _body(text: str, user: str | None, confidence: float = 0.5) -> bytes:
    body: dict[str, Any] = {"utterance": text, "asr_confidence": confidence}
    return json.dumps(body if user is None else {**body, "user_id": user}).encode()


def _heard_again(ask: Ask, confidence: float) -> Ask:
    """The same request, recognised with another confidence."""
    body = json.loads(ask.body)
    return Ask(ask.kind, ask.fresh, _body(body["utterance"], body.get("user_id"), confidence))


def _texts(bundle: Path) -> dict[str, tuple[list[tuple[str | None, str]], np.ndarray]]:
    """By kind: (user, text) and the probability of each, by how often it was said."""
    from rewrite.spaces import Knowledge

    knowledge = Knowledge.load(bundle)
    sources = [((None, s), pairs[0].source_count + 1.0) for s, pairs in sorted(knowledge.look_up.items())]
    shared = [((None, t), float(knowledge.known[t].count)) for t in knowledge.texts]
    return {"lookup": _drawn(sources), "personal": _drawn(_own(bundle)), "global": _drawn(shared)}


def _own(bundle: Path) -> list[tuple[tuple[str | None, str], float]]:
    """Every user's own texts with their counts, read off the personal stores."""
    import marisa_trie

    from rewrite.text import USER_SEPARATOR

    found: list[tuple[tuple[str | None, str], float]] = []
    for path in sorted((bundle / "personal").glob("shard-*.marisa")):
        for key, payload in marisa_trie.BytesTrie().mmap(str(path)).items():
            user, *texts = key.split(USER_SEPARATOR)
            if len(texts) == 1:  # two are a pair of source and target
                found.append(((user, texts[0]), float(json.loads(payload)[0])))
    return found


def _drawn(
    weighted: Sequence[tuple[tuple[str | None, str], float]],
) -> tuple[list[tuple[str | None, str]], np.ndarray]:
    weights = np.array([weight for _, weight in weighted])
    return [text for text, _ in weighted], weights / weights.sum() if len(weights) else weights
