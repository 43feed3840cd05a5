"""Any history of calls is checked against a model of what each may answer."""

import random
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from rewrite.registry import Registry
from serving.keys import new_key
from tests.serving.fakes import Rules, Running, following, publish

USERS = ("ann", "bob", "cat")
TEXTS = ("one", "two", "three")


def rules_of(number: int) -> Rules:
    """A bundle whose every answer names it, and its user where it is the user's own."""
    own = {user: {"two": f"two of {user} in {number}"} for user in USERS[:2]}
    return Rules("", {t: f"{t} in {number}" for t in TEXTS[:2]}, own, modelled=["one"])


class History(RuleBasedStateMachine):
    """Rewrites, deletions, blocks, publishing, reloads, rollbacks and restarts, in any order."""

    bundles: Any = Bundle("bundles")

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        root = Path(self.folder.name)
        self.secret, line = new_key("admin", "operator")
        use, use_line = new_key("use", "assistant")
        (root / "keys").write_text(line + use_line)
        self.use = use
        self.registry = root / "registry"
        self.number: dict[str, int] = {}
        self.champion, self.previous = self.published(promote=True), None
        self.in_force = self.champion
        self.forgotten: set[str] = set()
        self.blocked: set[str] = set()
        self.up()

    def published(self, promote: bool) -> str:
        number = len(self.number) + 1
        name = publish(self.registry, rules_of(number), promote)
        self.number[name] = number
        return name

    def up(self) -> None:
        # the registry is looked at only when told to: what is in force is known at every moment
        root = Path(self.folder.name)
        self.context = following(self.registry, root / "state", keys=root / "keys", watch_s=3600.0)
        self.running: Running = self.context.__enter__()
        self.running.client.headers["x-api-key"] = self.use
        self.in_force = self.champion
        self.open = {self.champion}

    def teardown(self) -> None:
        if hasattr(self, "context"):
            self.context.__exit__(None, None, None)
            self.folder.cleanup()

    def admin(self, method: str, path: str, **fields: Any) -> Any:
        return self.running.client.request(
            method, path, headers={"authorization": f"Bearer {self.secret}"}, json=fields or None
        )

    @rule(target=bundles)
    def publish_and_promote(self) -> str:
        name = self.published(promote=False)
        Registry(self.registry).promote(name)
        self.champion, self.previous = name, self.champion
        return name

    @rule()
    def reload(self) -> None:
        assert self.admin("POST", "/admin/reload").json()["bundle"] == self.champion
        self.in_force = self.champion

    @rule(name=bundles)
    def reload_one(self, name: str) -> None:
        assert self.admin("POST", "/admin/reload", bundle=name).json()["bundle"] == name
        self.in_force = name

    @rule()
    def rollback(self) -> None:
        found = self.admin("POST", "/admin/rollback")
        if self.previous is None:
            assert found.status_code == 404
            return
        self.champion, self.previous = self.previous, self.champion
        assert found.json()["bundle"] == self.champion
        self.in_force = self.champion

    @rule(user=st.sampled_from(USERS))
    def forget(self, user: str) -> None:
        assert self.admin("DELETE", f"/v1/users/{user}").status_code == 200
        self.forgotten.add(user)

    @rule(text=st.sampled_from(TEXTS), number=st.integers(1, 3), blocked=st.booleans())
    def block(self, text: str, number: int, blocked: bool) -> None:
        target = f"{text} in {number}"
        assert self.admin("POST", "/v1/blocklist", text=target, blocked=blocked).status_code == 200
        (self.blocked.add if blocked else self.blocked.discard)(target)

    @rule(text=st.sampled_from(TEXTS), user=st.sampled_from([None, *USERS]))
    def rewrite(self, text: str, user: str | None) -> None:
        found = self.running.rewrite(text, user).json()
        assert (found["bundle"], found["rewrite"]) == (self.in_force, self.expected(text, user))

    def expected(self, text: str, user: str | None) -> str | None:
        number = self.number[self.in_force]
        if text == "two" and user in USERS[:2] and user not in self.forgotten:
            return f"two of {user} in {number}"
        shared = f"{text} in {number}"
        return None if text == "three" or shared in self.blocked else shared

    @rule()
    def restart(self) -> None:
        self.context.__exit__(None, None, None)
        self.up()

    @invariant()
    def is_ready(self) -> None:
        if hasattr(self, "running"):
            assert self.running.client.get("/readyz").status_code == 200


@pytest.mark.parametrize(
    "examples", [pytest.param(6, id="short"), pytest.param(150, id="long", marks=pytest.mark.slow)]
)
def test_every_answer_of_a_history_is_the_one_it_must_be(examples: int) -> None:
    quiet = settings(
        max_examples=examples, stateful_step_count=15, deadline=None, suppress_health_check=list(HealthCheck)
    )
    run_state_machine_as_test(History, settings=quiet)


@pytest.mark.parametrize(
    "seconds", [pytest.param(2.0, id="short"), pytest.param(30.0, id="long", marks=pytest.mark.slow)]
)
def test_under_load_answers_name_a_bundle_that_was_in_force_and_nobody_sees_anothers_text(
    seconds: float, tmp_path: Path
) -> None:
    root = tmp_path / "registry"
    names = [publish(root, rules_of(number)) for number in (1, 2, 3)]
    number = {name: n for n, name in enumerate(names, 1)}
    secret, line = new_key("admin", "operator")
    use, use_line = new_key("use", "assistant")
    (tmp_path / "keys").write_text(line + use_line)
    until = time.monotonic() + seconds
    swaps: list[tuple[float, float, str]] = [(0.0, 0.0, names[-1])]
    answers: list[tuple[float, float, str | None, dict[str, Any]]] = []
    forgotten_at = {}
    with following(root, tmp_path / "state", keys=tmp_path / "keys", watch_s=3600.0, places=500) as running:
        running.client.headers["x-api-key"] = use
        operator = {"authorization": f"Bearer {secret}"}

        def ask(seed: int) -> None:
            rng = random.Random(seed)
            while time.monotonic() < until:
                user = rng.choice([None, *USERS])
                began = time.monotonic()
                found = running.rewrite(rng.choice(TEXTS), user, deadline_ms=10_000)
                assert found.status_code == 200, found.text
                answers.append((began, time.monotonic(), user, found.json()))

        askers = [threading.Thread(target=ask, args=(seed,)) for seed in range(3)]
        for thread in askers:
            thread.start()
        rng = random.Random(9)
        while time.monotonic() < until:
            name, began = rng.choice(names), time.monotonic()
            assert running.client.post("/admin/reload", json={"bundle": name}, headers=operator).status_code == 200
            swaps.append((began, time.monotonic(), name))
            if time.monotonic() > until - seconds / 2 and not forgotten_at:
                running.client.delete("/v1/users/ann", headers=operator)
                forgotten_at["ann"] = time.monotonic()
        for thread in askers:
            thread.join()
    assert answers
    for began, ended, user, found in answers:
        # a swap may take hold anywhere between its call and its answer
        settled = [name for _, done, name in swaps if done <= began][-1]
        may = {settled} | {name for start, done, name in swaps if start <= ended and done >= began}
        assert found["bundle"] in may
        text = found["rewrite"]
        assert text is None or text.endswith(f"in {number[found['bundle']]}")
        others = [u for u in USERS if u != user]
        assert text is None or not any(f"of {u} " in text for u in others)
        if user == "ann" and began > forgotten_at["ann"]:
            assert text is None or "of ann" not in text
