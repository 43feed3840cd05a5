"""A run's report as one HTML page."""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined


def render(report: Mapping[str, Any]) -> str:
    """The page; `report` as `jobs.run` writes it."""
    # gate notes quote utterances, which are anybody's words
    environment = Environment(loader=PackageLoader("jobs.pipeline", "."), autoescape=True, undefined=StrictUndefined)
    return environment.get_template("run.html.jinja").render(report=report)
