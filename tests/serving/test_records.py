"""The exposure log, the tombstone log and the keys, each by itself."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rewrite.turn import Turn
from serving.cores import cores
from serving.exposures import ExposureLog, read_records, scrub
from serving.holdout import is_held_out, propensity
from serving.keys import Keyring, new_key, read_keys
from serving.lru import Lru
from serving.tombstones import FILE, TombstoneLog


def test_records_are_read_back_across_rotations_in_order(tmp_path: Path) -> None:
    log = ExposureLog(tmp_path, rotate_bytes=100)
    records = [{"n": n, "text": "ü" * 10} for n in range(20)]
    assert all(log.append(record) for record in records)
    assert len(list(tmp_path.glob("*.jsonl"))) > 5
    assert list(read_records(tmp_path)) == records
    log.close()


def test_a_record_is_with_the_system_before_append_returns(tmp_path: Path) -> None:
    log = ExposureLog(tmp_path)
    log.append({"n": 1})
    assert list(read_records(tmp_path)) == [{"n": 1}]  # neither synced nor closed
    log.close()


def test_a_torn_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "exposures-x.jsonl").write_bytes(b'{"n": 1}\n{"n": 2')
    assert list(read_records(tmp_path)) == [{"n": 1}]


def test_a_full_disk_loses_the_record_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = ExposureLog(tmp_path)
    assert log.append({"n": 1})
    write = os.write

    def half(descriptor: int, data: bytes) -> int:
        return write(descriptor, data[: len(data) // 2])

    monkeypatch.setattr(os, "write", half)
    assert not log.append({"n": 2})
    assert log.failing
    monkeypatch.setattr(os, "write", write)
    assert log.append({"n": 3})
    assert log.failing is None
    assert list(read_records(tmp_path)) == [{"n": 1}, {"n": 3}]
    log.close()


def test_scrubbing_takes_a_users_records_and_leaves_all_others(tmp_path: Path) -> None:
    log = ExposureLog(tmp_path, rotate_bytes=200)
    for n in range(20):
        log.append({"n": n, "user_id": f"u{n % 3}", "utterance": "about u1"})
    log.close()
    assert scrub(tmp_path, ["u1"]) == 7
    assert {r["user_id"] for r in read_records(tmp_path)} == {"u0", "u2"}
    assert len(list(read_records(tmp_path))) == 13
    assert scrub(tmp_path, ["u1"]) == 0


def test_orders_survive_and_another_reader_sees_them(tmp_path: Path) -> None:
    log, other = TombstoneLog(tmp_path), TombstoneLog(tmp_path)
    assert [log.forget("u1"), log.block("Play  X"), log.forget("ü\ud800")] == [1, 2, 3]
    assert other.refresh()
    assert other.hidden == log.hidden == TombstoneLog(tmp_path).hidden
    assert log.hidden.users == {"u1": 1, "ü\ud800": 3}
    assert log.hidden.blocked == {"play x"}
    assert other.block("play x", blocked=False) == 4
    assert log.refresh()
    assert log.hidden.blocked == frozenset()
    assert not log.refresh()


def test_a_torn_order_was_never_given_and_is_overwritten(tmp_path: Path) -> None:
    TombstoneLog(tmp_path).forget("u1")
    with (tmp_path / FILE).open("ab") as file:
        file.write(b'{"epoch": 2, "kind": "forg')
    log = TombstoneLog(tmp_path)
    assert log.hidden.users == {"u1": 1}
    assert log.forget("u2") == 2
    assert TombstoneLog(tmp_path).hidden.users == {"u1": 1, "u2": 2}


@pytest.mark.parametrize("damage", [b"nonsense\n", b'{"epoch": 1}\n', b"[]\n"])
def test_a_damaged_tombstone_log_is_refused(tmp_path: Path, damage: bytes) -> None:
    TombstoneLog(tmp_path).forget("u1")
    path = tmp_path / FILE
    path.write_bytes(damage + path.read_bytes())
    with pytest.raises(ValueError, match="is damaged"):
        TombstoneLog(tmp_path)


def test_a_tombstone_log_that_shrank_is_refused(tmp_path: Path) -> None:
    log = TombstoneLog(tmp_path)
    log.forget("u1")
    (tmp_path / FILE).write_bytes(b"")
    with pytest.raises(ValueError, match="became shorter"):
        log.refresh()


def test_an_order_that_does_not_reach_the_disk_is_not_in_force(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = TombstoneLog(tmp_path)
    log.forget("u1")

    def full(*_: object) -> int:
        raise OSError(28, "no space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            log.forget("u2")
    assert log.hidden.users == {"u1": 1} == TombstoneLog(tmp_path).hidden.users
    assert log.forget("u3") == 2


@given(st.text(max_size=20), st.text(max_size=5))
def test_who_is_held_out_is_stable_and_grows_with_the_share(user: str, salt: str) -> None:
    turn = Turn("x", user_id=user)
    assert is_held_out(turn, 0.3, salt) == is_held_out(Turn("y", user_id=user), 0.3, salt)
    assert not is_held_out(turn, 0.0, salt)
    assert is_held_out(turn, 0.3, salt) <= is_held_out(turn, 0.6, salt)


def test_the_share_held_out_is_the_share_asked_for() -> None:
    held = sum(is_held_out(Turn("x", user_id=f"u{n}"), 0.1, "s") for n in range(5000))
    assert 430 < held < 570
    assert is_held_out(Turn("Play  X"), 0.5, "s") == is_held_out(Turn("play x"), 0.5, "s")


def test_propensities_are_of_what_was_done() -> None:
    assert propensity(True, False, 0.02) == pytest.approx(0.98)
    assert propensity(True, True, 0.02) == pytest.approx(0.02)
    assert propensity(False, True, 0.02) == 1.0


def test_keys_open_their_role_alone_and_change_without_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "keys"
    use, use_line = new_key("use", "one")
    admin, admin_line = new_key("admin", "two")
    path.write_text(f"# keys\n{use_line}\n{admin_line}")
    keyring = Keyring(path)
    assert (keyring.name_of(use, "use"), keyring.name_of(admin, "admin")) == ("one", "two")
    assert keyring.name_of(use, "admin") is keyring.name_of(admin, "use") is keyring.name_of("", "use") is None
    assert use not in path.read_text()
    new, new_line = new_key("use", "three")
    path.write_text(new_line + admin_line)
    assert keyring.refresh()
    assert (keyring.name_of(use, "use"), keyring.name_of(new, "use")) == (None, "three")
    path.write_text("nonsense")
    with pytest.raises(ValueError, match="line 1 is no key"):
        keyring.refresh()
    assert keyring.name_of(new, "use") == "three"


@pytest.mark.parametrize("text", ["", "# none\n", "use one abc\n", "root one " + "0" * 64 + "\n", "use " + "0" * 64])
def test_a_file_without_a_proper_key_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "keys").write_text(text)
    with pytest.raises(ValueError, match="key"):
        read_keys(tmp_path / "keys")


def test_a_bounded_map_forgets_what_was_used_longest_ago() -> None:
    kept: Lru[str, int] = Lru(2)
    kept.put("a", 1)
    kept.put("b", 2)
    assert kept.get("a") == 1
    kept.put("c", 3)
    assert (kept.get("b"), kept.get("a"), kept.get("c"), len(kept)) == (None, 1, 3, 2)


@pytest.mark.parametrize(
    ("files", "most"),
    [
        ({"cpu.max": "150000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "max 100000\n"}, 10**6),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, 10**6),
        ({"cpu.max": "nonsense"}, 10**6),
        ({}, 10**6),
    ],
)
def test_no_more_cores_than_the_containers_quota(files: dict[str, str], most: int, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores(tmp_path) == min(most, len(os.sched_getaffinity(0)))


def test_records_hold_what_json_can(tmp_path: Path) -> None:
    log = ExposureLog(tmp_path, fsync_s=0)
    assert log.append({"user_id": "ü\ud800\n", "utterance": "a\nb"})
    (line,) = next(tmp_path.glob("*.jsonl")).read_text().splitlines()
    assert json.loads(line)["user_id"] == "ü\ud800\n"
    log.close()
