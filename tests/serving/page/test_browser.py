"""The page in a real browser: it draws, obeys the keyboard, runs nobody's words, and breaks no policy.

With REPRISE_SCREENSHOTS naming a folder, screenshots are left there to be looked at.
"""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rewrite.registry import Registry
from serving.page.routes import PAGES
from tests.serving.fakes import Running
from tests.serving.page.site import make_registry, site

pytestmark = pytest.mark.browser
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    if CHROMIUM is None:
        pytest.skip("no chromium on this machine; install it with `apt-get install chromium`")
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright is not installed")
    with playwright.sync_playwright() as p:
        found = p.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("hostile")
    with site(folder, make_registry(folder / "registry", hostile=True)) as (running, _):
        yield running


class Tab:
    """A page that remembers what went wrong on it."""

    def __init__(self, browser: Any, url: str, **context: Any) -> None:
        self.context = browser.new_context(base_url=url, viewport={"width": 1280, "height": 900}, **context)
        self.page = self.context.new_page()
        self.page.set_default_timeout(30_000)
        self.wrong: list[str] = []
        self.page.on("console", lambda m: self.wrong.append(m.text) if m.type in ("error", "warning") else None)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))

    def shoot(self, name: str) -> None:
        folder = os.environ.get("REPRISE_SCREENSHOTS")
        if folder:
            self.page.screenshot(path=str(Path(folder) / f"{name}.png"))


@pytest.fixture
def tab(browser: Any, hostile: Running) -> Iterator[Tab]:
    found = Tab(browser, hostile.url)
    yield found
    found.context.close()


@pytest.mark.parametrize("path", PAGES)
def test_no_page_breaks_its_policy_or_runs_what_users_said(path: str, tab: Tab) -> None:
    tab.page.goto(path)
    tab.page.wait_for_load_state("networkidle")
    assert tab.wrong == []
    assert "owned" not in tab.page.title()
    assert tab.page.locator("main img").count() == 0
    assert tab.page.locator("h1").count() == 1
    tab.shoot(PAGES[path].lower().replace(" ", "-"))


@pytest.mark.parametrize("path", PAGES)
def test_every_field_has_a_name_and_every_table_its_headers(path: str, tab: Tab) -> None:
    tab.page.goto(path)
    unnamed = "e => !(e.labels && e.labels.length) && !e.getAttribute('aria-label')"
    fields = "input:not([type=hidden]), textarea, select"
    assert tab.page.eval_on_selector_all(fields, f"all => all.filter({unnamed}).map(e => e.outerHTML)") == []
    assert tab.page.eval_on_selector_all("table", "all => all.filter(t => !t.querySelector('th[scope]')).length") == 0
    assert tab.page.eval_on_selector_all("button", "all => all.filter(b => !b.innerText.trim()).length") == 0
    for landmark in ("header", "nav[aria-label]", "main"):
        assert tab.page.locator(landmark).count() == 1


def test_the_course_is_drawn_as_svg_and_told_in_words(tab: Tab) -> None:
    tab.page.goto("/")
    chart = tab.page.locator("[data-chart=course]")
    chart.locator("svg path").first.wait_for(state="attached")
    assert "with rewrites" in (chart.get_attribute("aria-label") or "")
    tab.page.get_by_text("The same as a table").click()
    assert tab.page.get_by_role("cell", name="2026-03-28").is_visible()


def test_searching_while_typing_narrows_the_pairs(tab: Tab) -> None:
    tab.page.goto("/page/rewrites")
    assert tab.page.locator("#found tbody tr").count() == 6
    tab.page.get_by_label("Words in source or target").press_sequentially("chicken")
    tab.page.get_by_text("play alien bridges").wait_for(state="detached")
    assert tab.page.locator("#found tbody tr").count() == 1
    assert "kitchen light" in tab.page.locator("#found tbody").inner_text()
    assert tab.page.locator("header").count() == 1
    assert tab.wrong == []


def test_a_keyboard_is_enough(tab: Tab) -> None:
    tab.page.goto("/page/trie")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.className") == "skip"
    tab.page.keyboard.press("Enter")
    tab.page.keyboard.press("Tab")
    assert tab.page.evaluate("document.activeElement.id") == "text"
    tab.page.keyboard.type("play jazz at night")
    tab.page.keyboard.press("Enter")
    tab.page.get_by_text("as far as “play jazz”").wait_for()
    tab.page.get_by_role("link", name="play", exact=True).focus()
    tab.page.keyboard.press("Enter")
    tab.page.get_by_role("link", name="jazz", exact=True).wait_for()


def test_trying_a_text_shows_candidates_and_words(tab: Tab) -> None:
    tab.page.goto("/page/try")
    tab.page.get_by_label("Request, as heard").fill("play alien bridges")
    tab.page.get_by_role("button", name="Decide").click()
    tab.page.locator("[data-chart=words] svg").wait_for(state="attached")
    assert "ancient bridges" in tab.page.locator("main").inner_text()
    assert tab.wrong == []
    tab.shoot("tried")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_stands_out_in_light_and_dark(scheme: str, browser: Any, hostile: Running) -> None:
    tab = Tab(browser, hostile.url, color_scheme=scheme)
    tab.page.goto("/")
    luminance = """name => {
        const probe = document.createElement('i'); probe.style.color = `var(${name})`; document.body.append(probe);
        const part = getComputedStyle(probe).color.match(/[0-9.]+/g).slice(0, 3).map(Number).map(v => v / 255)
            .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
        probe.remove(); return 0.2126 * part[0] + 0.7152 * part[1] + 0.0722 * part[2]; }"""
    paper = tab.page.evaluate(luminance, "--paper")
    assert (paper < 0.5) is (scheme == "dark")
    for name in ("--ink", "--faint", "--accent", "--good", "--bad"):
        ink = tab.page.evaluate(luminance, name)
        contrast = (max(ink, paper) + 0.05) / (min(ink, paper) + 0.05)
        assert contrast >= 4.5, f"{name} in {scheme} has contrast {contrast:.1f}"
    tab.shoot(f"overview-{scheme}")
    tab.context.close()


def test_a_narrow_screen_is_not_scrolled_sideways(browser: Any, hostile: Running) -> None:
    tab = Tab(browser, hostile.url)
    tab.page.set_viewport_size({"width": 360, "height": 740})
    for path in PAGES:
        tab.page.goto(path)
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 360
    tab.context.close()


def test_an_admin_enters_rolls_back_and_is_told(browser: Any, tmp_path: Path) -> None:
    with site(tmp_path, make_registry(tmp_path / "registry"), keyed=True) as (running, secret):
        before = Registry(tmp_path / "registry").aliases()
        tab = Tab(browser, running.url)
        tab.page.goto("/")
        tab.page.get_by_label("Key").fill(secret)
        tab.page.get_by_role("button", name="Enter").click()
        tab.page.get_by_role("link", name="Bundles").click()
        tab.page.get_by_text("Roll back…").click()
        tab.page.locator("form[action='/page/rollback']").get_by_label("Reason").fill("looks odd")
        tab.page.get_by_role("button", name="Roll back to the previous champion").click()
        tab.page.get_by_role("status").filter(has_text="rolled back").wait_for()
        assert Registry(tmp_path / "registry").resolve("champion") == before["previous"]
        tab.shoot("rolled-back")
        assert [w for w in tab.wrong if "401" not in w] == []
        tab.context.close()
