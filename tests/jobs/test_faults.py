"""Jobs that are called by themselves fail as the commands of `reprise` do."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobs import faults

JOBS = Path(faults.__file__).parent


def test_a_job_called_by_itself_ends_with_one_line_and_exit_code_2(tmp_path: Path) -> None:
    line = [sys.executable, "-m", "jobs.fit_kinds", "none.parquet", "--out", str(tmp_path / "kinds.json")]
    done = subprocess.run(line, capture_output=True, text=True, check=False, cwd=JOBS.parent)
    assert done.returncode == 2
    assert done.stderr.startswith("error: none.parquet: no such file")
    assert len(done.stderr.splitlines()) == 1


def job(number: int) -> None:
    """A job that wants 1, and has a fault of its own."""
    if number != 1:
        raise ValueError(f"wrong number; got {number}; expected 1")
    raise RuntimeError("tensor mismatch")


@pytest.mark.parametrize(
    ("given", "code", "said"),
    [
        ("2", 2, "error: wrong number; got 2; expected 1"),
        ("1", 1, "error: RuntimeError: tensor mismatch; run with --debug for the traceback"),
    ],
)
def test_faults_of_the_user_and_ours_are_told_apart(
    given: str, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["job", given])
    with pytest.raises(SystemExit) as stopped:
        faults.run_alone(job)
    assert stopped.value.code == code
    assert capsys.readouterr().err == f"{said}\n"


def test_a_job_called_by_itself_shows_the_traceback_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["job", "2", "--debug"])
    with pytest.raises(ValueError, match="wrong number"):
        faults.run_alone(job)


def test_no_job_leaves_its_errors_to_typer() -> None:
    assert [path.name for path in JOBS.rglob("*.py") if "typer.run(" in path.read_text(encoding="utf-8")] == []
