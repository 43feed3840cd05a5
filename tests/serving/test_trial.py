"""Champion and challenger with users: the service follows the registry's experiment."""

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rewrite.assignment import Experiment, bucket
from rewrite.registry import Registry
from serving.exposures import read_records
from tests.serving.fakes import Rules, following, publish

USERS = [f"u{n}" for n in range(40)]
MEETS = {user for user in USERS if bucket(user, "e1") < 0.5}


def run(root: Path, **settings: Any) -> None:
    experiment = Experiment("e1", **{"ramp": ((0.0, 0.5),), "holdout_share": 0.0, **settings})
    (root / "experiment.json").write_text(json.dumps(experiment.as_dict()))


def challenge(root: Path, rules: Rules) -> str:
    name = publish(root, rules, promote=False)
    Registry(root).point("challenger", name, by="test", reason="")
    return name


def eventually(holds: Callable[[], bool]) -> None:
    for _ in range(400):
        if holds():
            return
        time.sleep(0.01)
    assert holds()


def test_the_challenger_decides_for_its_share_of_the_users_and_for_no_other(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    champion = publish(root, Rules("", {"a": "old"}))
    with following(root, tmp_path / "state") as running:
        challenger = challenge(root, Rules("", {"a": "new"}))
        assert {running.text("a", user) for user in USERS} == {"old"}
        assert "No challenger is on trial" in running.client.get("/page/experiment").text
        run(root)
        eventually(lambda: (running.client.get("/info").json()["experiment"] or {}).get("challenger") == challenger)
        shown = running.client.get("/page/experiment").text
        assert f"Challenger <code>{challenger}</code>: decides for 50 % of the users" in shown
        answers = {user: running.rewrite("a", user).json() for user in USERS}
        assert {user for user, found in answers.items() if found["rewrite"] == "new"} == MEETS
        assert {found["bundle"] for found in answers.values()} == {champion, challenger}
        Registry(root).point("challenger", None, by="test", reason="stopped")
        eventually(lambda: {running.text("a", user) for user in USERS} == {"old"})
    assert {r["kind"] for r in read_records(tmp_path / "state" / "exposures")} == {"decision"}


def test_a_held_out_user_meets_neither(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    champion = publish(root, Rules("", {"a": "old"}))
    challenger = challenge(root, Rules("", {"a": "new"}))
    run(root, ramp=((0.0, 1.0),))
    with following(root, tmp_path / "state", holdout_share=0.5) as running:
        eventually(lambda: "new" in {running.text("a", user) for user in USERS})
        answers = [running.rewrite("a", user).json() for user in USERS]
    held = [found for found in answers if found["reason"] == "holdout"]
    assert held
    assert {found["bundle"] for found in held} == {champion}
    assert {found["bundle"] for found in answers if found not in held} == {challenger}


def test_a_shadow_is_only_recorded(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    publish(root, Rules("", {"a": "old"}))
    challenger = challenge(root, Rules("", {"a": "new"}))
    run(root, shadow=True)
    with following(root, tmp_path / "state") as running:
        eventually(lambda: running.service.trial.shadow is not None)
        assert "decides beside the champion, for the record only" in running.client.get("/page/experiment").text
        assert {running.text("a", user) for user in USERS} == {"old"}

        def shadows() -> list[dict[str, Any]]:
            return [r for r in read_records(tmp_path / "state" / "exposures") if r["kind"] == "shadow"]

        eventually(lambda: len(shadows()) == len(USERS))
    decided = {"text": "new", "source": "global", "bundle": challenger, "reason": "rewritten"}
    assert [r["decision"] for r in shadows()] == [decided] * len(USERS)
    assert {r["user_id"] for r in shadows()} == set(USERS)


def test_a_challenger_that_cannot_be_used_is_left_out(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    publish(root, Rules("", {"a": "old"}))
    challenge(root, Rules(""))  # its golden turns fail
    run(root)
    with following(root, tmp_path / "state") as running:
        eventually(lambda: running.service.trial._refused is not None)
        assert '<strong class="verdict fail">left out</strong>' in running.client.get("/page/experiment").text
        assert {running.text("a", user) for user in USERS} == {"old"}
        assert running.client.get("/readyz").status_code == 200


def test_an_experiment_that_makes_no_sense_is_not_followed(tmp_path: Path) -> None:
    root = tmp_path / "registry"
    publish(root, Rules("", {"a": "old"}))
    challenge(root, Rules("", {"a": "new"}))
    (root / "experiment.json").write_text("{")
    with following(root, tmp_path / "state") as running:
        time.sleep(0.3)
        assert {running.text("a", user) for user in USERS} == {"old"}
        run(root)
        eventually(lambda: "new" in {running.text("a", user) for user in USERS})
