"""The page without a browser: who may look, who may act, and what stands on it."""

import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from rewrite.disk import read_lines
from rewrite.registry import Registry
from serving.page.figures import quantile
from serving.page.routes import PAGES
from tests.serving.fakes import Running
from tests.serving.page.site import HOSTILE, make_registry, site


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = tmp_path_factory.mktemp("hostile")
    with site(folder, make_registry(folder / "registry", hostile=True)) as (running, _):
        yield running


@pytest.fixture
def keyed(tmp_path: Path) -> Iterator[tuple[Running, str, Path]]:
    with site(tmp_path, make_registry(tmp_path / "registry"), keyed=True) as (running, secret):
        yield running, secret, tmp_path


OPEN: list[httpx.Client] = []


@pytest.fixture(autouse=True)
def closing() -> Iterator[None]:
    yield
    while OPEN:
        OPEN.pop().close()


def bare(running: Running) -> httpx.Client:
    OPEN.append(httpx.Client(base_url=running.url, timeout=20))
    return OPEN[-1]


def entered(running: Running, secret: str) -> httpx.Client:
    client = bare(running)
    client.follow_redirects = True
    assert client.post("/page/login", data={"key": secret}).status_code == 200
    return client


def token(client: httpx.Client) -> str:
    found = re.search(r'name="token" value="([0-9a-f]{64})"', client.get("/page/bundles").text)
    assert found
    return found.group(1)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_there_with_its_policy_and_nothing_from_elsewhere(path: str, hostile: Running) -> None:
    answer = hostile.client.get(path)
    assert answer.status_code == 200
    policy = answer.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert not re.search(r"(src|href)=\"https?://", answer.text)
    assert not re.search(r"<[^>]+ (style|on\w+)=", answer.text)


@pytest.mark.parametrize("path", PAGES)
def test_without_a_registry_pages_say_what_to_do(path: str, tmp_path: Path) -> None:
    with site(tmp_path, None) as (running, _):
        answer = running.client.get(path)
        assert answer.status_code == 200
        if path not in ("/page/try",):
            assert 'class="empty"' in answer.text
            assert "DIR" not in answer.text  # two folders under one name tell nobody which is which


def test_hostile_utterances_are_text(hostile: Running) -> None:
    for path in ("/page/rewrites", "/page/runs/run27", "/page/bundles"):
        html = hostile.client.get(path).text
        for said in HOSTILE[:3]:
            assert said not in html
            assert said.lower() not in html
    assert "&lt;img" in hostile.client.get("/page/rewrites").text


@pytest.mark.parametrize("said", HOSTILE)
def test_what_is_typed_in_comes_back_as_text(said: str, hostile: Running) -> None:
    for path, name in (("/page/rewrites", "q"), ("/page/trie", "text"), ("/page/try", "text"), ("/", "said")):
        answer = hostile.client.get(path, params={name: said})
        assert answer.status_code == 200
        assert "<img" not in answer.text
        assert "<script>" not in answer.text


def test_without_a_key_only_the_door_is_shown(keyed: tuple[Running, str, Path]) -> None:
    client = bare(keyed[0])
    for path in PAGES:
        answer = client.get(path)
        assert (answer.status_code, answer.headers["location"]) == (303, "/page/login")
    assert client.post("/page/login", data={"key": "rp_wrong"}).status_code == 401
    assert client.get("/page/login").status_code == 200


def test_a_forged_or_altered_cookie_opens_nothing(keyed: tuple[Running, str, Path]) -> None:
    client = entered(keyed[0], (keyed[2] / "use").read_text())
    value = client.cookies["reprise_session"]
    for forged in (
        value.replace("use.", "admin.", 1),
        value[:-1] + ("0" if value[-1] != "0" else "1"),
        "admin.x/9.9",
        "",
    ):
        answer = httpx.get(f"{keyed[0].url}/", cookies={"reprise_session": forged})
        assert answer.status_code == 303


def test_levers_need_an_admin_and_our_own_form(keyed: tuple[Running, str, Path]) -> None:
    running, secret, folder = keyed
    before = Registry(folder / "registry").aliases()
    looking, acting = entered(running, (folder / "use").read_text()), entered(running, secret)
    for client, sent in (
        (looking, "x" * 64),
        (acting, ""),
        (acting, "0" * 64),
        (bare(running), ""),
    ):
        for path in ("/page/rollback", "/page/promote", "/page/block"):
            data = {"token": sent, "reason": "r", "bundle": before["previous"], "text": "stop"}
            answer = client.post(path, data=data, follow_redirects=False)
            assert answer.status_code in (303, 401)
            assert answer.status_code == 401 or answer.headers["location"] == "/page/login"
    assert Registry(folder / "registry").aliases() == before
    assert list(read_lines(folder / "state" / "audit.jsonl")) == []
    assert "Block “" not in looking.get("/page/rewrites").text


def test_an_admin_rolls_back_promotes_and_blocks_and_it_is_on_record(keyed: tuple[Running, str, Path]) -> None:
    running, secret, folder = keyed
    client, registry = entered(running, secret), Registry(folder / "registry")
    before = registry.aliases()
    sent = {"token": token(client), "reason": "looks odd"}
    assert client.post("/page/rollback", data=sent).status_code == 200
    assert registry.resolve("champion") == before["previous"]
    assert running.client.get("/info", headers={"authorization": f"Bearer {(folder / 'use').read_text()}"}).json()
    assert client.post("/page/promote", data={**sent, "bundle": before["champion"]}).status_code == 200
    assert registry.aliases() == before
    running.client.headers["authorization"] = f"Bearer {(folder / 'use').read_text()}"
    assert running.text("play alien bridges") == "play ancient bridges"
    assert client.post("/page/block", data={**sent, "text": "play ancient bridges"}).status_code == 200
    assert running.text("play alien bridges") is None
    assert client.post("/page/block", data={**sent, "text": "play ancient bridges", "lift": "yes"}).status_code == 200
    assert running.text("play alien bridges") == "play ancient bridges"
    pair = {"source": "stop", "target": "play ancient bridges"}
    assert client.post("/page/pin", data={**sent, **pair}).status_code == 200
    assert running.text("stop") == "play ancient bridges"
    assert "Unpin" in client.get("/page/rewrites").text
    assert client.post("/page/pin", data={**sent, **pair, "lift": "yes"}).status_code == 200
    assert running.text("stop") is None
    audit = list(read_lines(folder / "state" / "audit.jsonl"))
    assert [(line["by"], line["did"]) for line in audit] == [
        ("olga", "rollback"), ("olga", "promote"), ("olga", "block"), ("olga", "lift"), ("olga", "pin"),
        ("olga", "unpin"),
    ]  # fmt: skip
    assert audit[0]["reason"] == "looks odd"
    assert "looks odd" in client.get("/page/rewrites").text


def test_who_leaves_is_out(keyed: tuple[Running, str, Path]) -> None:
    client = entered(keyed[0], keyed[1])
    client.post("/page/logout")
    assert client.get("/", follow_redirects=False).status_code == 303


def test_the_trie_says_why_a_text_cannot_come_out(hostile: Running) -> None:
    def why(text: str) -> str:
        return hostile.client.get("/page/trie", params={"text": text}).text

    assert "It can: it worked for 7 users" in why("Play  JAZZ")
    assert "asked by 6 users" in why("play alien bridges")
    assert "as far as “play jazz”" in why("play jazz at night")
    assert "No text in force begins" in why("xyz")


def test_the_trie_goes_word_by_word(hostile: Running) -> None:
    html = hostile.client.get("/page/trie", params={"prefix": "play jazz"}).text
    assert "ends here" in html
    assert ">in</a>" in html
    assert ">ancient</a>" not in html


def test_trying_records_nothing_and_shows_candidates(hostile: Running) -> None:
    before = hostile.service.exposures.records
    html = hostile.client.get("/page/try", params={"text": "play alien bridges"}).text
    assert "Rewrite to" in html
    assert "ancient bridges" in html
    assert 'data-chart="words"' in html
    assert "in the session: what was said before, again" in html
    assert hostile.service.exposures.records == before


def test_a_bundle_diff_counts_both_ways(hostile: Running) -> None:
    html = hostile.client.get("/page/bundles", params={"one": "previous", "other": "champion"}).text
    assert "texts added: 2" in html
    assert "texts removed: 0" in html


def test_no_file_but_ours_is_served(hostile: Running) -> None:
    assert hostile.client.get("/page/static/page.css").status_code == 200
    for name in ("../routes.py", "..%2Froutes.py", "%2e%2e/session.py", "nothing.js"):
        assert hostile.client.get(f"/page/static/{name}").status_code == 404


@pytest.mark.parametrize(("share", "expected"), [(0.5, 5.0), (0.95, 15.0)])
def test_a_quantile_of_a_histogram_lies_within_its_bucket(share: float, expected: float) -> None:
    buckets = {0.01: 90.0, 0.02: 100.0, float("inf"): 100.0}
    found = quantile(buckets, share)
    assert found == pytest.approx(expected if share > 0.9 else 1e3 * 0.01 * 50 / 90)
    assert quantile({}, 0.5) is None
