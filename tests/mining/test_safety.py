"""Same input, same bytes; no trace of the forgotten; nobody stands in the tables under their own name."""

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import marisa_trie
import numpy as np
import pyarrow.parquet as pq
import pytest

from jobs.mine import Guard, run
from jobs.rundir import manifest_of
from mining.config import MineConfig
from rewrite.text import personal_key, personal_shard
from tests.mining import logs

pytestmark = pytest.mark.spark

CONFIG = MineConfig(min_users=2, pair_users=2, personal_shards=3, chain_min_success=0.2)
CANARY = "xylophone quokka seventeen"


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    """A log with text that needs Python to be normalised, and one user's canary."""
    made = logs.random_log(7, turns=90, users=4)
    made.append(logs.turn(9000, user_id="u1", utterance="Ｐlay  café\u2019s"))
    made += [logs.turn(9001 + n, user_id="gone", utterance=CANARY, response=f"ok {CANARY}") for n in range(3)]
    return made


@pytest.fixture(scope="module")
def mined(spark: Any, rows: Any, tmp_path_factory: Any) -> Path:
    """A run over the log."""
    folder = tmp_path_factory.mktemp("safety")
    run([logs.write(rows, folder / "log.parquet")], folder / "out", CONFIG)
    return Path(folder / "out")


def test_another_order_partitioning_and_format_gives_the_same_bytes(mined: Path, rows: Any, tmp_path: Path) -> None:
    order = np.random.default_rng(0).permutation(len(rows))
    first, second, third = ([rows[n] for n in some] for some in np.array_split(order, 3))
    logs.write(first, tmp_path / "0.parquet")
    logs.write(second, tmp_path / "1.parquet")
    lines = [
        json.dumps({k: v for k, v in row.items() if v is not None}, default=lambda t: t.isoformat()) for row in third
    ]
    (tmp_path / "2.jsonl").write_text("\n".join(lines) + "\n")
    run([tmp_path / "2.jsonl", tmp_path / "0.parquet", tmp_path / "1.parquet"], tmp_path / "out", CONFIG)
    assert manifest_of(mined)["files"] == manifest_of(tmp_path / "out")["files"]
    assert manifest_of(mined)["inputs"] != manifest_of(tmp_path / "out")["inputs"]


def test_a_second_run_does_nothing_and_another_one_needs_leave(mined: Path, rows: Any) -> None:
    log = mined.parent / "log.parquet"
    before = {p: p.stat().st_mtime_ns for p in mined.rglob("*")}
    assert "nothing to do" in run([log], mined, CONFIG)[0]
    with pytest.raises(ValueError, match="was mined from other inputs or settings"):
        run([log], mined, MineConfig(min_users=3))
    assert before == {p: p.stat().st_mtime_ns for p in mined.rglob("*")}


def test_every_file_is_listed_with_its_digest_and_nothing_else_is_there(mined: Path) -> None:
    from jobs.rundir import sha256

    listed = manifest_of(mined)["files"]
    found = {p.relative_to(mined).as_posix() for p in mined.rglob("*") if p.is_file()}
    assert found == {*listed, "manifest.json", "_SUCCESS"}
    assert all(sha256(mined / name) == entry["sha256"] for name, entry in listed.items())


def test_the_stores_hold_what_the_tables_hold(mined: Path) -> None:
    texts = set(pq.read_table(mined / "utterances")["text"].to_pylist())
    trie = marisa_trie.Trie().load(str(mined / "stores/global/utterances.marisa"))
    assert texts
    assert set(trie.keys()) == texts
    held = 0
    for row in pq.read_table(mined / "personal").to_pylist():
        shard = personal_shard(row["user"], CONFIG.personal_shards)
        store = marisa_trie.RecordTrie("<IIf").load(str(mined / f"stores/personal/shard-{shard:03d}.marisa"))
        [(count, day, rate)] = store[personal_key(row["user"], row["text"])]
        assert (count, day) == (row["count"], (row["last_used"].date() - logs.START.date().replace(1970, 1, 1)).days)
        assert rate == pytest.approx(row["success_rate"], abs=1e-6)
        held += 1
    assert held


def traces(folder: Path, needle: bytes) -> list[str]:
    """Files whose bytes, or whose decoded parquet columns, hold `needle`."""
    found = []
    for path in folder.rglob("*"):
        if not path.is_file():
            continue
        data = path.read_bytes()
        if path.suffix == ".parquet":  # compressed pages: look into the values as well
            data += json.dumps(pq.read_table(path).to_pylist(), default=str, ensure_ascii=False).encode()
        if path.suffix == ".marisa":
            trie = marisa_trie.BytesTrie() if "shard" in path.name else marisa_trie.Trie()
            data += "\n".join(trie.load(str(path)).keys()).encode()
        if needle in data:
            found.append(path.name)
    return found


def test_a_forgotten_user_leaves_no_trace_anywhere(mined: Path, tmp_path: Path) -> None:
    assert traces(mined, CANARY.encode()), "the canary must be found where nobody forgot it"
    run([mined.parent / "log.parquet"], tmp_path / "out", CONFIG, guard=Guard(forgotten=("gone",)))
    assert traces(tmp_path / "out", CANARY.encode()) == []
    assert traces(tmp_path / "out", b"gone") == []
    assert traces(tmp_path / "out", b"u1")


def test_pseudonyms_and_scrubbing_keep_names_and_numbers_out(spark: Any, tmp_path: Path) -> None:
    texts = ["call Zebedee now", "mail zed@site.org please", "wake me at 6 30", "play jazz"]
    rows = [
        logs.turn(n * 40 + k, user_id=f"person{n}", utterance=text, response=f"ok {text}")
        for n in range(3)
        for k, text in enumerate(texts)
    ]
    log = logs.write(rows, tmp_path / "log.parquet")
    guard = Guard(names=("zebedee",), user_key=b"0123456789abcdef")
    config = MineConfig(min_users=2, min_days=1, personal_shards=1, scrub=("email", "number"))
    run([log], tmp_path / "out", config, guard=guard)
    for needle in (b"person1", b"ebedee", b"zed@site", b"6 30", b"0123456789abcdef"):
        assert traces(tmp_path / "out", needle) == []
    said = {row["text"] for row in pq.read_table(tmp_path / "out" / "turns").to_pylist()}
    assert said == {"call <name> now", "mail <email> please", "wake me at <number>", "play jazz"}
    assert pq.read_table(tmp_path / "out" / "utterances")["text"].to_pylist() == ["play jazz"]


def test_a_pseudonym_is_the_hmac_that_python_computes(spark: Any) -> None:
    import hashlib
    import hmac

    from pyspark.sql import functions as F

    from mining.privacy import hmac_sha256

    frame = spark.createDataFrame([("u1",), ("ü",)], "user string")
    for key in (b"k" * 16, b"long" * 40):
        got = [row[0] for row in frame.select(hmac_sha256(key, F.col("user"))).collect()]
        assert got == [hmac.new(key, user.encode(), hashlib.sha256).hexdigest() for user in ("u1", "ü")]


def test_a_rewritten_turn_counts_for_the_rewrite_and_pairs_get_a_verdict(spark: Any, tmp_path: Path) -> None:
    def exposed(n: int, target: str, held: bool, good: bool) -> dict[str, Any]:
        rewrite = {"text": target, "source": "global", "bundle": "b", "propensity": 0.5, "holdout": held}
        outcome = {"status": "ok", "dwell_s": 90.0} if good else {"status": "no_match", "interrupted": True}
        return logs.turn(n, user_id=f"u{n}", utterance="said", rewrite=rewrite, **outcome)

    turns = [exposed(n, "good", False, n < 38) for n in range(40)]
    turns += [exposed(100 + n, "good", True, n >= 20) for n in range(25)]
    turns += [exposed(200 + n, "bad", False, False) for n in range(30)]
    turns += [exposed(300 + n, "bad", True, True) for n in range(20)]
    turns += [exposed(400 + n, "new", False, True) for n in range(3)]
    run([logs.write(turns, tmp_path / "log.parquet")], tmp_path / "out", MineConfig(personal_shards=1))
    rows = pq.read_table(tmp_path / "out" / "rewrite_outcomes").to_pylist()
    found = {row["target"]: row for row in rows}
    assert {target: row["verdict"] for target, row in found.items()} == {
        "good": "keep",
        "bad": "withdraw",
        "new": "watch",
    }
    good = found["good"]
    assert (good["wins"], good["losses"], good["holdout_turns"], good["holdout_wins"]) == (38, 2, 25, 5)
    assert good["users"] == 40
    assert good["gain_lower"] < 38 / 40 - 5 / 25 < good["gain_upper"]
    assert found["new"]["gain_lower"] is None


def test_a_turn_that_was_rewritten_is_nobodys_way_out_and_no_evidence_for_any_text(spark: Any, tmp_path: Path) -> None:
    failed = {"status": "no_match", "interrupted": True}
    rewrite = {"text": "play alien bridges", "source": "global", "bundle": "b", "propensity": 0.9, "holdout": False}

    def story(user: int, rewritten: bool) -> list[dict[str, Any]]:
        """Misheard, said better (and that, for some, rewritten into something else), and content."""
        at, own = 10 * user + 1440 * (user % 3), {"user_id": f"u{user}"}  # over three days
        soon = logs.START + timedelta(minutes=at, seconds=10)
        better = {"rewrite": rewrite} if rewritten else {}
        return [
            logs.turn(at, utterance="play alien ridges", **own, **failed),
            logs.turn(at, interaction_id=f"b{user}", timestamp=soon, utterance="play alien ridge", dwell_s=90.0)
            | own
            | better,
        ]

    turns = [turn for user in range(40) for turn in story(user, rewritten=user >= 20)]
    turns += [
        logs.turn(n, interaction_id=f"c{n}", user_id=f"u{n}", utterance="play alien bridges", dwell_s=90.0)
        for n in range(90, 95)
    ]
    config = MineConfig(min_users=2, min_days=1, pair_users=1, pair_days=1, personal_shards=1, holdback=0)
    run([logs.write(turns, tmp_path / "log.parquet")], tmp_path / "out", config)

    def rows(name: str) -> list[dict[str, Any]]:
        return pq.read_table(tmp_path / "out" / name).to_pylist()

    (pair,) = rows("rewrites")
    assert (pair["source"], pair["target"], pair["users"]) == ("play alien ridges", "play alien ridge", 20)
    assert [row["users"] for row in rows("reformulations")] == [20]
    assert {row["text"]: row["count"] for row in rows("text_outcomes")} == {
        "play alien ridges": 40,
        "play alien ridge": 20,
        "play alien bridges": 5,
    }
    assert {row["user"] for row in rows("personal_rewrites")} == {f"u{user}" for user in range(20)}
    assert {row["user"] for row in rows("personal") if row["text"] == "play alien bridges"} == {
        f"u{n}" for n in range(90, 95)
    }
