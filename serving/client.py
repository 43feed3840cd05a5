"""A client that is never in the way: whatever happens to the service, the caller gets a text to go on with.

```python
from serving.client import RewriteClient

with RewriteClient("http://127.0.0.1:8080", timeout_s=0.2) as client:
    answer = client.rewrite("play alien bridges", user_id="u1")
    use(answer.text)  # the rewrite, or the request itself
```
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import httpx

PAUSE_S = 1.0
"""After so many failures in a row the service is left alone for this long, unless it asks for longer."""

FAILURES = 5
LONGEST_PAUSE_S = 30.0


@dataclass(frozen=True)
class Rewritten:
    """What to go on with.

    `text` is the rewrite, or the original where there is none. `failed` tells why the service could not be asked
    (None where it answered): `status 429`, `timeout`, `refused`, `pause`, `bad answer`.
    """

    text: str
    original: str
    source: str | None = None
    confidence: float = 0.0
    reason: str | None = None
    bundle: str | None = None
    request_id: str | None = None
    failed: str | None = None

    @property
    def is_rewritten(self) -> bool:
        """Whether `text` is something else than was asked."""
        return self.source is not None and self.failed is None


class RewriteClient:
    """Asks the service, for at most `timeout_s` in all. No method for turns ever raises for what the service does."""

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout_s: float = 0.25,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        headers = {"Authorization": f"Bearer {key}"} if key is not None else {}
        self._client = httpx.Client(base_url=url, headers=headers, timeout=timeout_s, transport=transport)
        self._timeout_s = timeout_s
        self._failures = 0
        self._silent_until = 0.0

    def rewrite(self, utterance: str, user_id: str | None = None, **fields: Any) -> Rewritten:
        """Decide one turn; `fields` as of `POST /v1/rewrite`."""
        deadline_ms = self._timeout_s * 1000
        given = {"utterance": utterance, "user_id": user_id, "deadline_ms": deadline_ms, **fields}
        failed, found = self._asked("/v1/rewrite", {k: v for k, v in given.items() if v is not None})
        return _read(utterance, found) if failed is None else Rewritten(utterance, utterance, failed=failed)

    def rewrite_batch(self, turns: Sequence[Mapping[str, Any]]) -> list[Rewritten]:
        """Decide up to 32 turns, each a body of `POST /v1/rewrite`; each gets its own answer or its own failure."""
        texts = [str(turn.get("utterance", "")) for turn in turns]
        failed, found = self._asked("/v1/rewrite:batch", {"requests": [dict(turn) for turn in turns]})
        results = found.get("results") if failed is None else None
        if not isinstance(results, list) or len(results) != len(turns):
            return [Rewritten(text, text, failed=failed or "bad answer") for text in texts]
        return [_read(text, result) for text, result in zip(texts, results, strict=True)]

    def feedback(self, **fields: Any) -> bool:
        """Say what became of a turn; False where that could not be recorded."""
        return self._asked("/v1/feedback", fields)[0] is None

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def _asked(self, path: str, body: Mapping[str, Any]) -> tuple[str | None, dict[str, Any]]:
        """Why it failed, None where it did not; and the answer."""
        if time.monotonic() < self._silent_until:
            return "pause", {}
        try:
            with _within(self._client, path, body, self._timeout_s) as response:
                found = response.json() if response.is_success else {}
        except httpx.TimeoutException:
            return self._note("timeout"), {}
        except httpx.HTTPError:
            return self._note("refused"), {}
        except Exception:  # whatever it is, the caller's turn goes on
            return self._note("bad answer"), {}
        if not response.is_success:
            return self._note(f"status {response.status_code}", response.headers.get("retry-after")), {}
        if not isinstance(found, dict):
            return self._note("bad answer"), {}
        self._failures = 0
        return None, found

    def _note(self, failed: str, retry_after: str | None = None) -> str:
        """Count a failure; after some in a row leave the service alone for a while."""
        self._failures += 1
        if self._failures >= FAILURES:
            asked = float(retry_after) if retry_after is not None and retry_after.isdigit() else PAUSE_S
            self._silent_until = time.monotonic() + min(LONGEST_PAUSE_S, asked)
            self._failures = 0
        return failed


@contextmanager
def _within(client: httpx.Client, path: str, body: Mapping[str, Any], seconds: float) -> Iterator[httpx.Response]:
    """One POST whose answer must be whole in time: httpx limits each read, not their sum."""
    until = time.monotonic() + seconds
    with client.stream("POST", path, json=body) as response:
        content = b""
        for part in response.iter_bytes():
            content += part
            if time.monotonic() > until:
                raise httpx.ReadTimeout("the answer did not arrive in time")
        yield httpx.Response(response.status_code, headers=_plain(response.headers), content=content)


def _plain(headers: httpx.Headers) -> dict[str, str]:
    return {k: v for k, v in headers.items() if k.lower() in ("retry-after", "content-type")}


def _read(utterance: str, found: Any) -> Rewritten:
    """One answer; a problem, or what is no answer at all, leaves the turn alone."""
    if not isinstance(found, dict) or "reason" not in found:
        status = found.get("status") if isinstance(found, dict) else None
        return Rewritten(utterance, utterance, failed=f"status {status}" if status is not None else "bad answer")
    text, source = found.get("rewrite"), found.get("source")
    rewritten = isinstance(text, str) and bool(text)
    return Rewritten(
        text=text if isinstance(text, str) and rewritten else utterance,
        original=utterance,
        source=str(source) if rewritten else None,
        confidence=float(found.get("confidence") or 0.0),
        reason=str(found["reason"]),
        bundle=found.get("bundle"),
        request_id=found.get("request_id"),
    )
