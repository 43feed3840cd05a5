"""The command line: quick help, errors as sentences, exit codes."""

import subprocess
import sys
from pathlib import Path

import pytest

from jobs import cli, evaluate, faults
from tests.jobs.worlds import write_world

HEAVY = (
    "torch",
    "transformers",
    "pyspark",
    "pandas",
    "pyarrow",
    "numpy",
    "matplotlib",
    "sklearn",
    "lightgbm",
    "rapidfuzz",
)


def call(*args: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(args))
    return int(stopped.value.code or 0)


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_help_imports_nothing_heavy() -> None:
    script = (
        "import sys; from jobs import cli\n"
        "try: cli.main(['--help'])\n"
        "except SystemExit: pass\n"
        f"print('loaded:', [m for m in {HEAVY!r} if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "loaded: []"


def test_every_command_explains_itself() -> None:
    def walk(command: object, names: tuple[str, ...]) -> list[str]:
        children = getattr(command, "commands", {})
        missing = [] if getattr(command, "help", None) else [" ".join(names)]
        return missing + [m for name, child in children.items() for m in walk(child, (*names, name))]

    assert walk(cli.command(), ("reprise",)) == []


def test_the_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--version") == 0
    assert capsys.readouterr().out.startswith("reprise ")


def test_a_version_variable_of_the_container_is_not_the_flag(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("REPRISE_VERSION", "1.2.3")
    assert call("config", "show") == 0
    assert "evaluate" in capsys.readouterr().out


def test_a_user_error_is_one_line_and_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("evaluate", "none.parquet", "--truth", "x", "--decisions", "y") == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert "none.parquet" in err
    assert len(err.splitlines()) == 1


def test_debug_shows_the_traceback_wherever_it_stands() -> None:
    line = ["evaluate", "none.parquet", "--truth", "x", "--decisions", "y"]
    for place in (0, 2, len(line)):
        with pytest.raises(FileNotFoundError):
            cli.main([*line[:place], "--debug", *line[place:]])


def test_debug_behind_a_double_dash_is_an_argument() -> None:
    args = ["explain", "--", "--debug"]
    assert not faults.take_debug(args)
    assert args == ["explain", "--", "--debug"]


def test_the_debug_variable_shows_the_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REPRISE_DEBUG", "1")
    with pytest.raises(FileNotFoundError):
        cli.main(["evaluate", "none.parquet", "--truth", "x", "--decisions", "y"])


def fail_with(error: BaseException, monkeypatch: pytest.MonkeyPatch) -> None:
    def raise_it(config: object) -> None:
        raise error

    monkeypatch.setattr(evaluate, "run", raise_it)


def test_a_fault_of_ours_is_one_line_and_exit_code_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(RuntimeError("tensor\nmismatch"), monkeypatch)
    assert call("evaluate", "t", "--truth", "x") == 1
    assert capsys.readouterr().err == "error: RuntimeError: tensor mismatch; run with --debug for the traceback\n"


def test_an_interrupt_is_one_line_and_ends_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(KeyboardInterrupt(), monkeypatch)
    assert call("evaluate", "t", "--truth", "x") == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (["mine", "t", "--out", "m"], "nothing was written; the same command begins anew"),
        (["learn", "m", "--out", "b"], "the same command goes on from the training's last checkpoint"),
        (["run", "t", "--registry", "reg"], "the same command goes on after the last step that ended"),
    ],
)
def test_an_interrupted_command_says_what_calling_it_again_does(
    line: list[str], said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*args: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("jobs.progress.teller", interrupt)
    assert call(*line) == 130
    err = capsys.readouterr().err
    assert err.startswith("interrupted; ")
    assert said in err
    assert len(err.splitlines()) == 1


def test_the_operating_systems_errors_name_their_file(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fail_with(PermissionError(13, "Permission denied", "/locked"), monkeypatch)
    assert call("evaluate", "t", "--truth", "x") == 2
    assert capsys.readouterr().err == (
        "error: Permission denied; got /locked; expected one that this user may read and write\n"
    )


@pytest.mark.parametrize("line", [["nonsense"], ["evaluate", "--nope"], ["evaluate"]])
def test_a_wrong_line_is_a_usage_error(line: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert call(*line) == 2
    assert "Usage" in capsys.readouterr().err


def test_an_unknown_log_level_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    assert call("--log-level", "loud", "config", "show") == 2
    assert "unknown log level; got 'loud'" in capsys.readouterr().err


def test_evaluate_prints_a_table_and_writes_its_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_world(tmp_path)
    line = ["evaluate", "turns.parquet", "--truth", "truth.parquet", "--oracle", "oracle.parquet", "--draws", "20"]
    assert call(*line, "--decisions", "decisions.parquet", "--json", "deep/e.json", "--html", "r.html") == 0
    out = capsys.readouterr().out
    assert "CPDR change" in out
    assert "nothing" in out
    assert Path("deep/e.json").is_file()
    assert Path("r.html").is_file()
