"""What happens when things die, fill up, slow down or jump."""

import contextlib
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from serving import exposures, server
from serving.exposures import read_records
from serving.tombstones import TombstoneLog
from tests.serving.conftest import WORLD
from tests.serving.fakes import Rules, service, write_rules

ROOT = Path(__file__).parents[2]
SLOW = Rules("b1", {"a": "A", "m": "M"}, modelled=["m"], model_s=0.3)


class Target:
    """A service in a process of its own."""

    def __init__(self, folder: Path, rules: Rules, file_bytes: int | None = None, **settings: Any) -> None:
        path = write_rules(folder / "rules.json", rules)
        given = {"bundle": str(path), "state": str(folder / "state"), "workers": 1, "grace_s": 0.3, **settings}

        def limited() -> None:
            if file_bytes is not None:
                resource.setrlimit(resource.RLIMIT_FSIZE, (file_bytes, file_bytes))

        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.serving.target", json.dumps(given)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            preexec_fn=limited,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line.startswith("port "), line
        self.url = f"http://127.0.0.1:{line.split()[1]}"
        self.client = httpx.Client(base_url=self.url, timeout=20)
        for _ in range(2000):
            if self.client.get("/readyz").status_code == 200:
                return
            time.sleep(0.02)
        raise AssertionError("not ready")

    def ask(self, text: str, **fields: Any) -> httpx.Response:
        return httpx.post(f"{self.url}/v1/rewrite", json={"utterance": text, **fields}, timeout=20)

    def children(self) -> list[int]:
        found = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        # the resource tracker of multiprocessing is a child, too
        return [int(pid) for pid in found if b"spawn_main" in Path(f"/proc/{pid}/cmdline").read_bytes()]

    def end(self, how: int = signal.SIGTERM) -> int:
        self.client.close()
        self.process.send_signal(how)
        with self.process:
            return self.process.wait(30)


@contextlib.contextmanager
def target(folder: Path, rules: Rules, **settings: Any) -> Iterator[Target]:
    made = Target(folder, rules, **settings)
    try:
        yield made
    finally:
        if made.process.poll() is None:
            made.end(signal.SIGKILL)
        made.client.close()
        assert made.process.stdout is not None
        made.process.stdout.close()


@contextlib.contextmanager
def load(running: Target, text: str, threads: int = 4) -> Iterator[list[Any]]:
    """Requests from several threads all the while; yields what came back: a response or an error."""
    seen: list[Any] = []
    stop = threading.Event()

    def ask(number: int) -> None:
        for count in range(5000):
            if stop.is_set():
                return
            try:
                seen.append(running.ask(text, interaction_id=f"{number}-{count}"))
            except httpx.HTTPError as error:
                seen.append(error)
                time.sleep(0.02)

    askers = [threading.Thread(target=ask, args=(number,)) for number in range(threads)]
    for thread in askers:
        thread.start()
    try:
        yield seen
    finally:
        stop.set()
        for thread in askers:
            thread.join()


def answered(seen: list[Any]) -> list[dict[str, Any]]:
    return [r.json() for r in seen if isinstance(r, httpx.Response) and r.status_code == 200]


def test_a_kill_under_load_loses_no_record_of_what_was_answered_and_no_order(tmp_path: Path) -> None:
    with target(tmp_path, WORLD) as running:
        TombstoneLog(tmp_path / "state").forget("ann")
        with load(running, "play alien bridges") as seen:
            while len(answered(seen)) < 30:
                time.sleep(0.01)
            running.end(signal.SIGKILL)
    kept = {r["request_id"] for r in read_records(tmp_path / "state" / "exposures")}
    found = answered(seen)
    assert {r["request_id"] for r in found} <= kept
    with target(tmp_path, WORLD) as again:
        assert again.ask("call mum", user_id="ann").json()["rewrite"] is None
        assert again.ask("play alien bridges").json()["rewrite"] == "play ancient bridges"


def test_a_second_ctrl_c_ends_the_grace_and_the_workers(tmp_path: Path) -> None:
    with target(tmp_path, SLOW, grace_s=60) as running:
        workers = running.children()
        running.process.send_signal(signal.SIGINT)
        time.sleep(0.3)
        running.process.send_signal(signal.SIGINT)
        assert running.process.wait(20) == 0
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_a_drain_fails_no_request_in_flight(tmp_path: Path) -> None:
    with target(tmp_path, SLOW, grace_s=0.5) as running:
        flying: list[Any] = []
        askers = [threading.Thread(target=lambda: flying.append(running.ask("m"))) for _ in range(6)]
        for thread in askers:
            thread.start()
        while running.client.get("/health").json()["in_flight"] < 6:
            time.sleep(0.005)
        running.process.send_signal(signal.SIGTERM)
        for _ in range(100):
            if running.client.get("/readyz").status_code == 503:
                break
        late = running.ask("m")  # the balancer has not looked yet
        for thread in askers:
            thread.join()
        assert running.process.wait(20) == 0
    assert [r.status_code for r in [*flying, late]] == [200] * 7
    assert [r.json()["rewrite"] for r in flying] == ["M"] * 6
    assert late.headers["connection"] == "close"


def test_a_dead_worker_costs_what_it_held_and_is_replaced(tmp_path: Path) -> None:
    with target(tmp_path, SLOW) as running:
        (child,) = running.children()
        flying: list[Any] = []
        asker = threading.Thread(target=lambda: flying.append(running.ask("m")))
        asker.start()
        while running.client.get("/health").json()["in_flight"] < 1:
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        asker.join()
        assert flying[0].status_code == 503
        for _ in range(2000):
            if running.client.get("/readyz").status_code == 200:
                break
            time.sleep(0.02)
        assert running.ask("m").json()["rewrite"] == "M"
        assert running.children() != [child]
        assert "reprise_worker_deaths 1.0" in running.client.get("/metrics").text
        assert running.end() == 0


def test_workers_do_not_outlive_a_killed_service(tmp_path: Path) -> None:
    with target(tmp_path, SLOW) as running:
        (child,) = running.children()
        running.end(signal.SIGKILL)
        for _ in range(500):
            if not Path(f"/proc/{child}").exists():
                break
            time.sleep(0.02)
        assert not Path(f"/proc/{child}").exists()


def test_a_full_disk_leaves_turns_alone_and_serving_up(tmp_path: Path) -> None:
    with target(tmp_path, WORLD, file_bytes=4000) as running:
        found = [running.ask("play alien bridges").json() for _ in range(40)]
        assert found[0]["rewrite"] == "play ancient bridges"
        assert (found[-1]["rewrite"], found[-1]["reason"]) == (None, "not_recorded")
        assert running.client.get("/readyz").status_code == 200
        assert running.client.get("/health").json()["exposures_failing"]
    made = [r["request_id"] for r in found if r["rewrite"]]
    kept = {r["request_id"] for r in read_records(tmp_path / "state" / "exposures")}
    assert set(made) <= kept, "no rewrite was made that is not on record"


def test_slow_clients_hold_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "HEAD_TIMEOUT_S", 0.5)
    with service(tmp_path, WORLD, body_timeout_s=0.5) as running:
        port = int(running.url.rpartition(":")[2])
        idle = [socket.create_connection(("127.0.0.1", port)) for _ in range(30)]
        for connection in idle[:10]:
            connection.sendall(b"POST /v1/rewrite HTTP/1.1\r\nHost: x")
        for connection in idle[10:20]:
            connection.sendall(b'POST /v1/rewrite HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n{"utt')
        assert running.text("play alien bridges") == "play ancient bridges"
        for connection in idle:
            connection.settimeout(20)
            answer = connection.recv(4000)
            connection.close()
            assert answer == b"" or answer.startswith(b"HTTP/1.1 408"), answer
        assert running.text("play alien bridges") == "play ancient bridges"


def test_clients_that_leave_early_leave_nothing_behind(tmp_path: Path) -> None:
    with service(tmp_path, SLOW) as running:
        port = int(running.url.rpartition(":")[2])
        body = b'{"utterance": "m"}'
        head = b"POST /v1/rewrite HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n"
        for number in range(20):
            with socket.create_connection(("127.0.0.1", port)) as connection:
                connection.sendall((head % len(body) + body)[: None if number % 2 else 100])
        assert running.text("a") == "A"
        for _ in range(500):
            if running.service.pool.waiting == 0 and not running.service._began:
                break
            time.sleep(0.02)
        assert (running.service.pool.waiting, running.service._began) == (0, {})
        assert running.text("m") == "M"


@pytest.mark.parametrize("days", [-400, 400])
def test_a_clock_that_jumps_changes_no_answer_and_loses_no_record(
    days: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = time.time

    class Jumped(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(real() + days * 86400, UTC)

    with service(tmp_path, WORLD, rotate_bytes=600) as running:
        before = [running.text("play alien bridges") for _ in range(4)]
        monkeypatch.setattr(time, "time", lambda: real() + days * 86400)
        monkeypatch.setattr(exposures, "datetime", Jumped)
        after = [running.text("play alien bridges", deadline_ms=4000) for _ in range(4)]
        assert running.client.get("/readyz").status_code == 200
        monkeypatch.undo()
        again = [running.text("play alien bridges") for _ in range(4)]
    assert {*before, *after, *again} == {"play ancient bridges"}
    assert len(list(read_records(tmp_path / "state" / "exposures"))) == 12


@pytest.mark.slow
def test_two_hundred_reloads_leave_memory_flat(bundle: Path, tmp_path: Path) -> None:
    from rewrite.registry import Registry
    from serving.keys import new_key

    registry = Registry(tmp_path / "registry")
    one = registry.publish(bundle)
    registry.promote(one)
    copied = json.loads((bundle / "manifest.json").read_text())
    other = _another(bundle, tmp_path / "other", copied)
    two = registry.publish(other)
    secret, line = new_key("admin", "operator")
    use, use_line = new_key("use", "assistant")
    (tmp_path / "keys").write_text(line + use_line)
    given = {"registry": str(tmp_path / "registry"), "state": str(tmp_path / "s"), "keys": str(tmp_path / "keys")}
    with target(tmp_path, WORLD, bundle=None, workers=0, **given) as running:
        sizes = []
        for number in range(200):
            # a third bundle in between, so that each is really opened anew
            name = (one, two, _third(registry, bundle, tmp_path, copied))[number % 3]
            found = running.client.post(
                "/admin/reload", json={"bundle": name}, headers={"authorization": f"Bearer {secret}"}
            )
            assert found.status_code == 200, found.text
            answer = running.client.post(
                "/v1/rewrite", json={"utterance": "play alien bridges"}, headers={"x-api-key": use}
            )
            assert answer.json()["bundle"] == name
            sizes.append(_resident_bytes(running.process.pid))
    assert sizes[-1] < sizes[60] * 1.1 + 20e6, [round(s / 1e6) for s in sizes[::20]]


def _third(registry: Any, bundle: Path, folder: Path, manifest: dict[str, Any]) -> str:
    if not (folder / "third").exists():
        registry.publish(_another(bundle, folder / "third", manifest))
    return str(json.loads((folder / "third" / "manifest.json").read_text())["id"])


def _another(bundle: Path, out: Path, manifest: dict[str, Any]) -> Path:
    """The same bundle with another card, hence another id."""
    import shutil

    from rewrite.bundle import pack

    def write(part: Path) -> None:
        shutil.copytree(bundle, part, dirs_exist_ok=True)
        (part / "manifest.json").unlink()
        (part / "README.md").write_text(out.name)

    pack(out, write, {k: v for k, v in manifest.items() if k not in ("files", "id", "format")})
    return out


def _resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * 4096
