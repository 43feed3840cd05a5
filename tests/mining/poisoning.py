"""A simulator of colluding users, and what it costs them to push one bad pair: `python -m tests.mining.poisoning`.

Each attack is s users who ask for what others ask for, act as if it had failed, say the bad text and act content.
Attacks of every size and pattern run in one log, each on a text of its own; floors are then compared on its tables.
"""

import sys
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from tests.mining import logs

SIZES = (1, 2, 3, 4, 5, 6, 8)
PATTERNS = ("one day", "two days", "flood")
"""All on one day; on two days; on two days, twenty times each."""

ALPHABET = ("amber", "birch", "cedar", "delta", "ember", "fjord", "grove", "heron", "islet", "jolly", "koala", "lemon")


@dataclass(frozen=True)
class Attack:
    """s users pushing `bad` for `wanted`."""

    size: int
    pattern: str

    @property
    def number(self) -> int:
        """Its place among all attacks."""
        return SIZES.index(self.size) * len(PATTERNS) + PATTERNS.index(self.pattern)

    @property
    def wanted(self) -> str:
        """What honest users ask for."""
        return f"open the {ALPHABET[self.number % 12]} {ALPHABET[(self.number * 5 + self.number // 12) % 12]} playlist"

    @property
    def bad(self) -> str:
        """What the attackers want everybody to get instead."""
        return f"open the {ALPHABET[self.number % 12]} {ALPHABET[(self.number * 5 + self.number // 12) % 12]} adverts"

    @property
    def turns(self) -> int:
        """Turns that the attackers spend."""
        return self.size * 2 * {"one day": 1, "two days": 2, "flood": 40}[self.pattern]


ATTACKS = tuple(Attack(size, pattern) for size in SIZES for pattern in PATTERNS)


def simulate(seed: int = 0, honest: int = 12, days: int = 4) -> list[logs.Row]:
    """Honest users who ask for every wanted text and get it nine times in ten, and every attack."""
    rng = np.random.default_rng(seed)
    rows: list[logs.Row] = []

    def say(user: str, when: Any, text: str, good: bool) -> None:
        failed = {"status": "no_match", "interrupted": True, "nlu_confidence": 0.2, "asr_confidence": 0.4}
        fine = {"status": "ok", "interrupted": False, "dwell_s": 90.0, "nlu_confidence": 0.9, "asr_confidence": 0.95}
        rows.append(logs.turn(len(rows), user_id=user, timestamp=when, utterance=text, **(fine if good else failed)))

    for user in range(honest):
        for attack in ATTACKS:
            when = logs.START + timedelta(days=int(rng.integers(days)), minutes=15 * attack.number + user)
            say(f"honest{user}", when, attack.wanted, rng.random() < 0.9)
    for attack in ATTACKS:
        for user in range(attack.size):
            for day in range(1 if attack.pattern == "one day" else 2):
                for again in range(20 if attack.pattern == "flood" else 1):
                    when = logs.START + timedelta(days=day, minutes=2 * again, seconds=7 * user)
                    say(f"liar{attack.number}-{user}", when, attack.wanted, False)
                    say(f"liar{attack.number}-{user}", when + timedelta(seconds=11), attack.bad, True)
    return rows


def mined(folder: Path) -> tuple[dict[Any, Any], dict[Any, Any]]:
    """rewrites by pair and global texts, with no floors but those that cannot be turned off afterwards."""
    from jobs.mine import run
    from mining.config import MineConfig

    floorless = MineConfig(
        min_users=1, min_days=1, pair_users=1, pair_days=1, chain_min_success=0.3, holdback=0.0, personal_shards=1
    )
    run([logs.write(simulate(), folder / "log.parquet")], folder / "out", floorless)
    pairs = {(row["source"], row["target"]): row for row in pq.read_table(folder / "out" / "rewrites").to_pylist()}
    return pairs, {row["text"]: row for row in pq.read_table(folder / "out" / "utterances").to_pylist()}


def succeeds(attack: Attack, pairs: Any, texts: Any, pair_users: int, min_users: int, min_days: int) -> bool:
    """Whether the bad pair would be in force under these floors: looked up, and its target in the global space."""
    pair, text = pairs.get((attack.wanted, attack.bad)), texts.get(attack.bad)
    if pair is None or text is None:
        return False
    enough = pair["users"] >= pair_users and text["users"] >= min_users
    return bool(enough and min(pair["days"], text["days"]) >= min_days)


FLOORS = ((1, 1, 1), (2, 3, 2), (2, 5, 2), (5, 5, 2))
"""pair_users, min_users, min_days."""


def table(pairs: Any, texts: Any) -> str:
    """The cheapest attack that succeeds, by floors and pattern: colluding users and the turns they spend."""
    lines = ["pair users  users  days | " + "  ".join(f"{p:>18s}" for p in PATTERNS)]
    for floors in FLOORS:
        cells = []
        for pattern in PATTERNS:
            won = [a for a in ATTACKS if a.pattern == pattern and succeeds(a, pairs, texts, *floors)]
            cells.append(f"{won[0].size} users {won[0].turns:4d} turns" if won else "none succeeded")
        lines.append(f"{floors[0]:10d} {floors[1]:6d} {floors[2]:5d} | " + "  ".join(f"{c:>18s}" for c in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        sys.stdout.write(table(*mined(Path(temporary))) + "\n")
