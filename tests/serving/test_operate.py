"""The operator's levers, and what the service does when its disk or its bundle is bad."""

import logging
import re
import socket
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog
from typer.testing import CliRunner

from jobs import logs
from jobs.cli import app, main
from rewrite.registry import Registry
from rewrite.turn import Turn
from serving.config import ServeConfig
from serving.exposures import ExposureLog, read_records
from serving.holdout import is_held_out
from serving.keys import Keyring, new_key
from serving.server import check_address
from serving.state import StateInUse, state_folder
from serving.tombstones import TombstoneLog
from tests.serving.conftest import WORLD
from tests.serving.fakes import Rules, Running, following, publish, service

Admin = tuple[Running, dict[str, str]]
HELD = next(f"h{n}" for n in range(1000) if is_held_out(Turn("x", user_id=f"h{n}"), 0.02, "reprise"))


def records(folder: Path) -> list[dict[str, Any]]:
    return [r for r in read_records(folder / "state" / "exposures") if r["kind"] == "decision"]


def test_serving_a_registry_that_is_not_there_says_what_will_happen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("serving.server.run", lambda *_: None)
    serve = ["serve", "--state", str(tmp_path / "state"), "--registry"]
    told = CliRunner().invoke(app, [*serve, str(tmp_path / "reg")]).stderr
    assert f"{tmp_path / 'reg'}: no such registry yet; every turn is left alone until it has a champion" in told
    assert f"`reprise run LOGS --registry {tmp_path / 'reg'}` makes one" in told
    assert "holds no bundles, so is no registry yet" in CliRunner().invoke(app, [*serve, str(tmp_path)]).stderr
    (tmp_path / "made" / "bundles").mkdir(parents=True)
    assert CliRunner().invoke(app, [*serve, str(tmp_path / "made")]).stderr == ""


def test_it_says_that_it_listens_only_once_it_does(tmp_path: Path) -> None:
    class Hasty(Running):
        def _started(self, app: Any, port: int) -> None:
            socket.create_connection(("127.0.0.1", port), 5).close()
            super()._started(app, port)

    running = Hasty(ServeConfig(registry=tmp_path / "registry", state=tmp_path / "state")).start(ready=False)
    running.stop()


@pytest.mark.parametrize(
    ("command", "sentence"),
    [
        (["serve", "--bundle", "nowhere"], "no bundle; got nowhere"),
        (["serve", "--registry", ".", "--device", "gpu"], "no such device; got 'gpu'; expected auto, cpu or cuda"),
        (["experiment", "watch", "log.parquet", "--registry", "nowhere"], "no registry; got nowhere"),
        (["mine", "log.parquet", "--out", "mined", "--kinds", "nonsense"], "no model of follow-ups; got nonsense"),
        (
            ["serve", "--bundle", "mined"],
            "mined is not a bundle but a run of `reprise mine`; `reprise learn mined --out",
        ),
        (["serve", "--bundle", "reg"], "reg is not a bundle but a registry; name one of its bundles, reg/bundles/ID"),
        (["explain", "x", "--bundle", "file"], "file is not a bundle: it is a file"),
        (["explain", "x", "--bundle", "demo"], "demo is not a bundle but holds one; name that: demo/bundle"),
        (["explain", "x", "--bundle", "gone"], "gone is not a bundle: nothing is there"),
        (["rewrite", "file", "--bundle", "mined", "--out", "o"], "mined is not a bundle but a run of `reprise mine`"),
        (["rewrite", "file", "--bundle", "mined", "--out", "reg"], "--out is a folder; got reg"),
        (["learn", "learned", "--out", "o"], "learned is no finished run of `reprise mine`: it is a bundle; were two"),
        (["learn", "file", "--out", "o"], "a log is mined first: `reprise mine file --out MINED`"),
        (["experiment", "report", "learned", "--registry", "reg"], "no table turns; got learned; expected the folder"),
        (["run", "file", "--registry", "reg", "--model", "scratch"], "a generator from random weights needs training"),
        (["run", "file", "--registry", "reg", "--mlflow", "http://m"], "--mlflow needs the package mlflow"),
        (["serve", "--bundle", "."], "no bundle; got . without manifest.json"),
        (["explain", "x", "--bundle", "mined"], "mined is not a bundle but a run of `reprise mine`"),
        (["serve", "--registry", "file"], "--registry is a file; got file"),
        (["serve", "--registry", "mined"], "--registry is no registry; got mined, a run of `reprise mine`"),
        (["bundles", "list", "--registry", "mined"], "--registry is no registry; got mined, a run of `reprise mine`"),
    ],
)
def test_what_is_not_there_is_refused_by_name(
    command: list[str], sentence: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    (tmp_path / "reg" / "bundles").mkdir(parents=True)
    (tmp_path / "mined").mkdir()
    (tmp_path / "demo" / "bundle").mkdir(parents=True)
    (tmp_path / "demo" / "bundle" / "manifest.json").touch()
    (tmp_path / "learned" / "decision").mkdir(parents=True)
    for name in ("manifest.json", "_SUCCESS"):
        (tmp_path / "mined" / name).write_text("{}")
    monkeypatch.setattr("serving.server.run", lambda *_: None)
    found = CliRunner().invoke(app, command)
    assert found.exit_code != 0
    assert sentence in str(found.exception)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({}, r"cannot listen; got --host 127.0.0.1 --port \d+ \(Address already in use\); .* --port 0 takes any"),
        ({"keys": Path("nowhere")}, "no file of keys; got nowhere; expected one that `reprise serve-key` wrote"),
        ({"state": Path(__file__), "port": 0}, r"--state is a file; got .*test_operate.py; expected a folder"),
    ],
)
def test_what_serving_cannot_begin_with_is_one_sentence_and_exit_code_2(
    settings: dict[str, object], sentence: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        given = {"registry": tmp_path, "state": tmp_path / "state", "port": taken.getsockname()[1], **settings}
        line = [word for name, value in given.items() for word in (f"--{name}", str(value))]
        with pytest.raises(SystemExit) as ended:
            main(["serve", *line])
    assert ended.value.code == 2
    (told,) = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error: ")]
    assert re.search(sentence, told)
    assert not (tmp_path / "state").exists()


def test_a_key_is_needed_where_keys_are_set_and_each_opens_its_own_routes(admin: Admin, tmp_path: Path) -> None:
    running, operator = admin
    assert running.text("play alien bridges") == "play ancient bridges"
    assert running.client.post("/v1/rewrite", json={"utterance": "x"}, headers=operator).status_code == 401
    assert running.client.get("/v1/blocklist").status_code == 401
    assert running.client.get("/v1/blocklist", headers=operator).json() == {"blocked": []}
    assert running.client.get("/livez", headers={"authorization": ""}).status_code == 200
    secret, line = new_key("use", "next")
    (tmp_path / "keys").write_text(line)
    time.sleep(0.3)
    assert running.rewrite("x").status_code == 401
    del running.client.headers["authorization"]
    assert running.client.post("/v1/rewrite", json={"utterance": "x"}, headers={"x-api-key": secret}).status_code == 200


def test_a_forgotten_user_has_nothing_of_their_own_from_the_next_turn_on(admin: Admin, tmp_path: Path) -> None:
    running, operator = admin
    assert running.text("call mum", "ann") == "call mum mobile"
    assert running.client.delete("/v1/users/ann", headers=operator).json() == {"epoch": 1}
    assert running.text("call mum", "ann") is None
    assert running.text("call mum", "bob") == "call mum at work"
    assert "call mum" not in {
        r["utterance"] for r in records(tmp_path) if r["user_id"] == "ann" and r["rewrite"]["text"]
    }
    for epoch, odd in enumerate(("a%2Fb%3Fc", "%0Aa", "a%0A"), 2):
        assert running.client.delete(f"/v1/users/{odd}", headers=operator).json() == {"epoch": epoch}
    assert {"a/b?c", "\na", "a\n"} <= running.service.tombstones.hidden.users.keys()


def test_a_blocked_text_never_comes_out_until_it_is_allowed_again(admin: Admin) -> None:
    running, operator = admin
    text = "Play Ancient  bridges"
    assert running.client.post("/v1/blocklist", json={"text": text}, headers=operator).json() == {"epoch": 1}
    assert running.text("play alien bridges") is None
    assert running.client.get("/v1/blocklist", headers=operator).json() == {"blocked": ["play ancient bridges"]}
    assert running.client.post("/v1/blocklist", json={"text": "\u200b"}, headers=operator).status_code == 422
    lifted = running.client.post("/v1/blocklist", json={"text": text, "blocked": False}, headers=operator)
    assert lifted.status_code == 200
    assert running.text("play alien bridges") == "play ancient bridges"


def test_a_pinned_pair_is_made_until_it_is_lifted_and_never_to_a_blocked_text(admin: Admin) -> None:
    running, operator = admin
    pair = {"source": "Play  Alien bridges", "target": "stop"}
    assert running.client.post("/v1/pins", json=pair).status_code == 401
    assert running.client.post("/v1/pins", json=pair, headers=operator).json() == {"epoch": 1}
    assert running.client.get("/v1/pins", headers=operator).json() == {"pins": {"play alien bridges": "stop"}}
    answer = running.rewrite("play alien bridges").json()
    assert (answer["rewrite"], answer["reason"], answer["confidence"]) == ("stop", "pinned", 1.0)
    running.client.post("/v1/blocklist", json={"text": "stop"}, headers=operator)
    assert running.text("play alien bridges") == "play ancient bridges"
    same = {"source": "stop", "target": " STOP "}
    assert running.client.post("/v1/pins", json=same, headers=operator).status_code == 422
    lifted = running.client.post("/v1/pins", json={"source": pair["source"]}, headers=operator)
    assert lifted.json() == {"epoch": 3}
    assert running.client.get("/v1/pins", headers=operator).json() == {"pins": {}}


def test_a_pin_is_remembered_and_a_damaged_one_is_refused(tmp_path: Path) -> None:

    TombstoneLog(tmp_path).pin("a", "b")
    assert TombstoneLog(tmp_path).hidden.pinned == {"a": "b"}
    with pytest.raises(ValueError, match="nothing to pin; got 'a' and 'A'"):
        TombstoneLog(tmp_path).pin("a", "A")
    with (tmp_path / "tombstones.jsonl").open("a") as file:
        file.write('{"epoch": 2, "kind": "pin", "value": "a"}\n')
    with pytest.raises(ValueError, match="is damaged"):
        TombstoneLog(tmp_path)


def test_orders_given_beside_the_service_act_on_its_next_turn(tmp_path: Path) -> None:

    with service(tmp_path, WORLD) as running:
        assert running.text("call mum", "ann") == "call mum mobile"
        beside = TombstoneLog(tmp_path / "state")
        beside.forget("ann")
        beside.block("play ancient bridges")
        assert running.text("call mum", "ann") is None
        assert running.text("play alien bridges") is None


def test_orders_survive_a_restart_until_a_build_has_heeded_them(tmp_path: Path) -> None:
    with service(tmp_path, WORLD) as running:
        running.service.tombstones.forget("ann")
        running.service.tombstones.block("play ancient bridges")
    with service(tmp_path, WORLD) as running:
        assert running.text("call mum", "ann") is None
        assert running.text("play alien bridges") is None
    heeded = Rules("b2", WORLD.shared, WORLD.own, deletion_epoch=2)
    with service(tmp_path, heeded) as running:
        assert running.text("call mum", "ann") == "call mum mobile"  # said again since then
        assert running.text("play alien bridges") is None


def test_every_decision_is_on_record_in_the_terms_of_the_log(tmp_path: Path) -> None:
    with service(tmp_path, WORLD, holdout_share=0.02) as running:
        shown = running.rewrite("play alien bridges", "zoe", interaction_id="i1").json()
        held = running.rewrite("play alien bridges", HELD, interaction_id="i2").json()
        left = running.rewrite("stop", "zoe", interaction_id="i3").json()
    assert (shown["rewrite"], held["rewrite"], left["rewrite"]) == ("play ancient bridges", None, None)
    assert held["reason"] == "holdout"
    found = records(tmp_path)
    assert [(r["interaction_id"], r["request_id"], r["user_id"]) for r in found] == [
        ("i1", shown["request_id"], "zoe"),
        ("i2", held["request_id"], HELD),
        ("i3", left["request_id"], "zoe"),
    ]
    text = "play ancient bridges"
    assert [r["rewrite"] for r in found] == [
        {"text": text, "source": "global", "bundle": "b1", "propensity": 0.98, "holdout": False},
        {"text": text, "source": "global", "bundle": "b1", "propensity": 0.02, "holdout": True},
        {"text": None, "source": None, "bundle": "b1", "propensity": 1.0, "holdout": False},
    ]


def test_what_cannot_be_recorded_is_not_done_until_there_is_room_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with service(tmp_path, WORLD) as running:
        with monkeypatch.context() as patched:
            patched.setattr(ExposureLog, "_write", full)
            found = running.rewrite("play alien bridges").json()
            assert (found["rewrite"], found["reason"]) == (None, "not_recorded")
            assert running.rewrite("stop").status_code == 200
            assert running.client.post("/v1/feedback", json={"request_id": "r", "status": "ok"}).status_code == 503
            assert 'reprise_exposure_records_total{outcome="lost"} 3.0' in running.client.get("/metrics").text
            assert running.client.get("/health").json()["exposures_failing"] == "No space left on device"
        assert running.text("play alien bridges") == "play ancient bridges"
        assert "reprise_exposure_failing 0.0" in running.client.get("/metrics").text
    assert len(records(tmp_path)) == 1


def test_a_new_champion_comes_into_force_and_goes_again(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    first = publish(root, Rules("", {"a": "first"}))
    secret, line = new_key("admin", "operator")
    (tmp_path / "keys").write_text(line)
    with following(root, tmp_path / "state", keys=tmp_path / "keys") as running:
        operator = {"authorization": f"Bearer {secret}"}
        second = publish(root, Rules("", {"a": "second"}))
        for _ in range(200):
            if running.service.holder.current.bundle_id == second:
                break
            time.sleep(0.02)
        assert running.client.post("/admin/rollback", headers=operator).json() == {"bundle": first, "previous": second}
        assert Registry(root).aliases() == {"champion": first, "previous": second}
        time.sleep(0.3)  # the registry is followed all the while
        assert running.service.holder.current.bundle_id == first
        assert running.client.post("/admin/reload", json={"bundle": second}, headers=operator).status_code == 200
        time.sleep(0.3)
        assert running.service.holder.current.bundle_id == second, "a bundle that was named is pinned"
        assert running.client.post("/admin/reload", headers=operator).json()["bundle"] == first
        assert running.client.post("/admin/reload", json={"bundle": "none"}, headers=operator).status_code == 404


def test_a_rollback_under_load_takes_less_than_a_second_and_no_turn_fails(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    first = publish(root, Rules("", {"a": "first"}))
    second = publish(root, Rules("", {"a": "second"}))
    secret, line = new_key("admin", "operator")
    use, use_line = new_key("use", "assistant")
    (tmp_path / "keys").write_text(line + use_line)
    with following(root, tmp_path / "state", keys=tmp_path / "keys") as running:
        assert running.service.holder.current.bundle_id == second
        seen: list[tuple[int, str, float]] = []
        done = threading.Event()

        def ask() -> None:
            with httpx.Client(base_url=running.url, headers={"x-api-key": use}) as client:
                while not done.is_set():
                    asked = time.monotonic()
                    answer = client.post("/v1/rewrite", json={"utterance": "a"})
                    seen.append((answer.status_code, answer.json().get("bundle", ""), asked))

        askers = [threading.Thread(target=ask) for _ in range(4)]
        for asker in askers:
            asker.start()
        time.sleep(0.3)
        began = time.monotonic()
        answer = running.client.post("/admin/rollback", headers={"authorization": f"Bearer {secret}"})
        took = time.monotonic() - began
        time.sleep(0.3)
        done.set()
        for asker in askers:
            asker.join()
    assert answer.json() == {"bundle": first, "previous": second}
    assert took < 1.0
    assert {status for status, _, _ in seen} == {200}
    assert second in {bundle for _, bundle, asked in seen if asked < began}
    assert {bundle for _, bundle, asked in seen if asked > began + took} == {first}


def test_a_bad_bundle_changes_nothing(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    first = publish(root, Rules("", {"a": "first"}))
    secret, line = new_key("admin", "operator")
    use, use_line = new_key("use", "assistant")
    (tmp_path / "keys").write_text(line + use_line)
    with following(root, tmp_path / "state", keys=tmp_path / "keys") as running:
        operator = {"authorization": f"Bearer {secret}"}
        running.client.headers["x-api-key"] = use
        cold = publish(root, Rules("", {}), promote=False)  # fails its golden turns
        torn = publish(root, Rules("", {"a": "torn"}), promote=False)
        path = root / "bundles" / torn / "rules.json"
        path.write_bytes(path.read_bytes()[:-5])
        for name in (cold, torn):
            found = running.client.post("/admin/reload", json={"bundle": name}, headers=operator)
            assert found.status_code == 409
            assert running.text("a") == "first"
        (root / "aliases" / "champion").write_text(cold + "\n")
        time.sleep(0.3)
        assert running.service.holder.current.bundle_id == first
        assert running.client.get("/readyz").status_code == 200
        bad = running.client.get("/metrics").text.split('reprise_bundle_loads_total{outcome="bad"} ')[1].split("\n")[0]
        assert float(bad) == 3, "what was refused once is not tried again"


def test_without_a_bundle_it_is_not_ready_and_waits_for_one(tmp_path: Path) -> None:
    config = ServeConfig(
        registry=tmp_path / "registry", state=tmp_path / "state", watch_s=0.05, grace_s=0, holdout_share=0
    )
    running = Running(config).start(ready=False)
    try:
        assert running.client.get("/livez").status_code == 200
        found = running.client.get("/readyz").json()
        assert found["checks"]["loaded"] is False
        assert running.service.holder.error
        assert f"not ready: {running.service.holder.error}" in found["detail"]
        assert running.rewrite("a").status_code == 503
        publish(tmp_path / "registry", Rules("", {"a": "first"}))
        for _ in range(200):
            if running.client.get("/readyz").status_code == 200:
                break
            time.sleep(0.02)
        assert running.text("a", deadline_ms=5000) == "first"
    finally:
        running.stop()


def test_draining_is_said_and_requests_are_still_answered(admin: Admin) -> None:
    running, operator = admin
    assert running.client.post("/admin/drain", headers=operator).json()["draining"]
    found = running.client.get("/readyz")
    assert (found.status_code, found.json()["detail"]) == (503, "not ready: draining")
    assert running.text("play alien bridges") == "play ancient bridges"
    assert running.client.post("/admin/drain", json={"draining": False}, headers=operator).status_code == 200
    assert running.client.get("/readyz").status_code == 200


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.5", "::", "example.org"])
def test_an_address_that_others_reach_needs_a_key(host: str, tmp_path: Path) -> None:
    config = ServeConfig(bundle=tmp_path, host=host)
    with pytest.raises(ValueError, match="no key is set"):
        check_address(config, Keyring(None))
    (tmp_path / "keys").write_text(new_key("admin", "a")[1])
    with pytest.raises(ValueError, match="no key is set"):
        check_address(config, Keyring(tmp_path / "keys"))
    (tmp_path / "keys").write_text(new_key("use", "a")[1])
    check_address(config, Keyring(tmp_path / "keys"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.9.9.9"])
def test_an_address_of_this_machine_needs_none(host: str, tmp_path: Path) -> None:
    check_address(ServeConfig(bundle=tmp_path, host=host), Keyring(None))


def test_a_state_folder_serves_one_process(tmp_path: Path) -> None:
    with state_folder(tmp_path), pytest.raises(StateInUse, match="its own --state"), state_folder(tmp_path):
        pass
    with state_folder(tmp_path):
        pass


def test_the_commands_forget_and_block_beside_a_running_service(tmp_path: Path) -> None:
    from typer.testing import CliRunner

    from jobs.cli import app

    with service(tmp_path, WORLD) as running:
        running.text("call mum", "ann")
        state = ["--state", str(tmp_path / "state")]
        assert "running service" in CliRunner().invoke(app, ["forget", "ann", *state]).stdout
        assert "epoch 2" in CliRunner().invoke(app, ["block", "Play Ancient Bridges", *state]).stdout
        assert running.text("call mum", "ann") is None
        assert running.text("play alien bridges") is None
        for _ in range(100):
            if not any(r["rewrite"]["text"] == "call mum mobile" for r in records(tmp_path)):
                break
            time.sleep(0.02)
        assert not any(r["rewrite"]["text"] == "call mum mobile" for r in records(tmp_path))
    assert "removed" in CliRunner().invoke(app, ["forget", "bob", *state]).stdout


def test_a_quiet_service_carries_out_what_was_ordered_beside_it(tmp_path: Path) -> None:
    with service(tmp_path, WORLD, watch_s=0.05) as running:
        running.text("call mum", "ann")
        running.text("call mum", "bob")
        TombstoneLog(tmp_path / "state").forget("ann")
        for _ in range(200):
            if {r["user_id"] for r in records(tmp_path)} == {"bob"}:
                break
            time.sleep(0.02)
        assert {r["user_id"] for r in records(tmp_path)} == {"bob"}


def test_what_a_stop_left_of_a_forgotten_user_goes_at_the_next_start_and_what_came_later_stays(tmp_path: Path) -> None:
    with service(tmp_path, WORLD) as running:
        running.text("call mum", "ann")
        running.text("call mum", "bob")
    TombstoneLog(tmp_path / "state").forget("ann")
    time.sleep(0.01)
    with service(tmp_path, WORLD) as running:
        assert [r["user_id"] for r in records(tmp_path)] == ["bob"]
        running.text("call mum", "ann")
    with service(tmp_path, WORLD):
        assert [r["user_id"] for r in records(tmp_path)] == ["bob", "ann"]


def test_logs_hold_no_word_of_what_was_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info")
    logging.getLogger("httpx").setLevel(logging.WARNING)  # the test's own client, not the service
    with service(tmp_path, WORLD) as running:
        running.text("play alien bridges", "some-user-id")
        running.rewrite("break")
        running.client.delete("/v1/users/some-user-id")
    structlog.reset_defaults()
    said = capsys.readouterr()
    logged = said.out + said.err
    assert "/v1/rewrite" in logged
    for private in ("alien", "ancient", "some-user-id"):
        assert private not in logged


def test_settings_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    for wrong in (
        {"holdout_share": 1.0},
        {"precision": "fp8"},
        {"places": 0},
        {"deadline_ms": 0},
        {"registry": tmp_path},
    ):
        with pytest.raises(ValueError, match=r"got|must be"):
            ServeConfig(bundle=tmp_path, **wrong)
