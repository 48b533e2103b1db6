"""Images, compose, chart and units are accepted by the tools of their kind."""

from __future__ import annotations

import configparser
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from helm_python.chart import Chart, lint

from saga_es.cli import COMMANDS
from saga_es.node.settings import Settings
from tests.support.processes import ROOT

DEPLOY = ROOT / "deploy"
CHART = DEPLOY / "helm" / "saga-es"
BIN = Path(sys.executable).parent
KUBERNETES = ("1.27", "1.33")
EVERYTHING = {
    "worker": {"autoscaling": {"enabled": True}},
    "settings": {"SAGA_ES_CALL_THREADS": 64},
    "envFrom": [{"secretRef": {"name": "participants"}}],
}


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end."""
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_the_dockerfile_has_no_finding() -> None:
    """By hadolint."""
    done = run(BIN / "hadolint", DEPLOY / "docker" / "Dockerfile")
    assert done.returncode == 0, done.stdout


def test_the_compose_file_keeps_the_schema_of_compose() -> None:
    """By the schema of the specification."""
    done = run(BIN / "check-jsonschema", "--builtin-schema", "vendor.compose-spec", DEPLOY / "compose.yaml")
    assert done.returncode == 0, done.stdout


def test_the_containers_have_no_rights_and_a_read_only_root() -> None:
    """Of our own image, in compose as in the chart."""
    ours = [
        service
        for service in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values()
        if service["image"] == "saga-es"
    ]
    assert len(ours) == 3
    assert all(service["read_only"] and service["cap_drop"] == ["ALL"] for service in ours)
    for manifest in rendered(EVERYTHING):
        for container in containers(manifest):
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["allowPrivilegeEscalation"] is False


def rendered(values: dict[str, Any] | None = None) -> Iterator[dict[str, Any]]:
    """The manifests of the chart, by Helm's own code."""
    with Chart.load(CHART) as chart:
        for text in chart.render(values=values, name="shop").values():
            yield from (document for document in yaml.safe_load_all(text) if document)


def containers(manifest: dict[str, Any]) -> list[dict[str, Any]]:
    """The containers of a manifest that makes pods; none of others."""
    template = manifest.get("spec", {}).get("template")
    found: list[dict[str, Any]] = template["spec"]["containers"] if template else []
    return found


def test_the_chart_has_no_fault() -> None:
    """By Helm's linter."""
    assert lint(CHART)["errors"] == []


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("values", [None, EVERYTHING], ids=["default", "everything"])
def test_kubernetes_takes_every_manifest(version: str, values: dict[str, Any] | None) -> None:
    """Strictly: a field that the version does not know is a fault."""
    kinds = []
    for manifest in rendered(values):
        kubernetes_validate.validate(manifest, version, strict=True)
        kinds.append(manifest["kind"])
    assert {"Deployment", "Service", "Job", "PodDisruptionBudget"} <= set(kinds)
    assert ("HorizontalPodAutoscaler" in kinds) == (values is not None)


def test_what_the_pods_run_is_a_command_of_saga_es() -> None:
    """Each container's first argument, and each variable that it sets."""
    settings = {f"SAGA_ES_{name.upper()}" for name in Settings.__struct_fields__}
    found = [container for manifest in rendered(EVERYTHING) for container in containers(manifest)]
    assert {container["name"] for container in found} == {"server", "worker", "migrate"}
    for container in found:
        assert container["args"][0] in {*COMMANDS, "db"}
        assert {variable["name"] for variable in container["env"]} <= settings


@pytest.mark.parametrize("unit", sorted((DEPLOY / "systemd").glob("*.service")), ids=lambda path: path.stem)
def test_a_unit_runs_a_command_and_stops_it_gracefully(unit: Path) -> None:
    """Longer than the grace of a worker, and with no more rights than it needs."""
    parsed = configparser.ConfigParser(interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # keys keep their case
    parsed.read_string(unit.read_text())
    service = parsed["Service"]
    assert service["ExecStart"].split()[1] in COMMANDS
    assert int(service["TimeoutStopSec"]) > Settings().grace_s + 15
    assert service["NoNewPrivileges"] == "yes"


def test_the_compose_files_own_network_has_a_plain_connection() -> None:
    """The database shows no certificate, and without a word in the URL the processes would refuse it."""
    url = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]["server"]["environment"][
        "SAGA_ES_DATABASE_URL"
    ]
    assert Settings.load({"database_url": url.replace("${POSTGRES_PASSWORD:-only-for-trying}", "x")}, {}).database_url
    assert url.endswith("?sslmode=disable")


def test_nothing_is_served_without_credentials_by_accident() -> None:
    """The chart asks for API keys; compose, whose ports only this machine can reach, says that it asks for none."""
    for container in (found for manifest in rendered() for found in containers(manifest)):
        assert {"name": "SAGA_ES_AUTH", "value": "keys"} in container["env"]
    ours = [
        one for one in yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"].values() if "command" in one
    ]
    for service in (one for one in ours if one["image"] == "saga-es"):
        assert service["environment"]["SAGA_ES_INSECURE_NO_AUTH"] == "true"
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", []))


def test_a_monitor_may_show_a_key() -> None:
    """A secret of the cluster holds it."""
    key = {"name": "scraper", "key": "token"}
    values = {"podMonitor": {"enabled": True, "bearerTokenSecret": key}}
    (monitor,) = [manifest for manifest in rendered(values) if manifest["kind"] == "PodMonitor"]
    assert monitor["spec"]["podMetricsEndpoints"][0]["authorization"]["credentials"] == key
