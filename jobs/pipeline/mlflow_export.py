"""Tell an MLflow server of a run; the package mlflow is imported only here."""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def check_installed() -> None:
    """Look for the package without importing it, before hours of work.

    Raises:
        ValueError: it is not there.
    """
    if find_spec("mlflow") is None:
        raise ValueError("--mlflow needs the package mlflow; got none; install mlflow or mlflow-skinny")


def export(report: Mapping[str, Any], folder: Path, server: str) -> None:
    """Log a run's gate values as metrics and its reports as artifacts."""
    mlflow = import_module("mlflow")
    mlflow.set_tracking_uri(server)
    mlflow.set_experiment("reprise")
    with mlflow.start_run(run_name=report["run"]):
        mlflow.set_tags({"verdict": report["verdict"], "bundle": report["bundle"] or "none"})
        mlflow.log_metrics({_name(g["name"]): g["value"] for g in report["gates"] if g["value"] is not None})
        mlflow.log_artifacts(str(folder))


def _name(gate: str) -> str:
    return "".join(c if c.isalnum() else "_" for c in gate)
