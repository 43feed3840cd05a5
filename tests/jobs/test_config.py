"""Where settings come from, and what is said of a settings file that does not fit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from jobs import cli, evaluate


def run(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of one command line."""
    with pytest.raises(SystemExit) as stopped:
        cli.main(list(args))
    code = stopped.value.code
    captured = capsys.readouterr()
    return (code if isinstance(code, int) else 0), captured.out, captured.err


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def settings(text: str, name: str = "reprise.toml") -> Path:
    Path(name).write_text(text, encoding="utf-8")
    return Path(name)


def origin(capsys: pytest.CaptureFixture[str], *args: str) -> dict[tuple[str, str], tuple[object, str]]:
    code, out, _ = run(capsys, *args, "config", "show", "--json")
    assert code == 0
    return {(s["command"], s["key"]): (s["value"], s["origin"]) for s in json.loads(out)}


def test_a_default_says_that_it_is_one(capsys: pytest.CaptureFixture[str]) -> None:
    assert origin(capsys)["evaluate", "draws"] == (1000, "default")


def test_the_file_of_the_current_folder_beats_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    settings("[evaluate]\ndraws = 200\n")
    assert origin(capsys)["evaluate", "draws"] == (200, "file reprise.toml")


def test_the_environment_beats_the_file(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    settings("[evaluate]\ndraws = 200\n")
    monkeypatch.setenv("REPRISE_EVALUATE_DRAWS", "300")
    assert origin(capsys)["evaluate", "draws"] == (300, "environment REPRISE_EVALUATE_DRAWS")


def test_another_file_can_be_named(capsys: pytest.CaptureFixture[str]) -> None:
    settings("[evaluate]\nseed = 5\n", "other.toml")
    assert origin(capsys, "--config", "other.toml")["evaluate", "seed"] == (5, "file other.toml")


def test_a_flag_beats_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    settings('[evaluate]\ndecisions = "from_file"\ndraws = 200\nseed = 7\n')
    monkeypatch.setenv("REPRISE_EVALUATE_DRAWS", "300")
    monkeypatch.setenv("REPRISE_EVALUATE_SEED", "8")
    seen: list[evaluate.EvaluateConfig] = []

    def stop(config: evaluate.EvaluateConfig) -> None:
        seen.append(config)
        raise ValueError("seen enough")

    monkeypatch.setattr(evaluate, "run", stop)
    with pytest.raises(SystemExit):
        cli.main(["evaluate", "t", "--truth", "x", "--seed", "9"])
    assert (str(seen[0].decisions), seen[0].draws, seen[0].seed) == ("from_file", 300, 9)


def test_keys_may_be_written_as_flags(capsys: pytest.CaptureFixture[str]) -> None:
    settings("[mine]\nmin-users = 3\n")
    assert origin(capsys)["mine", "min_users"] == (3, "file reprise.toml")


def options(command: Any, names: tuple[str, ...] = ()) -> Iterator[tuple[str, str]]:
    """Every command and each of its options as it is typed, without its dashes."""
    for name, child in getattr(command, "commands", {}).items():
        yield from options(child, (*names, name))
    for parameter in getattr(command, "params", []):
        if parameter.param_type_name == "option" and names and names[0] != "config":
            yield from ((" ".join(names), flag[2:]) for flag in parameter.opts if flag.startswith("--"))


def test_keys_and_variables_are_named_as_the_options(capsys: pytest.CaptureFixture[str]) -> None:
    found = {(s["command"], s["key"], s["variable"]) for s in json.loads(run(capsys, "config", "show", "--json")[1])}
    names = {(command, option.replace("-", "_")) for command, option in options(cli.command()) if option != "help"}
    assert ("evaluate", "json") in names
    wanted = {(c, o, f"REPRISE_{c.replace(' ', '_').replace('-', '_')}_{o}".upper()) for c, o in names}
    assert wanted <= {(command, key, variable) for command, key, variable in found}


def test_a_variable_is_obeyed_whatever_the_option_is_called(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REPRISE_EVALUATE_JSON", "e.json")
    monkeypatch.setenv("REPRISE_EXPERIMENT_REPORT_JSON", "r.json")
    found = origin(capsys)
    assert found["evaluate", "json"] == ("e.json", "environment REPRISE_EVALUATE_JSON")
    assert found["experiment report", "json"] == ("r.json", "environment REPRISE_EXPERIMENT_REPORT_JSON")


def test_an_unknown_key_names_the_nearest_known_one(capsys: pytest.CaptureFixture[str]) -> None:
    settings("[evaluate]\ndrawz = 200\n")
    code, _, err = run(capsys, "config", "show")
    assert code == 2
    assert "got 'drawz' in table [evaluate]" in err
    assert "did you mean 'draws'?" in err


def test_an_unknown_command_names_the_nearest_known_one(capsys: pytest.CaptureFixture[str]) -> None:
    settings("[evalute]\ndraws = 200\n")
    code, _, err = run(capsys, "config", "show")
    assert (code, "did you mean 'evaluate'?" in err) == (2, True)


def test_a_table_and_a_value_are_not_mixed_up(capsys: pytest.CaptureFixture[str]) -> None:
    settings("evaluate = 3\n")
    assert "expected a table [evaluate]" in run(capsys, "config", "show")[2]
    settings("[evaluate.draws]\nx = 3\n")
    assert "a table where a value belongs" in run(capsys, "config", "show")[2]


def test_a_value_of_the_wrong_kind_is_a_usage_error(capsys: pytest.CaptureFixture[str]) -> None:
    settings('[evaluate]\ndraws = "many"\n')
    code, _, err = run(capsys, "evaluate", "t", "--truth", "x")
    assert code == 2
    expected = (
        "error: reprise.toml: [evaluate] draws = 'many' is no value for '--draws': Input should be a valid integer"
    )
    assert err.startswith(expected)


def test_show_refuses_a_value_of_the_wrong_kind_and_says_whose_it_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    settings('[mine]\nmin_users = "three"\n')
    code, _, err = run(capsys, "config", "show", "mine")
    assert (code, "reprise.toml: [mine] min_users = 'three' is no value for '--min-users'" in err) == (2, True)
    settings("[mine]\nmin_users = 3\n[evaluate]\ndraws = 3\n")
    assert "[evaluate] draws = 3 is no value for '--draws'" in run(capsys, "config", "show", "mine")[2]
    settings("[mine]\nmin_users = 3\n")
    monkeypatch.setenv("REPRISE_MINE_MIN_DAYS", "two")
    code, _, err = run(capsys, "config", "show", "mine")
    assert (code, "REPRISE_MINE_MIN_DAYS='two' is no value for '--min-days'" in err) == (2, True)


@pytest.mark.parametrize("text", ["[evaluate\n", "[evaluate]\ndraws = many\n"])
def test_a_file_that_is_not_toml_is_an_error(capsys: pytest.CaptureFixture[str], text: str) -> None:
    settings(text)
    code, _, err = run(capsys, "config", "show")
    assert code == 2
    assert "expected TOML" in err


def test_a_file_that_is_not_utf_8_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    Path("reprise.toml").write_bytes(b'[evaluate]\ntruth = "\xff"\n')
    assert "cannot read settings" in run(capsys, "config", "show")[2]


def test_a_named_file_that_is_missing_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "--config", "none.toml", "config", "show")
    assert code == 2
    assert "no settings file; got none.toml" in err


def test_show_prints_where_each_value_came_from(capsys: pytest.CaptureFixture[str]) -> None:
    settings("[evaluate]\ndraws = 200\n")
    _, out, _ = run(capsys, "config", "show", "evaluate", "--origin")
    line = next(line for line in out.splitlines() if " draws " in line)
    assert line.split() == ["evaluate", "draws", "200", "file", "reprise.toml", "REPRISE_EVALUATE_DRAWS"]


def test_show_of_an_unknown_command_is_an_error(capsys: pytest.CaptureFixture[str]) -> None:
    code, _, err = run(capsys, "config", "show", "evalute")
    assert (code, "no such command" in err) == (2, True)
