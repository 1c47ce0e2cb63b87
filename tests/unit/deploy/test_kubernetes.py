"""deploy/kubernetes is what Kubernetes and KEDA take, and fits the fleet."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import pytest
import yaml

from argosy.settings import FleetSettings
from commands.table import ENTRIES
from worker.queues import QUEUES

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "kubernetes"
SHARED, NODES, NO_KEDA = "shared-spool", "node-spools", "no-keda"
KINDS = [SHARED, NODES, NO_KEDA]
VERSION = "1.37"
KEDA = json.loads((Path(__file__).parent / "keda.schema.json").read_text())
KUBECTL = shutil.which("kubectl")
Resource = dict[str, Any]

rendered_only = pytest.mark.skipif(
    KUBECTL is None, reason="`kubectl kustomize` renders, and this machine has no kubectl"
)


@cache
def rendered(kind: str) -> list[Resource]:
    """What `kubectl apply -k` would send."""
    return render(FOLDER / "overlays" / kind)


def render(folder: Path) -> list[Resource]:
    """The resources of a kustomization."""
    command = [str(KUBECTL), "kustomize", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return list(yaml.safe_load_all(done.stdout))


def check(resource: Resource) -> None:
    """Raise where Kubernetes, or KEDA, would not take this resource."""
    if resource["apiVersion"].startswith("keda.sh/"):
        jsonschema.validate(resource, KEDA)
    else:
        kubernetes_validate.validate(resource, VERSION, strict=True)


def pods(kind: str = SHARED) -> dict[str, Resource]:
    """The pods of each deployment and job, by its name."""
    return {
        one["metadata"]["name"]: one["spec"]["template"]
        for one in rendered(kind)
        if one["kind"] in ("Deployment", "Job")
    }


def container(pod: Resource) -> Resource:
    [only] = pod["spec"]["containers"]
    return dict(only)


def test_the_schemas_find_mistakes() -> None:
    """Else the tests below could not fail."""
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "a"},
        "spec": {"sort": 1},
    }
    with pytest.raises(kubernetes_validate.ValidationError):
        check(service)
    scaled = {"apiVersion": "keda.sh/v1alpha1", "kind": "ScaledObject", "metadata": {"name": "a"}}
    with pytest.raises(jsonschema.ValidationError):
        check({**scaled, "spec": {"scaleTargetRef": {"name": "a"}, "triggers": [{"type": "amqp"}]}})


@rendered_only
@pytest.mark.parametrize("kind", KINDS)
def test_each_rendered_resource_is_valid(kind: str) -> None:
    for resource in rendered(kind):
        check(resource)


@rendered_only
@pytest.mark.parametrize("kind", KINDS)
def test_pods_are_restricted(kind: str) -> None:
    """The profile `restricted` of Pod Security, which the namespace enforces, and more."""
    assert len(pods(kind)) == (9 if kind == NODES else 7)
    for pod in pods(kind).values():
        spec = pod["spec"]
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
        assert spec["automountServiceAccountToken"] is False
        assert container(pod)["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        assert all(
            {"emptyDir", "persistentVolumeClaim"} & set(volume) for volume in spec["volumes"]
        )


@rendered_only
def test_probes_are_those_of_the_documentation() -> None:
    page = (ROOT / "docs" / "operations" / "workers.md").read_text()
    [told] = [yaml.safe_load(block) for block in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    [worker] = told["spec"]["containers"]
    for name in ("worker", "worker-control", "worker-media"):
        pod = pods()[name]
        assert pod["spec"]["terminationGracePeriodSeconds"] == 60
        for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
            assert container(pod)[probe] == worker[probe]


@rendered_only
def test_the_grace_is_long_enough() -> None:
    grace = FleetSettings.model_fields["grace_seconds"].default
    [settings] = [one["data"] for one in rendered(SHARED) if one["kind"] == "ConfigMap"]
    assert float(settings["ARGOSY_GRACE_SECONDS"]) == grace
    assert pods()["worker"]["spec"]["terminationGracePeriodSeconds"] >= grace + 15


@rendered_only
def test_every_queue_of_the_fleet_has_a_worker() -> None:
    told = {name: container(pod)["args"] for name, pod in pods().items()}
    assert told["worker-control"] == ["worker", "--control"]
    assert set(queues_of("worker")) | set(queues_of("worker-media")) == not_asked()
    assert {arguments[0] for arguments in told.values()} <= set(ENTRIES)


def queues_of(name: str, kind: str = SHARED) -> list[str]:
    """What a worker is told to read."""
    command, option, queues = container(pods(kind)[name])["args"]
    assert (command, option) == ("worker", "--queues")
    return list(queues.split(","))


def not_asked() -> set[str]:
    """The fleet's queues but for those of what agents ask, which `--control` reads."""
    asked = ("argosy.requests", "argosy.control")
    return {queue.name for queue in QUEUES if not queue.name.startswith(asked)}


@rendered_only
@pytest.mark.parametrize("kind", [SHARED, NODES])
def test_scaling_looks_at_queues_that_its_workers_read(kind: str) -> None:
    triggers = {
        one["metadata"]["name"]: {each["metadata"]["queueName"] for each in one["spec"]["triggers"]}
        for one in rendered(kind)
        if one["kind"] == "ScaledObject"
    }
    assert {"worker", "worker-media"} <= set(triggers)
    for name, queues in triggers.items():
        assert queues <= set(queues_of(name, kind))


@rendered_only
@pytest.mark.parametrize("kind", KINDS)
def test_selectors_find_pods(kind: str) -> None:
    labels = [pod["metadata"]["labels"] for pod in pods(kind).values()]
    for one in rendered(kind):
        selector = one.get("spec", {}).get("selector", {})
        wanted = selector.get("matchLabels", selector) if one["kind"] != "NetworkPolicy" else None
        if wanted:
            assert sum(wanted.items() <= these.items() for these in labels) == 1, one["metadata"]


@rendered_only
def test_the_overlay_of_the_documentation_renders(tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations" / "kubernetes.md").read_text()
    [example] = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    shared = os.path.relpath(FOLDER / "overlays" / SHARED, tmp_path)
    (tmp_path / "kustomization.yaml").write_text(example.replace("../shared-spool", shared))
    found = render(tmp_path)
    [settings] = [one["data"] for one in found if one["kind"] == "ConfigMap"]
    assert settings["ARGOSY_TRANSFERS_AT_ONCE"] == "64"
    assert settings["ARGOSY_GRACE_SECONDS"] == "45"
    assert "registry.example.com/argosy:0.1.0" in str(found)


@rendered_only
def test_secrets_are_named_and_none_is_here() -> None:
    assert not [one for one in rendered(SHARED) if one["kind"] == "Secret"]
    named = set(re.findall(r"'name': '(argosy[a-z-]*)'", str(list(pods().values()))))
    page = (ROOT / "docs" / "operations" / "kubernetes.md").read_text()
    for secret in ("argosy", "argosy-operator", "argosy-flower"):
        assert secret in named
        assert f"create secret generic {secret} " in page


@rendered_only
def test_beat_is_one() -> None:
    [beat] = [
        one
        for one in rendered(SHARED)
        if one["kind"] == "Deployment" and one["metadata"]["name"] == "beat"
    ]
    assert beat["spec"]["replicas"] == 1
    assert beat["spec"]["strategy"] == {"type": "Recreate"}


@rendered_only
@pytest.mark.parametrize("name", ["a", "b"])
def test_each_nodes_spool_has_workers_of_its_own(name: str) -> None:
    worker = container(pods(NODES)[f"worker-{name}"])
    own = {"name": "ARGOSY_SPOOL", "value": f"/spool/{name}"}
    assert own in worker["env"]
    assert {"name": "spool", "mountPath": f"/spool/{name}"} in worker["volumeMounts"]
    shared = {queue for queue in not_asked() if re.match(r"argosy\.(chunks|finish)", queue)}
    assert set(queues_of(f"worker-{name}", NODES)) == {f"{queue}@{name}" for queue in shared}
    [settings] = [one["data"] for one in rendered(NODES) if one["kind"] == "ConfigMap"]
    assert f"{name}=/spool/{name}" in settings["ARGOSY_SPOOLS"].split(",")
    volumes = [one["spec"] for one in rendered(NODES) if one["kind"] == "PersistentVolume"]
    [mine] = [one for one in volumes if f"'spool-{name}'" in str(one["nodeAffinity"])]
    assert mine["accessModes"] == ["ReadWriteOnce"]


def test_a_node_more_is_one_file_more() -> None:
    """By the command that kustomization.yaml names."""
    folder = FOLDER / "overlays" / NODES
    [rules] = re.findall(r"sed '(.*)' spool-b", (folder / "kustomization.yaml").read_text())
    command = ["sed", rules, folder / "spool-b.yaml"]
    made = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    for name in ("a", "b"):
        text = (folder / f"spool-{name}.yaml").read_text()
        assert re.sub(rf"(?<=[-@/]){name}\b", "c", text) == made


@rendered_only
def test_without_keda_there_are_workers_all_the_same() -> None:
    found = rendered(NO_KEDA)
    assert not [one for one in found if one["apiVersion"].startswith("keda.sh/")]
    replicas = {
        one["metadata"]["name"]: one["spec"]["replicas"]
        for one in found
        if one["kind"] == "Deployment"
    }
    assert replicas["worker"] == 4
    assert replicas["worker-media"] == 1
