"""Small files of every kind that the NLU's commands read, made from the grammar."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from selection.examples import Utterance
from tests.selection.grammar import ROOMS, utterances


def row(utterance: Utterance, **other: Any) -> dict[str, Any]:
    slots = [{"name": name, "value": value} for name, value in utterance.slots]
    return {"domain": utterance.domain, "intent": utterance.intent, "slots": slots, **other}


def write_parquet(path: Path, rows: list[dict[str, Any]]) -> Path:
    pq.write_table(pa.Table.from_pylist(rows), path)
    return path


def train_file(folder: Path) -> Path:
    """Labelled rows; the two with `secret` are for nobody's training."""
    rows = [row(u, text=u.text, secret=False) for u in utterances() * 2]
    hidden = [Utterance("hush now", "alarm", "alarm_stop"), Utterance("lights out", "home", "light_off")]
    return write_parquet(folder / "train.parquet", rows + [row(u, text=u.text, secret=True) for u in hidden])


def held_out_file(folder: Path) -> Path:
    """Rows that a model trained on the grammar reads wrong, and some that it reads right."""
    wrong = [Utterance(f"turn it hush in the {room}", "alarm", "alarm_stop") for room in (*ROOMS, "garden", "loft")]
    return write_parquet(folder / "held.parquet", [row(u, text=u.text) for u in [*wrong, *utterances()[::4]]])


def stream_file(folder: Path) -> Path:
    """Recordings of sentences with what an NLU said of them."""
    rows = []
    for sentence in range(60):
        said = utterances()[sentence % len(utterances())]
        heard = said.text if sentence % 3 else f"hush {said.text}"
        guess = said if sentence % 5 else utterances()[0]
        for _ in range(2):
            rows.append(
                row(said, recognised=heard, sentence_id=sentence, nlu_intent=guess.intent, nlu_slots=row(said)["slots"])
            )
    return write_parquet(folder / "stream.parquet", rows)


def mined_folder(folder: Path) -> Path:
    """The two tables of a mining run that selection reads."""
    mined = folder / "mined"
    turns, pairs = [], []
    for at, text in enumerate(
        ["hush", "turn it hush in the room", "be quiet in the hall", "play red sun by mika", "hush hush"]
    ):
        intent, domain = ("play", "music") if "play" in text else ("alarm_stop", "alarm")
        pairs.append({"source": f"x{at}", "target": text, "kind": "rewording" if at != 4 else "new"})
        turns += [
            {
                "text": text,
                "user_id": f"u{user}",
                "asr_confidence": 0.9 if at != 2 else 0.3,
                "domain": domain,
                "intent": intent,
                "slots": [],
                "defect_probability": 0.05 if user else 0.9,
                "rewrite": None,
            }
            for user in range(4)
        ]
    (mined / "turns").mkdir(parents=True)
    (mined / "reformulations").mkdir()
    slots = pa.list_(pa.struct([("name", pa.string()), ("value", pa.string())]))
    table = pa.Table.from_pylist(turns)
    at = table.schema.get_field_index("slots")
    pq.write_table(table.set_column(at, "slots", pa.array([[] for _ in turns], slots)), mined / "turns" / "a.parquet")
    write_parquet(mined / "reformulations" / "a.parquet", pairs)
    (mined / "manifest.json").write_text(json.dumps({"version": 1}))
    (mined / "_SUCCESS").touch()
    return mined
