"""What is known besides the model: the global space, each user's own texts, mined look-up, and how often texts fail.

`Knowledge` is built from mining's tables (for learning, in memory) or opened from a bundle (marisa stores,
memory-mapped).
"""

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import marisa_trie
import pyarrow as pa
import pyarrow.parquet as pq

from rewrite.sequels import NONE, SCHEMA, Sequels
from rewrite.text import USER_SEPARATOR, can_be_key, personal_key, personal_shard
from rewrite.turn import Reading

SHARDS = 16


@dataclass(frozen=True)
class KnownText:
    """A text of the global space with what its users got from it (rates in [0, 1])."""

    text: str
    reading: Reading
    users: int
    days: int
    count: int
    success_rate: float
    success_lower: float


@dataclass(frozen=True)
class OwnText:
    """A text of one user's own that succeeded for them; `last_used_s` is Unix time, seconds."""

    text: str
    reading: Reading
    count: int
    last_used_s: float
    success_rate: float


@dataclass(frozen=True)
class Pair:
    """A mined reformulation of a source, with its evidence. Own pairs carry only target and count."""

    target: str
    worth: float = 0.0
    lower_bound: float = 0.0
    users: int = 0
    days: int = 0
    count: int = 0
    source_count: int = 0
    source_defect_rate: float = 0.0
    evidence_id: str = ""


@dataclass(frozen=True)
class Outcome:
    """How often a text failed, over all users."""

    users: int
    count: int
    defect_rate: float


@dataclass(frozen=True)
class Own:
    """Everything that belongs to one user: texts by text, pairs by source."""

    texts: Mapping[str, OwnText] = field(default_factory=dict)
    pairs: Mapping[str, list[Pair]] = field(default_factory=dict)


class Personal:
    """Own texts and own pairs of every user, in memory."""

    def __init__(self, owns: Mapping[str, Own]) -> None:
        self._owns = owns

    def of(self, user_id: str | None) -> Own:
        """What belongs to `user_id`; empty for a user without history."""
        return self._owns.get(user_id, _NOBODY) if user_id is not None else _NOBODY

    def users(self) -> Iterable[str]:
        """Users with anything of their own, in a stable order."""
        return sorted(self._owns)


_NOBODY = Own()


class PersonalStore:
    """Own texts and pairs in a bundle: sharded marisa tries, keys user ␟ text and user ␟ source ␟ target."""

    def __init__(self, folder: Path) -> None:
        paths = sorted(folder.glob("shard-*.marisa"))
        self._shards = [marisa_trie.BytesTrie().mmap(str(path)) for path in paths]

    def of(self, user_id: str | None) -> Own:
        """What belongs to `user_id`; empty for a user without history or an id that cannot be a key."""
        if user_id is None or not self._shards or not can_be_key(user_id):
            return _NOBODY
        shard = self._shards[personal_shard(user_id, len(self._shards))]
        texts: dict[str, OwnText] = {}
        pairs: dict[str, list[Pair]] = {}
        prefix = user_id + USER_SEPARATOR
        for key, payload in shard.items(prefix):
            value = json.loads(payload)
            source, _, target = key[len(prefix) :].partition(USER_SEPARATOR)
            if target:
                pairs.setdefault(source, []).append(Pair(target, count=value))
            else:
                count, last_used_s, success_rate, domain, intent, slots = value
                reading = Reading.of(domain, intent, [tuple(s) for s in slots])
                texts[source] = OwnText(source, reading, count, last_used_s, success_rate)
        return Own(texts, pairs)


def write_personal(personal: Personal, folder: Path, shards: int = SHARDS) -> None:
    """Write the shards that `PersonalStore` opens; the same content gives the same bytes."""
    entries: list[list[tuple[str, bytes]]] = [[] for _ in range(shards)]
    for user in filter(can_be_key, personal.users()):
        own, shard = personal.of(user), entries[personal_shard(user, shards)]
        for t in own.texts.values():
            slots = sorted(t.reading.slots)
            value = [t.count, t.last_used_s, round(t.success_rate, 6), t.reading.domain, t.reading.intent, slots]
            shard.append((personal_key(user, t.text), _json(value)))
        for source, pairs in own.pairs.items():
            shard += [(personal_key(user, source) + USER_SEPARATOR + p.target, _json(p.count)) for p in pairs]
    folder.mkdir(parents=True, exist_ok=True)
    for number, shard in enumerate(entries):
        marisa_trie.BytesTrie(sorted(shard)).save(str(folder / f"shard-{number:03d}.marisa"))


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


class Knowledge:
    """All that decisions draw on besides the model.

    Attributes:
        known: the global space, by text. texts: its texts, sorted. look_up: mined pairs by source, best first.
        outcomes: by text. personal: own texts and pairs by user. sequels: what people did after a text had failed.
    """

    def __init__(
        self,
        known: dict[str, KnownText],
        look_up: dict[str, list[Pair]],
        outcomes: dict[str, Outcome],
        personal: Personal | PersonalStore,
        sequels: Sequels = NONE,
    ) -> None:
        self.known = known
        self.texts = sorted(known)
        self.look_up = look_up
        self.outcomes = outcomes
        self.personal = personal
        self.sequels = sequels

    @classmethod
    def from_tables(cls, tables: Mapping[str, pa.Table]) -> "Knowledge":
        """Build from mining's `utterances`, `rewrites`, `text_outcomes`, `personal` and `personal_rewrites`; and from
        `sequels`, where there is such a table.
        """
        return cls(
            _known(tables["utterances"]),
            _look_up(tables["rewrites"]),
            _outcomes(tables["text_outcomes"]),
            Personal(_owns(tables["personal"], tables["personal_rewrites"])),
            Sequels.of(tables["sequels"]) if "sequels" in tables else NONE,
        )

    def in_force(self, text: str, own: Own) -> KnownText | OwnText | None:
        """The text as the user's own, else as one of the global space; None where it is neither."""
        return own.texts.get(text) or self.known.get(text)

    @classmethod
    def load(cls, folder: Path) -> "Knowledge":
        """Open a bundle's knowledge; personal shards are memory-mapped, the rest is read."""
        read = {name: pq.read_table(folder / "global" / f"{name}.parquet") for name in _GLOBAL_TABLES}
        return cls(
            _known(read["utterances"]),
            _look_up(read["rewrites"]),
            _outcomes(read["text_outcomes"]),
            PersonalStore(folder / "personal"),
            Sequels.of(read["sequels"]),
        )


_GLOBAL_TABLES = ("utterances", "rewrites", "text_outcomes", "sequels")


def write_knowledge(tables: Mapping[str, pa.Table], folder: Path) -> None:
    """Write what `Knowledge.load` opens, from the tables that `Knowledge.from_tables` takes."""
    (folder / "global").mkdir(parents=True, exist_ok=True)
    given = {"sequels": SCHEMA.empty_table(), **tables}
    for name in _GLOBAL_TABLES:
        pq.write_table(given[name], folder / "global" / f"{name}.parquet", compression="zstd")
    texts = sorted(tables["utterances"]["text"].to_pylist())
    marisa_trie.Trie(texts).save(str(folder / "global" / "utterances.marisa"))
    write_personal(Personal(_owns(tables["personal"], tables["personal_rewrites"])), folder / "personal")


def _known(table: pa.Table) -> dict[str, KnownText]:
    return {
        r["text"]: KnownText(
            r["text"],
            Reading.of(r["domain"], r["intent"], r["slots"]),
            r["users"],
            r["days"],
            r["count"],
            r["success_rate"],
            r["success_lower"],
        )
        for r in table.to_pylist()
    }


def _look_up(table: pa.Table) -> dict[str, list[Pair]]:
    names = (
        "target",
        "worth",
        "lower_bound",
        "users",
        "days",
        "count",
        "source_count",
        "source_defect_rate",
        "evidence_id",
    )
    found: dict[str, list[Pair]] = {}
    for r in table.to_pylist():
        found.setdefault(r["source"], []).append(Pair(*(r[name] for name in names)))
    for pairs in found.values():
        pairs.sort(key=lambda p: (-p.lower_bound, -p.worth, p.target))
    return found


def _outcomes(table: pa.Table) -> dict[str, Outcome]:
    return {r["text"]: Outcome(r["users"], r["count"], r["defect_rate"]) for r in table.to_pylist()}


def _owns(personal: pa.Table, rewrites: pa.Table) -> dict[str, Own]:
    texts: dict[str, dict[str, OwnText]] = {}
    for r in personal.to_pylist():
        reading = Reading.of(r["domain"], r["intent"], r["slots"])
        used = math.floor(r["last_used"].timestamp())
        own = OwnText(r["text"], reading, r["count"], used, r["success_rate"])
        texts.setdefault(r["user"], {})[r["text"]] = own
    pairs: dict[str, dict[str, list[Pair]]] = {}
    for r in rewrites.to_pylist():
        pairs.setdefault(r["user"], {}).setdefault(r["source"], []).append(Pair(r["target"], count=r["count"]))
    return {user: Own(texts.get(user, {}), pairs.get(user, {})) for user in sorted(texts.keys() | pairs.keys())}
