"""The HTML report: whole in itself, honest about what broke, safe against what users say."""

import re
import subprocess
from html.parser import HTMLParser
from pathlib import Path
from shutil import which

import pyarrow as pa
import pytest

from jobs.evaluate import EvaluateConfig, run
from jobs.evaluation import Evaluation
from jobs.report.evidence import evidence
from jobs.report.pictures import defect_rates, precision_curves, reliability_curve
from tests.jobs.worlds import truth_row, turn_row, write, write_decisions, write_mined, write_world

HOSTILE = '<script>alert(1)</script><img src=x onerror=alert(1)>" onmouseover="alert(1) \u202e{{ 7*7 }}'


def report(folder: Path, **more: object) -> tuple[Evaluation, str]:
    out = folder / "report.html"
    files = {"turns": folder / "turns.parquet", "truth": folder / "truth.parquet"}
    settings = {"decisions": folder / "decisions.parquet", "html_out": out, "draws": 20, **more}
    evaluation = run(EvaluateConfig(**files, **settings))  # type: ignore[arg-type]
    return evaluation, out.read_text(encoding="utf-8")


def hostile_world(folder: Path) -> Path:
    write(folder / "turns.parquet", [turn_row(0, "<b>user</b>", HOSTILE)])
    write(folder / "truth.parquet", [truth_row("i0000", "stop", False, None)], cause=pa.string())
    write_decisions(folder / "decisions.parquet", [HOSTILE + "!"])
    return folder


class Tags(HTMLParser):
    """Collects every tag and attribute name, and what is left open at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [name for name, _ in attrs]
        if tag not in {"meta", "br", "img", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def parsed(page: str) -> Tags:
    tags = Tags()
    tags.feed(page)
    tags.close()
    return tags


def test_what_a_user_says_never_becomes_markup(tmp_path: Path) -> None:
    _, page = report(hostile_world(tmp_path))
    tags = parsed(page)
    assert not {"script", "img"} & set(tags.tags)
    assert "<b>user" not in page
    assert not [name for name in tags.attributes if name.startswith("on")]
    assert "{{ 7*7 }}" in page


def test_every_tag_is_closed(tmp_path: Path) -> None:
    _, page = report(write_world(tmp_path), mined=write_mined(tmp_path / "mined"))
    assert parsed(page).open == []


def test_the_page_fetches_nothing(tmp_path: Path) -> None:
    _, page = report(write_world(tmp_path))
    assert not re.search(r'(src|href)="(?!#)', page)
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)


def test_every_broken_turn_is_listed(tmp_path: Path) -> None:
    evaluation, page = report(write_world(tmp_path, turns=300))
    rows = evaluation.ours.outcomes.broken.nonzero()[0]
    listed = page[page.index("What it broke") :]
    assert len(rows) > 5
    assert all(f"<td>{evaluation.interaction_ids[row]}</td>" in listed for row in rows)


def test_ids_are_unique_and_pictures_are_named(tmp_path: Path) -> None:
    evaluation, page = report(write_world(tmp_path), mined=write_mined(tmp_path / "mined"))
    ids = re.findall(r'\bid="([^"]*)"', page)
    assert len(ids) == len(set(ids))
    for picture in (defect_rates(evaluation), precision_curves(evaluation), reliability_curve(evaluation)):
        title, description = re.search(r'aria-labelledby="(\S+) (\S+)"', picture).groups()  # type: ignore[union-attr]
        assert f'<title id="{title}">' in picture
        assert f'<desc id="{description}">' in picture


def test_pictures_take_the_pages_colours(tmp_path: Path) -> None:
    evaluation, _ = report(write_world(tmp_path))
    assert "var(--ink)" in defect_rates(evaluation)
    assert "#010203" not in precision_curves(evaluation)


def test_a_run_that_rewrote_nothing_says_so(tmp_path: Path) -> None:
    write(tmp_path / "turns.parquet", [turn_row(0, "u", "stop")])
    write(tmp_path / "truth.parquet", [truth_row("i0000", "stop", False, None)], cause=pa.string())
    write_decisions(tmp_path / "decisions.parquet", [None])
    _, page = report(tmp_path)
    assert "Nothing was rewritten." in page
    assert "No good turn was rewritten wrong." in page


def test_the_same_evaluation_gives_the_same_page(tmp_path: Path) -> None:
    write_world(tmp_path)
    assert report(tmp_path)[1] == report(tmp_path)[1]


def test_evidence_names_users_days_and_examples(tmp_path: Path) -> None:
    found = evidence(write_mined(tmp_path / "mined"), [("play jas", "play jazz"), ("x", "stop"), ("x", "my own words")])
    assert found["play jas", "play jazz"].startswith("2 users asked for that next, 3 times on 2 days (e.g. i1>i2)")
    assert found["x", "stop"] == "the target worked in 95 % of 20 turns of 9 users"
    assert found["x", "my own words"] == "one of the user's own texts"


@pytest.mark.browser
@pytest.mark.skipif(which("chromium") is None, reason="chromium is not installed")
def test_a_browser_shows_the_page(tmp_path: Path) -> None:
    report(hostile_world(tmp_path))
    shot, page = tmp_path / "shot.png", (tmp_path / "report.html").as_uri()
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--screenshot={shot}", "--window-size=1000,1500"]
    subprocess.run(["chromium", *flags, page], check=True, capture_output=True, timeout=60)
    assert shot.stat().st_size > 10_000
