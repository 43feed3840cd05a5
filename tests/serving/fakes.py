"""An engine of a few rules in place of a bundle, and a whole service on a free port around it."""

import asyncio
import json
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx

from rewrite.bundle import pack, verify
from rewrite.registry import Registry
from rewrite.text import normalise
from serving.config import ServeConfig
from serving.job import Answer, Hidden, Job
from serving.page.routes import router
from serving.pool import Pool
from serving.seats import InlineSeat, WorkerSettings
from serving.server import serve


@dataclass
class Rules:
    """What a rule engine knows, as a file holds it.

    `shared` maps texts for everybody, `own` for one user. `modelled` texts need the model first, or are left alone
    where they `can_do_without`; `broken` ones raise.
    """

    bundle_id: str
    shared: Mapping[str, str] = field(default_factory=dict)
    own: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    modelled: Sequence[str] = ()
    broken: Sequence[str] = ()
    deletion_epoch: int = 0
    model_s: float = 0.0
    can_do_without: bool = True


class RuleEngine:
    """Decides by table look-up."""

    def __init__(self, rules: Rules) -> None:
        self.rules = rules
        self.bundle_id = rules.bundle_id
        self.facts: dict[str, Any] = {"deletion_epoch": rules.deletion_epoch}
        self.batches: list[int] = []
        self._hidden = Hidden()

    def memo(self) -> set[str]:
        return set()

    def attempt(self, job: Job, memo: set[str]) -> Any:
        query = normalise(job.turn.utterance)
        if query in self.rules.broken:
            raise RuntimeError(query)
        if query in self.rules.modelled and query not in memo:
            return query
        if query in self._hidden.pinned and self._hidden.pinned[query] not in self._hidden.blocked:
            return Answer(job.job_id, self._hidden.pinned[query], "global", 1.0, "pinned")
        own = self.rules.own.get(job.turn.user_id or "", {})
        if self._hidden.users.get(job.turn.user_id or "", 0) > self.rules.deletion_epoch:
            own = {}
        text = own.get(query) or self.rules.shared.get(query)
        source = "personal" if query in own else "global"
        if text is None or text in self._hidden.blocked:
            return Answer(job.job_id, reason="unsure")
        return Answer(job.job_id, text, source, 0.9, "rewritten", 0.8)

    def unasked(self, job: Job, memo: set[str]) -> Answer | None:
        if "poison" in job.turn.utterance:
            raise RuntimeError("poison")
        return Answer(job.job_id, reason="unsure") if self.rules.can_do_without else None

    def compute(self, needs: Sequence[tuple[Any, Any]]) -> None:
        self.batches.append(len(needs))
        time.sleep(self.rules.model_s)
        if len(needs) > 1 and any("poison" in need for _, need in needs):
            raise RuntimeError("a batch with poison in it")
        for memo, need in needs:
            if "poison" in need:
                raise RuntimeError(need)
            memo.add(need)

    def hide(self, hidden: Hidden) -> None:
        self._hidden = hidden

    def warm(self) -> None:
        if not self.rules.shared and not self.rules.own:
            raise ValueError("a bundle that can decide nothing")

    def idle(self) -> bool:
        return False


def write_rules(path: Path, rules: Rules) -> Path:
    """A file that `open_rules` opens."""
    path.write_text(json.dumps(rules.__dict__))
    return path


def open_rules(path: str) -> RuleEngine:
    """Raises ValueError where the file or bundle is damaged, as a bundle's opening does."""
    if not Path(path).is_dir():
        return RuleEngine(Rules(**json.loads(Path(path).read_text())))
    bundle_id = verify(Path(path))["id"]
    return RuleEngine(Rules(**{**json.loads((Path(path) / "rules.json").read_text()), "bundle_id": bundle_id}))


def open_rules_in_a_process(path: str, settings: WorkerSettings) -> RuleEngine:
    """What a worker process opens."""
    return open_rules(path)


def publish(root: Path, rules: Rules, promote: bool = True) -> str:
    """Put a bundle that holds rules into a registry; returns its id."""
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / "bundle"
        pack(made, lambda part: write_rules(part / "rules.json", rules) and None, {})
        registry = Registry(root)
        bundle_id = registry.publish(made)
    if promote:
        registry.promote(bundle_id)
    return bundle_id


class Running:
    """A service with its page in a thread of its own, on a port of its own."""

    def __init__(self, config: ServeConfig, opener: Callable[[str], Any] = open_rules) -> None:
        self.config = replace(config, port=0, workers=0)
        self._opener = opener
        self._listening = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.app: Any = None
        self.loop: Any = None

    def start(self, ready: bool = True) -> "Running":
        self._thread.start()
        assert self._listening.wait(20)
        if self._failure is not None:
            raise self._failure
        self.client = httpx.Client(base_url=self.url, timeout=20)
        for _ in range(400 if ready else 0):
            if self.client.get("/readyz").status_code == 200:
                return self
            time.sleep(0.01)
        assert not ready, self.client.get("/health").text
        return self

    def stop(self) -> None:
        self.client.close()
        self.app.state.server.should_exit = True
        self._thread.join(20)
        assert not self._thread.is_alive()

    @property
    def service(self) -> Any:
        return self.app.state.service

    def engine(self, bundle_id: str) -> Any:
        (seat,) = self.service.pool._seats
        return seat._worker._engines[bundle_id]

    def rewrite(self, utterance: str, user: str | None = None, **fields: Any) -> httpx.Response:
        given = {"utterance": utterance, "user_id": user, **fields}
        return self.client.post("/v1/rewrite", json={k: v for k, v in given.items() if v is not None})

    def text(self, utterance: str, user: str | None = None, **fields: Any) -> Any:
        answer = self.rewrite(utterance, user, **fields)
        assert answer.status_code == 200, answer.text
        return answer.json()["rewrite"]

    def _run(self) -> None:
        try:
            asyncio.run(serve(self.config, router, self._started, Pool(1, self._seat)))
        except BaseException as error:
            self._failure = error
            self._listening.set()

    def _seat(self, hear: Any, gone: Any) -> InlineSeat:
        return InlineSeat(self._opener, hear, self.config.model_batch)

    def _started(self, app: Any, port: int) -> None:
        self.app, self.url = app, f"http://127.0.0.1:{port}"
        self.loop = asyncio.get_running_loop()
        self._listening.set()


PATIENT: dict[str, Any] = {
    "holdout_share": 0.0,
    "grace_s": 0.0,
    "deadline_ms": 5000.0,
    "watch_s": 0.05,
    "model_wait_ms": 0.0,
}
"""Settings under which every turn is decided as the rules say, however slow the machine is."""


@contextmanager
def following(root: Path, state: Path, **settings: Any) -> Iterator[Running]:
    """A running service over a registry."""
    running = Running(ServeConfig(registry=root, state=state, **{**PATIENT, **settings})).start()
    try:
        yield running
    finally:
        running.stop()


@contextmanager
def service(folder: Path, rules: Rules, **settings: Any) -> Iterator[Running]:
    """A running service over one file of rules."""
    path = write_rules(folder / f"{rules.bundle_id}.json", rules)
    config = ServeConfig(bundle=path, state=folder / "state", **{**PATIENT, **settings})
    running = Running(config).start()
    try:
        yield running
    finally:
        running.stop()
