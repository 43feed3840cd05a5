"""OpenTelemetry spans where its API is installed and tracing is switched on; otherwise nothing at all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_tracer: Any = None


def switch_on() -> bool:
    """Begin to trace; False where opentelemetry is not installed. The exporter is the environment's business."""
    global _tracer
    try:
        from opentelemetry import trace
    except ImportError:
        return False
    _tracer = trace.get_tracer("reprise")
    return True


class _Silent:
    def set_attribute(self, name: str, value: Any) -> None:
        """Say nothing."""


_SILENT = _Silent()


@contextmanager
def span(name: str, **attributes: Any) -> Iterator[Any]:
    """A span with attributes; never with what a user said."""
    if _tracer is None:
        yield _SILENT
        return
    with _tracer.start_as_current_span(f"reprise.{name}") as found:
        for key, value in attributes.items():
            found.set_attribute(f"reprise.{key}", value)
        yield found
