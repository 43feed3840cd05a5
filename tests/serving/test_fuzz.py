"""No bytes whatever make it answer 500."""

import contextlib
import random
import re
import socket
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.serving.fakes import Running

HEAD = b"POST /v1/rewrite HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nConnection: close\r\n"
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(st.characters(codec=None), max_size=30),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=12,
)
FIELDS = ("utterance", "user_id", "turns", "gap_s", "asr_nbest", "slots", "deadline_ms", "explain", "requests", "text")


def answers(port: int, data: bytes) -> list[int]:
    """The statuses that come back for raw bytes on one connection."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as connection:
        with contextlib.suppress(OSError):
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR)
        with contextlib.suppress(OSError):
            while part := connection.recv(65536):
                received += part
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3})", received)]


def port_of(running: Running) -> int:
    return int(running.url.rpartition(":")[2])


def mutated(data: bytes, rng: random.Random) -> bytes:
    out = bytearray(data)
    for _ in range(rng.randrange(1, 8)):
        at = rng.randrange(len(out))
        kind = rng.randrange(4)
        if kind == 0:
            out[at] = rng.randrange(256)
        elif kind == 1:
            out[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 9)))
        elif kind == 2:
            del out[at : at + rng.randrange(1, 9)]
        else:
            out[at:at] = rng.choice([b"\r\n", b"\0", b"\xff\xfe", b'"', b"}", b"{", b"\xed\xa0\x80", b"NaN", b"1e999"])
        if not out:
            return b"\0"
    return bytes(out)


@pytest.mark.parametrize(
    "count", [pytest.param(150, id="short"), pytest.param(20_000, id="long", marks=pytest.mark.slow)]
)
def test_no_raw_bytes_are_answered_with_500(running: Running, count: int) -> None:
    rng = random.Random(1)
    body = b'{"utterance": "play alien bridges", "user_id": "ann", "turns": ["a"], "asr_confidence": 0.5, "gap_s": 1}'
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(body) + body
    for number in range(count):
        if number % 3 == 0:
            changed = mutated(body, rng)
            data = HEAD + b"Content-Length: %d\r\n\r\n" % len(changed) + changed
        elif number % 3 == 1:
            data = mutated(whole, rng)
        else:
            data = bytes(rng.randrange(256) for _ in range(rng.randrange(1, 300)))
        for status in answers(port_of(running), data):
            assert status < 500 or status in (503, 504), data
    assert running.text("play alien bridges") == "play ancient bridges"


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.sampled_from(["/v1/rewrite", "/v1/rewrite:batch", "/v1/feedback", "/admin/reload", "/v1/blocklist"]),
    JSON | st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5),
)
def test_no_json_is_answered_with_500(running: Running, path: str, body: object) -> None:
    import json

    content = json.dumps(body).encode()
    found = running.client.post(path, content=content, headers={"content-type": "application/json"})
    assert found.status_code in (200, 202, 400, 401, 413, 422)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.binary(max_size=60), st.sampled_from(["GET", "POST", "DELETE", "PUT"]))
def test_no_path_is_answered_with_500(running: Running, path: bytes, method: str) -> None:
    data = method.encode() + b" /v1/users/" + path + b" HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
    for status in answers(port_of(running), data):
        assert status < 500


def no_fault(context: Any, response: Any, case: Any) -> None:
    """503 and 504 are documented refusals: a deadline may be shorter than anything takes."""
    assert response.status_code != 500


@pytest.mark.parametrize(
    "examples", [pytest.param(5, id="short"), pytest.param(150, id="long", marks=pytest.mark.slow)]
)
def test_every_answer_fits_the_description(running: Running, examples: int) -> None:
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        negative_data_rejection,
        response_schema_conformance,
        status_code_conformance,
    )

    schema = schemathesis.openapi.from_url(f"{running.url}/openapi.json")
    checks = [
        *(no_fault, status_code_conformance, content_type_conformance, response_schema_conformance),
        negative_data_rejection,
    ]
    tried = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in ("/metrics", "/docs"):
            continue
        tried += 1

        @settings(max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy())
        def check(case: schemathesis.Case) -> None:
            case.call_and_validate(checks=checks)

        check()
    assert tried >= 12
