"""The manifests of deploy/kubernetes, by the schemas of Kubernetes; and the systemd unit."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has none
import pytest
import yaml

from config.settings import Settings

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "deploy" / "kubernetes"
UNIT = ROOT / "deploy" / "systemd" / "claude-gateway.service"
KUSTOMIZATION: dict[str, Any] = yaml.safe_load((FOLDER / "kustomization.yaml").read_text())
MANIFESTS: dict[str, dict[str, Any]] = {
    path.name: yaml.safe_load(path.read_text())
    for path in FOLDER.glob("*.yaml")
    if path.name != "kustomization.yaml"
}
POD: dict[str, Any] = MANIFESTS["deployment.yaml"]["spec"]["template"]["spec"]
CONTAINER: dict[str, Any] = POD["containers"][0]


@pytest.mark.parametrize("version", ["1.29", kubernetes_validate.latest_version()])
@pytest.mark.parametrize("name", MANIFESTS)
def test_each_manifest_is_valid_to_its_last_field(name: str, version: str) -> None:
    kubernetes_validate.validate(MANIFESTS[name], version, strict=True)


def test_the_kustomization_names_every_manifest_and_no_other() -> None:
    assert sorted(KUSTOMIZATION["resources"]) == sorted(MANIFESTS)
    assert KUSTOMIZATION["images"][0]["name"] == CONTAINER["image"]
    made = {
        KUSTOMIZATION["configMapGenerator"][0]["name"],
        KUSTOMIZATION["secretGenerator"][0]["name"],
    }
    used = {next(iter(source.values()))["name"] for source in CONTAINER["envFrom"]}
    assert used == made


def test_the_pods_settings_are_settings() -> None:
    literals = KUSTOMIZATION["configMapGenerator"][0]["literals"]
    secrets = (FOLDER / "secret.env.example").read_text().splitlines()
    pairs = [line.split("=", 1) for line in [*literals, *secrets] if not line.startswith("#")]
    variables = {name.lower(): value for name, value in pairs if value}
    known = Settings.model_fields
    assert {name.lower() for name, _ in pairs} - set(known) == {"anthropic_api_key"}
    assert Settings(_env_file=None, **variables).rate_limit_enabled
    assert {"api_key", "database_url", "redis_url"} <= {name.lower() for name, _ in pairs}


def test_a_pod_has_no_rights_to_lose() -> None:
    assert POD["automountServiceAccountToken"] is False
    assert POD["securityContext"]["runAsNonRoot"] is True
    assert POD["securityContext"]["fsGroup"] == 1000  # a claim of another owner can be written
    assert POD["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    own = CONTAINER["securityContext"]
    assert own["readOnlyRootFilesystem"] is True
    assert own["allowPrivilegeEscalation"] is False
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert {mount["mountPath"] for mount in CONTAINER["volumeMounts"]} == {"/tmp", "/data"}


def test_a_pod_is_asked_for_life_and_readiness_and_has_time_to_end() -> None:
    paths = {
        probe: CONTAINER[f"{probe}Probe"]["httpGet"]["path"]
        for probe in ("startup", "liveness", "readiness")
    }
    assert paths == {"startup": "/health", "liveness": "/health", "readiness": "/health/ready"}
    literals = dict(pair.split("=") for pair in KUSTOMIZATION["configMapGenerator"][0]["literals"])
    waits = int(CONTAINER["lifecycle"]["preStop"]["exec"]["command"][1])
    grace = int(literals["SHUTDOWN_GRACE_SECONDS"])
    assert waits + grace + 5 <= POD["terminationGracePeriodSeconds"]


def test_everything_selects_the_pods() -> None:
    labels = MANIFESTS["deployment.yaml"]["spec"]["template"]["metadata"]["labels"]
    assert MANIFESTS["deployment.yaml"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["service.yaml"]["spec"]["selector"] == labels
    assert MANIFESTS["disruption.yaml"]["spec"]["selector"]["matchLabels"] == labels
    assert MANIFESTS["service.yaml"]["spec"]["ports"][0]["targetPort"] == "http"
    assert CONTAINER["ports"][0]["name"] == "http"


def test_there_are_always_two_pods() -> None:
    scaler = MANIFESTS["autoscaler.yaml"]["spec"]
    assert scaler["minReplicas"] == 2
    assert (
        "replicas" not in MANIFESTS["deployment.yaml"]["spec"]
    )  # each apply would undo the scaler
    assert MANIFESTS["disruption.yaml"]["spec"]["minAvailable"] == 1


def test_kustomize_builds_it(tmp_path: Path) -> None:
    if not shutil.which("kubectl"):
        pytest.skip("kubectl is not installed")
    shutil.copytree(FOLDER, tmp_path / "k")
    shutil.copy(FOLDER / "secret.env.example", tmp_path / "k" / "secret.env")
    command = ["kubectl", "kustomize", str(tmp_path / "k")]
    built = subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout
    kinds = [document["kind"] for document in yaml.safe_load_all(built)]
    assert sorted(kinds) == sorted(
        ["ConfigMap", "Secret", *(manifest["kind"] for manifest in MANIFESTS.values())]
    )


def test_systemd_finds_no_fault_with_the_unit(tmp_path: Path) -> None:
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/claude-gateway/.venv/bin/python", "/bin/true"))
    command = ["systemd-analyze", "verify", "--man=no", str(unit)]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
