"""The loop's own steps on a small simulated log, killed on the way."""

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jobs.rundir import files_of
from rewrite.bundle import verify
from rewrite.registry import Registry

pytestmark = [pytest.mark.slow, pytest.mark.spark]
ROOT = Path(__file__).parents[3]
LIMITS = "rows = 500\nright_of_known = 0.1\nharm = 0.05\nlatency_p95_ms = 60000\n"


def command(logs: Path, registry: Path) -> list[str]:
    settings = [
        "--model",
        "none",
        "--min-users",
        "2",
        "--replayed",
        "200",
        "--memory",
        "1g",
        "--cores",
        "1",
        "--threads",
        "1",
    ]
    gates = logs.parent / "gates.toml"
    arguments = ["run", str(logs / "logs.parquet"), "--registry", str(registry), "--gates", str(gates), *settings]
    return [sys.executable, "-c", "from jobs.cli import main; main()", *arguments]


def killed_in(step: str, logs: Path, registry: Path) -> None:
    """Start a run and kill it half a second into a step."""
    process = subprocess.Popen(command(logs, registry), cwd=ROOT)
    try:
        while process.poll() is None and not list((registry / "steps").glob(f".scratch-{step}-*")):
            time.sleep(0.02)
        time.sleep(0.5)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_a_real_run_killed_in_its_later_steps_ends_in_the_same_bundle(tmp_path: Path) -> None:
    from jobs.simulate import simulate

    logs = tmp_path / "logs"
    simulate(logs, users=60, days=10, seed=3)
    (tmp_path / "gates.toml").write_text(LIMITS)
    subprocess.run(command(logs, tmp_path / "whole"), cwd=ROOT, check=True)
    champion = Registry(tmp_path / "whole").path("champion")
    # mining's own kills are tested with mining; it would take most of the time here
    for step in ("import", "mine"):
        for folder in (tmp_path / "whole" / "steps").glob(f"{step}-*"):
            shutil.copytree(folder, tmp_path / "killed" / "steps" / folder.name)
    for step in ("learn", "evaluate", "seal"):
        killed_in(step, logs, tmp_path / "killed")
    subprocess.run(command(logs, tmp_path / "killed"), cwd=ROOT, check=True)
    again = Registry(tmp_path / "killed").path("champion")
    assert verify(again)["id"] == verify(champion)["id"]
    assert files_of(again) == files_of(champion)
    assert "## Gates" in (champion / "README.md").read_text()
