"""What is in `deploy/` fits the service: metrics that exist, settings that exist, files that parse."""

import json
import re
from pathlib import Path

import yaml

from serving.metrics import Metrics

DEPLOY = Path(__file__).parents[2] / "deploy"


def known() -> set[str]:
    """Every series that the service exposes, by name."""
    text = Metrics().text().decode()
    families = dict(re.findall(r"# TYPE (\S+) (\S+)", text))
    suffixes = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + suffix for name, kind in families.items() for suffix in suffixes.get(kind, ("",))}


def used(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:reprise|process)_\w+", expression))


def test_every_metric_that_an_alert_looks_at_exists() -> None:
    rules = yaml.safe_load((DEPLOY / "alerts.yaml").read_text())["groups"][0]["rules"]
    assert len({r["alert"] for r in rules}) == len(rules) > 5
    for rule in rules:
        assert used(rule["expr"])
        assert used(rule["expr"]) <= known(), rule["alert"]
        assert rule["annotations"]["summary"]


def test_every_metric_on_the_dashboard_exists() -> None:
    panels = json.loads((DEPLOY / "grafana.json").read_text())["panels"]
    for panel in panels:
        for target in panel["targets"]:
            assert used(target["expr"]) <= known(), panel["title"]
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_variable_of_the_container_is_a_setting() -> None:
    import typer

    from jobs.serve import serve

    app = typer.Typer()
    app.command()(serve)
    options = {p.name for p in typer.main.get_command(app).params}
    text = (DEPLOY / "Containerfile").read_text()
    named = {name.lower() for name in re.findall(r"REPRISE_SERVE_(\w+)=", text)}
    assert named
    assert named <= options
    assert "USER 10001" in text


def test_the_manifest_probes_what_is_there_and_gives_time_to_drain() -> None:
    documents = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))
    (found,) = [d for d in documents if d["kind"] == "StatefulSet"]
    pod = found["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/livez"
    grace = float(container["args"][container["args"].index("--grace-s") + 1])
    assert pod["terminationGracePeriodSeconds"] > grace + 10
    assert container["securityContext"]["readOnlyRootFilesystem"]
