"""The API as an assistant sees it."""

import contextlib
import json

import httpx
import pytest

from serving.problems import KINDS, of_validation
from tests.serving.conftest import WORLD
from tests.serving.fakes import Running


def test_a_turn_is_answered_with_its_rewrite_and_who_decided(running: Running) -> None:
    answer = running.rewrite("Play  ALIEN bridges\u200b", "zoe", asr_confidence=0.4)
    found = answer.json()
    assert (found["rewrite"], found["source"], found["reason"]) == ("play ancient bridges", "global", "rewritten")
    assert found["bundle"] == WORLD.bundle_id
    assert found["request_id"] == answer.headers["x-request-id"]
    assert found["timings_ms"]["total"] >= found["timings_ms"]["deciding"] >= 0


def test_a_turn_that_needs_the_model_gets_it(running: Running) -> None:
    assert running.text("turn on the chicken light") == "turn on the kitchen light"


def test_what_is_not_known_is_left_alone(running: Running) -> None:
    found = running.rewrite("something else").json()
    assert (found["rewrite"], found["source"], found["reason"]) == (None, None, "unsure")


def test_a_request_id_that_is_plain_is_kept_and_any_other_replaced(running: Running) -> None:
    body = {"utterance": "x"}
    assert running.client.post("/v1/rewrite", json=body, headers={"x-request-id": "a-1"}).json()["request_id"] == "a-1"
    odd = running.client.post("/v1/rewrite", json=body, headers={"x-request-id": 'a b"<script>'})
    assert odd.json()["request_id"] != 'a b"<script>'


def test_deciding_that_fails_leaves_the_turn_alone(running: Running) -> None:
    found = running.rewrite("break")
    assert (found.status_code, found.json()["rewrite"], found.json()["reason"]) == (200, None, "fault")


def test_in_a_batch_each_turn_is_answered_by_itself(running: Running) -> None:
    turns = [
        {"utterance": "play alien bridges"},
        {"utterance": 7},
        {"utterance": "call mum", "user_id": "ann"},
        {"utterance": "break"},
        {"utterance": "x", "extra": 1},
        {},
    ]
    found = running.client.post("/v1/rewrite:batch", json={"requests": turns})
    assert found.status_code == 200
    results = found.json()["results"]
    assert [r.get("rewrite", r.get("status")) for r in results] == [
        *("play ancient bridges", 422, "call mum mobile", None),
        *(422, 422),
    ]
    assert all(r["request_id"].startswith(found.headers["x-request-id"]) for r in results)


def test_a_batch_has_its_limits(running: Running) -> None:
    turn = {"utterance": "x"}
    assert running.client.post("/v1/rewrite:batch", json={"requests": [turn] * 32}).status_code == 200
    assert running.client.post("/v1/rewrite:batch", json={"requests": [turn] * 33}).status_code == 422
    assert running.client.post("/v1/rewrite:batch", json={"requests": []}).status_code == 422


@pytest.mark.parametrize(
    "body",
    [
        b'{"utterance": "\\ud800"}',
        b'{"utterance": "x", "asr_confidence": NaN}',
        b'{"utterance": "x", "asr_confidence": 1e400}',
        b'{"utterance": "x", "gap_s": -1}',
        b'{"utterance": "x", "gap_s": ' + b"9" * 5000 + b"}",
        b'{"utterance": "x", "turns": "x"}',
        b'{"utterance": "x", "\\ud800": 1}',
        b'{"utterance": "x", "user_id": ""}',
        b'{"utterance": null}',
        b'{"utterance": "x", "asr_confidence": "0.5"}',
        b"[]",
        b"null",
        b"3",
        b"{",
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        b'{"utterance": "' + b"x" * 2001 + b'"}',
    ],
)
def test_what_is_not_valid_gets_a_problem_that_repeats_nothing(running: Running, body: bytes) -> None:
    for path in ("/v1/rewrite", "/v1/rewrite:batch", "/v1/feedback"):
        found = running.client.post(path, content=body, headers={"content-type": "application/json"})
        assert found.status_code in (400, 422)
        assert found.headers["content-type"] == "application/problem+json"
        problem = found.json()
        assert problem["status"] == found.status_code
        assert problem["request_id"] == found.headers["x-request-id"]
        assert "xxxx" not in found.text


def test_an_unknown_field_is_named_once_and_plainly(running: Running) -> None:
    found = running.client.post("/v1/rewrite", json={"utterance": "x", "wizard": 1, "gnome": 2})
    assert found.text.count("wizard") == found.text.count("gnome") == 1
    plainly = "there is no such field; /docs lists those of every route"
    assert found.json()["errors"] == [{"at": ["body", name], "problem": plainly} for name in ("wizard", "gnome")]
    twice = of_validation([{"type": "extra_forbidden", "loc": ("body", "wizard"), "msg": "no"}] * 2)
    assert twice.more["errors"] == [{"at": ["body", "wizard"], "problem": plainly}]


@pytest.mark.parametrize("kind", [None, "application/x-www-form-urlencoded", "text/plain"])
def test_a_body_that_is_not_said_to_be_json_is_told_which_header_to_send(running: Running, kind: str | None) -> None:
    headers = {"content-type": kind} if kind else {}
    for path in ("/v1/rewrite", "/v1/rewrite:batch", "/v1/feedback"):
        for body in (b'{"utterance": "x"}', b""):
            found = running.client.post(path, content=body, headers=headers)
            assert (found.status_code, found.json()["type"]) == (400, "/docs/problems#bad-request")
            assert "send it with `Content-Type: application/json`" in found.json()["detail"]


def test_a_body_that_is_no_object_is_told_so_in_plain_words(running: Running) -> None:
    for body, said in [(b"[]", "expected a JSON object"), (b"", "this is missing")]:
        found = running.client.post("/v1/rewrite", content=body, headers={"content-type": "application/json"})
        assert found.json()["errors"] == [{"at": ["body"], "problem": said}]
    torn = running.client.post("/v1/rewrite", content=b"{utterance: x}", headers={"content-type": "application/json"})
    assert "the body is no JSON; expected one object" in torn.json()["detail"]


def test_a_wrong_address_or_method_is_told_what_there_is(running: Running) -> None:
    assert "/docs lists every route" in running.client.get("/v1/rewrit").json()["detail"]
    wrong = running.client.get("/v1/rewrite")
    assert wrong.json()["detail"] == "this route takes POST; /docs lists every route"
    assert wrong.headers["allow"] == "POST"
    assert "Authorization: Bearer KEY" in running.client.post("/admin/reload").json()["detail"]


def test_a_turn_that_feedback_does_not_name_is_asked_for_by_its_fields(running: Running) -> None:
    unnamed = running.client.post("/v1/feedback", json={"status": "ok"}).json()["detail"]
    assert "`request_id` of the rewrite's answer, or your own `interaction_id`" in unnamed
    wrong = running.client.post("/v1/feedback", json={"id": "r1"}).json()["errors"]
    assert wrong == [{"at": ["body", "id"], "problem": "there is no such field; /docs lists those of every route"}]


def test_every_route_is_counted_by_its_own_name(running: Running) -> None:
    for path in ("/openapi.json", "/docs", "/info"):
        assert running.client.get(path).status_code == 200
        assert f'method="GET",route="{path}",status="200"' in running.client.get("/metrics").text
    assert 'route="unmatched",status="200"' not in running.client.get("/metrics").text


def test_errors_of_every_kind_are_problems(running: Running) -> None:
    known = {status for status, _ in KINDS.values()}
    for method, path in [
        ("GET", "/nothing"),
        ("GET", "/v1/rewrite"),
        ("PATCH", "/v1/rewrite"),
        ("POST", "/admin/reload"),
        ("DELETE", "/v1/users/x"),
        ("TRACE", "/"),
    ]:
        found = running.client.request(method, path)
        assert found.status_code in known - {200}
        assert found.headers["content-type"] == "application/problem+json", path
        assert found.json()["status"] == found.status_code


def test_a_body_beyond_the_limit_is_refused_with_or_without_its_length(running: Running) -> None:
    large = json.dumps({"utterance": "x", "turns": ["y" * 1000] * 1000}).encode()
    assert running.client.post("/v1/rewrite", content=large).status_code == 413
    chunks = (large[i : i + 10_000] for i in range(0, len(large), 10_000))
    with contextlib.suppress(httpx.HTTPError):  # the connection may close while the rest is being sent
        assert running.client.post("/v1/rewrite", content=chunks).status_code == 413
    assert running.text("play alien bridges") == "play ancient bridges"


def test_feedback_is_taken_and_needs_a_turn(running: Running) -> None:
    post = running.client.post
    assert post("/v1/feedback", json={"request_id": "r1", "status": "ok", "dwell_s": 31.5}).status_code == 202
    assert post("/v1/feedback", json={"status": "ok"}).status_code == 422
    assert post("/v1/feedback", json={"request_id": "r1", "status": "fine"}).status_code == 422
    silent = post("/v1/feedback", json={"request_id": "r1"})
    assert silent.status_code == 422
    assert "one of `status`, `interrupted` and `dwell_s`" in silent.json()["detail"]
    assert post("/v1/feedback", json={"request_id": "r1", "interrupted": False}).status_code == 202


def test_the_operators_routes_stay_shut_without_their_key(running: Running) -> None:
    for method, path in [
        ("POST", "/admin/reload"),
        ("POST", "/admin/rollback"),
        ("POST", "/admin/drain"),
        ("DELETE", "/v1/users/ann"),
        ("POST", "/v1/blocklist"),
        ("GET", "/v1/blocklist"),
    ]:
        assert running.client.request(method, path).status_code == 401


def test_without_keys_only_this_machine_is_served(running: Running) -> None:
    for host, status in [("evil.example", 400), ("localhost:1", 200), ("127.0.0.1", 200), ("[::1]:80", 200)]:
        assert running.client.get("/info", headers={"host": host}).status_code == status


def test_health_info_and_metrics_answer(running: Running) -> None:
    assert running.client.get("/livez").json() == {"status": "ok"}
    assert running.client.get("/health").json()["bundle"] == WORLD.bundle_id
    assert running.client.get("/info").json()["bundle"] == WORLD.bundle_id
    assert running.client.get("/v1/bundles").json()["bundles"][0]["in_force"]
    running.text("play alien bridges", "some-user-id")
    text = running.client.get("/metrics").text
    assert 'reprise_decisions_total{reason="rewritten",source="global"}' in text
    for private in ("alien", "ancient", "some-user-id"):
        assert private not in text


def test_the_description_names_every_documented_problem(running: Running) -> None:
    described = running.client.get("/openapi.json").json()
    rewrite = described["paths"]["/v1/rewrite"]["post"]["responses"]
    assert set(rewrite) >= {"200", "400", "401", "413", "422", "429", "503", "504"}
    assert described["info"]["version"] == "1.0.0"
    assert "HTTPValidationError" not in described["components"]["schemas"]
    assert rewrite["422"]["content"].keys() == {"application/problem+json"}


def test_the_description_for_people_names_every_route_field_and_problem_and_asks_nobody_else(running: Running) -> None:
    described = running.client.get("/openapi.json").json()
    page = running.client.get("/docs")
    assert page.status_code == 200
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "//" not in page.text.replace("<!doctype", "")
    for path, methods in described["paths"].items():
        for method in methods:
            assert f"<code>{method.upper()} {path}</code>" in page.text
    for field in ("utterance", "asr_nbest", "deadline_ms"):
        assert f"<code>{field}</code>" in page.text
    problem = running.client.get("/nowhere").json()
    address, kind = problem["type"].split("#")
    assert f'id="{kind}"' in running.client.get(address).text
