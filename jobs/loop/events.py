"""What goes wrong in a simulated life: a bad push, and an attack."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from jobs.world.simulator import DAY_S


@dataclass(frozen=True)
class Events:
    """When what happens, days from the start; None: never."""

    loop_from: int = 6
    attack: int | None = None
    attack_days: int = 3
    shift: int | None = None
    bad_push: float | None = None


def spoil(bundle: Path, out: Path) -> None:
    """Pack a copy of a bundle whose thresholds are gone, as after a fault: it rewrites whatever has a candidate."""
    import json
    import shutil

    from rewrite.bundle import pack

    manifest = json.loads((bundle / "manifest.json").read_text(encoding="utf-8"))

    def write(folder: Path) -> None:
        for name in manifest["files"]:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(bundle / name, folder / name)
        path = folder / "decision" / "decision.json"
        decision = json.loads(path.read_text(encoding="utf-8"))
        gains = dict.fromkeys(decision["thresholds"]["gain"], -1.0)
        decision["thresholds"] = {**decision["thresholds"], "p_fail": 0.0, "gain": gains}
        path.write_text(json.dumps(decision), encoding="utf-8")

    pack(out, write, {"parents": [bundle.name], "figures": {}, "data_window": manifest["data_window"]})


def attack_rows(
    day: int, victims: Sequence[str], target: str, attackers: int, rng: np.random.Generator
) -> list[dict[str, Any]]:
    """Log rows of colluding accounts that pretend, day after day, that what works fails until they say `target`."""
    from datetime import timedelta

    from jobs.world.assistant import interpret
    from jobs.world.simulator import START

    rows = []
    for number in range(attackers):
        for n, victim in enumerate(victims):
            at = day * DAY_S + 3600.0 * (8 + n) + float(rng.uniform(0, 3000))
            for text, second, failed in ((victim, at, True), (target, at + 12.0, False)):
                read = interpret(text)
                rows.append(
                    {
                        "interaction_id": f"x{day:03d}-{number:03d}-{n:02d}-{int(failed)}",
                        "user_id": f"x{number:05d}",
                        "timestamp": START + timedelta(seconds=second),
                        "utterance": text,
                        "asr_confidence": 0.75,
                        "status": "ok",
                        "interrupted": failed,
                        "dwell_s": None if failed else 200.0,
                        "domain": read.domain,
                        "intent": read.intent,
                        "slots": [{"name": name, "value": value} for name, value in read.slots],
                        "nlu_confidence": 0.9,
                        "device": "speaker",
                        "locale": "en-GB",
                    }
                )
    return rows
