"""The README keeps its word: its command lines parse, its snippets run, its links lead somewhere."""

import re
import shlex
from pathlib import Path
from typing import Any
from unittest.mock import create_autospec

import pyarrow.parquet as pq
import pytest
import torch

from jobs import cli
from tests.reference.tiny_models import tiny_model

ROOT = Path(__file__).parents[1]
DOCUMENTS = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(text: str, language: str) -> list[str]:
    """The fenced blocks of one language."""
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def command_lines() -> list[str]:
    """Every line after a `$ ` in the console blocks, without its comment."""
    lines = [line for block in blocks(README, "console") for line in block.splitlines()]
    return [line[2:].split("  #")[0].strip() for line in lines if line.startswith("$ ")]


def test_the_request_that_is_explained_is_one_of_the_demo_that_its_user_had_to_say_again() -> None:
    line, leaning = (shlex.split(line) for line in command_lines() if line.startswith("reprise explain"))
    assert times_in_demo([("utterance", "=", line[2]), ("user_id", "=", line[line.index("--user") + 1])]) >= 3
    assert times_in_demo([("utterance", "=", leaning[2])]) >= 100
    assert times_in_demo([("utterance", "=", leaning[leaning.index("--turn") + 1]), ("status", "=", "ok")]) >= 100


def times_in_demo(wanted: list[tuple[str, str, str]]) -> int:
    logs = pq.read_table(ROOT / "jobs" / "demo" / "logs.parquet", columns=["interaction_id"], filters=wanted)
    return int(logs.num_rows)


def inline_commands() -> list[str]:
    """Every `reprise …` in code quotes of README and docs that names a command."""
    quoted = (
        name for d in DOCUMENTS for name in re.findall(r"`reprise ([a-z][^`…<]*)`", d.read_text(encoding="utf-8"))
    )
    return sorted(set(quoted))


def parse(arguments: list[str]) -> None:
    """Parse a line as the program would, without running it; a usage error exits."""
    command, ctx, rest = cli.command(), None, arguments
    while True:
        ctx = command.make_context(command.name or "reprise", list(rest), parent=ctx)
        children = getattr(command, "commands", {})
        if not children:
            return
        rest = [*getattr(ctx, "_protected_args", []), *ctx.args]
        command = children[rest.pop(0)]


@pytest.mark.parametrize("line", [line for line in command_lines() if line.startswith("reprise ")])
def test_a_command_line_parses(line: str) -> None:
    parse(shlex.split(line)[1:])


def test_a_line_that_does_not_parse_is_noticed() -> None:
    with pytest.raises(Exception, match="nope"):
        parse(["learn", "mined", "--out", "bundle", "--nope"])


@pytest.mark.parametrize("line", [line for line in command_lines() if line.startswith("make ")])
def test_a_make_target_exists(line: str) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert re.search(rf"^{line.split()[1]}:", makefile, flags=re.MULTILINE)


@pytest.mark.parametrize("line", inline_commands())
def test_a_command_that_is_mentioned_exists(line: str) -> None:
    assert line.split()[0] in cli.command().commands


def test_the_search_snippet_runs(capsys: pytest.CaptureFixture[str]) -> None:
    snippet = next(b for b in blocks(README, "python") if "TokenTrie" in b)
    ids = torch.tensor([[byte + 3 for byte in b"play alien bridges"]])
    names: dict[str, Any] = {"model": tiny_model("byt5"), "input_ids": ids, "attention_mask": torch.ones_like(ids)}
    exec(snippet, names)
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 2
    assert all(line.split(maxsplit=2)[2] in names["texts"] for line in printed)


def test_the_rewriter_snippet_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from rewrite import Rewriter
    from rewrite.decision import Decision

    # a stand-in with the real signatures: a call that the class would refuse is refused here too
    stand_in = create_autospec(Rewriter, instance=True)
    stand_in.rewrite.return_value = Decision("play ancient bridges", "global", 0.9, "rewritten")
    monkeypatch.setattr(Rewriter, "load", lambda path: stand_in)
    exec(next(b for b in blocks(README, "python") if "Rewriter" in b), {})
    assert capsys.readouterr().out == "play ancient bridges global 0.9 rewritten\n"


def test_the_settings_example_is_accepted(tmp_path: Path) -> None:
    from jobs.config import load

    example = next(iter(blocks((ROOT / "docs" / "settings.md").read_text(encoding="utf-8"), "toml")))
    (tmp_path / "reprise.toml").write_text(example, encoding="utf-8")
    assert load(tmp_path / "reprise.toml", cli.command())["evaluate"] == {"draws": 500, "seed": 7}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda d: d.name)
def test_links_lead_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", document.read_text(encoding="utf-8"))
    assert [t for t in targets if not (document.parent / t).exists()] == []
