"""The Kubernetes manifests: valid, consistent with each other and with the image, and with time to drain."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.deploy.files import DEPLOY, load_all_yaml, load_yaml

_FILES = [str(path) for path in load_yaml("kubernetes/kustomization.yaml")["resources"]]
_OBJECTS = [each for name in _FILES for each in load_all_yaml(f"kubernetes/{name}")]
_WORKLOADS = [each for each in _OBJECTS if each["kind"] in {"Deployment", "StatefulSet"}]


def _workload(component: str) -> Any:
    (found,) = [each for each in _WORKLOADS if each["metadata"]["name"] == f"breezeway-{component}"]
    return found


def _container(component: str) -> Any:
    (container,) = _workload(component)["spec"]["template"]["spec"]["containers"]
    return container


def _settings(component: str) -> dict[str, str]:
    return {each["name"]: each["value"] for each in _container(component)["env"]}


@pytest.mark.parametrize("name", _FILES)
def test_a_manifest_is_what_kubernetes_takes(name: str) -> None:
    program = str(Path(sys.executable).parent / "kubernetes-validate")
    command = [program, "--strict", "--kubernetes-version", "1.34", str(DEPLOY / "kubernetes" / name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_there_is_one_server_and_it_keeps_its_volume() -> None:
    server = _workload("server")
    assert (server["kind"], server["spec"]["replicas"]) == ("StatefulSet", 1)
    (claim,) = server["spec"]["volumeClaimTemplates"]
    mounted = {each["name"]: each["mountPath"] for each in _container("server")["volumeMounts"]}
    assert mounted[claim["metadata"]["name"]] == "/var/lib/breezeway"
    assert claim["spec"]["accessModes"] == ["ReadWriteOnce"]


def test_a_server_has_time_to_drain_before_it_is_killed() -> None:
    grace = _workload("server")["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
    assert grace >= float(_settings("server")["BREEZEWAY_DRAIN_SECONDS"]) + 15


def test_a_shim_waits_for_a_server_longer_than_it_takes_to_be_taken_out() -> None:
    probe = _container("shim")["readinessProbe"]
    waited = float(_settings("shim")["BREEZEWAY_RECONNECT_SECONDS"])
    assert probe["periodSeconds"] * probe["failureThreshold"] >= waited


def test_shims_look_where_the_server_is() -> None:
    (service,) = [e for e in _OBJECTS if e["kind"] == "Service" and e["metadata"]["name"] == "breezeway-server"]
    assert service["spec"]["clusterIP"] == "None"
    (port,) = [each["port"] for each in service["spec"]["ports"] if each["name"] == "grpc"]
    assert _settings("shim")["BREEZEWAY_GRPC_TARGET"] == f"dns:///breezeway-server:{port}"
    assert _settings("server")["BREEZEWAY_GRPC_LISTEN"] == f"0.0.0.0:{port}"


def test_every_selector_finds_pods() -> None:
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in _WORKLOADS]
    selectors = [
        each["spec"].get("selector") or each["spec"]["podSelector"]
        for each in _OBJECTS
        if each["kind"] in {"Service", "PodDisruptionBudget", "NetworkPolicy"}
    ]
    assert len(selectors) == 5
    for selector in selectors:
        wanted = selector.get("matchLabels", selector)
        assert any(wanted.items() <= found.items() for found in labels), wanted


@pytest.mark.parametrize("component", ["server", "shim"])
def test_pods_may_do_nothing_that_they_need_not(component: str) -> None:
    pod = _workload(component)["spec"]["template"]["spec"]
    assert (pod["securityContext"]["runAsNonRoot"], pod["securityContext"]["runAsUser"]) == (True, 10001)
    assert pod["automountServiceAccountToken"] is False
    assert _container(component)["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
