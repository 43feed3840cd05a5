"""The client gets out of the way whatever happens."""

import time
from typing import Any

import httpx
import pytest

from serving.client import FAILURES, RewriteClient
from tests.serving.fakes import Running

TEXT = "play alien bridges"


def client_of(answer: Any, **settings: Any) -> RewriteClient:
    def handle(request: httpx.Request) -> httpx.Response:
        if isinstance(answer, Exception):
            raise answer
        return answer(request) if callable(answer) else answer

    return RewriteClient("http://127.0.0.1:1", transport=httpx.MockTransport(handle), **settings)


def test_a_rewrite_comes_through(running: Running) -> None:
    with RewriteClient(running.url, timeout_s=5) as client:
        found = client.rewrite(TEXT, asr_confidence=0.4)
        assert (found.text, found.original, found.source) == ("play ancient bridges", TEXT, "global")
        assert found.is_rewritten
        assert found.failed is None
        left = client.rewrite("stop")
        assert (left.text, left.is_rewritten, left.reason, left.failed) == ("stop", False, "unsure", None)
        many = client.rewrite_batch([{"utterance": TEXT}, {"utterance": "stop"}, {"utterance": "x", "wrong": 1}])
        assert [m.text for m in many] == ["play ancient bridges", "stop", "x"]
        assert [m.failed for m in many] == [None, None, "status 422"]
        assert client.feedback(request_id=found.request_id, status="ok")


@pytest.mark.parametrize("status", [400, 401, 404, 413, 422, 429, 500, 503, 504])
def test_a_problem_leaves_the_turn_alone_and_says_so(status: int) -> None:
    with client_of(httpx.Response(status, json={"status": status})) as client:
        found = client.rewrite(TEXT)
        assert (found.text, found.failed, found.is_rewritten) == (TEXT, f"status {status}", False)
        assert client.rewrite_batch([{"utterance": TEXT}])[0].failed == f"status {status}"
        assert not client.feedback(request_id="r")


@pytest.mark.parametrize(
    ("failure", "said"),
    [
        (httpx.ConnectError("no"), "refused"),
        (httpx.ReadTimeout("slow"), "timeout"),
        (httpx.ConnectTimeout("slow"), "timeout"),
        (httpx.RemoteProtocolError("odd"), "refused"),
    ],
)
def test_a_service_that_is_gone_or_slow_leaves_the_turn_alone(failure: Exception, said: str) -> None:
    with client_of(failure) as client:
        assert (client.rewrite(TEXT).text, client.rewrite(TEXT).failed) == (TEXT, said)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b"{", b"\xff", b'{"rewrite": 3}', b'{"results": 1}'])
def test_an_answer_that_is_none_leaves_the_turn_alone(content: bytes) -> None:
    with client_of(httpx.Response(200, content=content)) as client:
        assert (client.rewrite(TEXT).text, client.rewrite(TEXT).failed) == (TEXT, "bad answer")
        assert client.rewrite_batch([{"utterance": TEXT}])[0].failed == "bad answer"


def test_after_failures_in_a_row_the_service_is_left_alone_for_a_while() -> None:
    asked = []

    def busy(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        return httpx.Response(503, headers={"retry-after": "9999"})

    with client_of(busy) as client:
        found = [client.rewrite(TEXT).failed for _ in range(FAILURES + 3)]
    assert found == ["status 503"] * FAILURES + ["pause"] * 3
    assert len(asked) == FAILURES


def test_nothing_listens_at_all() -> None:
    with RewriteClient("http://127.0.0.1:9", timeout_s=1) as client:
        began = time.monotonic()
        assert client.rewrite(TEXT).failed == "refused"
        assert time.monotonic() - began < 3


def test_the_key_goes_along() -> None:
    def echo(request: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json={"reason": request.headers["authorization"], "rewrite": None})

    with client_of(echo, key="secret") as client:
        assert client.rewrite(TEXT).reason == "Bearer secret"
