"""Kubernetes objects are held to Kubernetes' own schemas, and their commands to the program."""

import copy
from pathlib import Path

import pytest
import typer
import yaml
from typer.testing import CliRunner

from app.commands import serve
from indexer.commands.index import index
from wildsat_core.addresses import without_secrets

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs wildsat[dev]")

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted(DEPLOY.glob("k8s/**/*.yaml"))
READ = {path: list(yaml.safe_load_all(path.read_text("utf-8"))) for path in (*FILES, *DEPLOY.glob("kuberay/*.yaml"))}
OBJECTS = [(str(path.relative_to(DEPLOY)), one) for path in FILES for one in READ[path]]
JOBS = [pytest.param(one, id=f"{name}-{one['metadata']['name']}") for name, one in OBJECTS if one["kind"] == "Job"]
RAY = {path.stem: READ[path] for path in sorted(DEPLOY.glob("kuberay/*.yaml"))}
VERSION = "1.33"  # backoffLimitPerIndex is stable from it on

# Of KubeRay's API, as its reference names the fields; there is no package of its schemas.
OF_JOB = {"entrypoint", "submissionMode", "backoffLimit", "shutdownAfterJobFinishes", "ttlSecondsAfterFinished"}
OF_CLUSTER = {"rayVersion", "authOptions", "headGroupSpec", "workerGroupSpecs"}
OF_HEAD = {"rayStartParams", "template"}
OF_WORKERS = OF_HEAD | {"groupName", "replicas", "minReplicas", "maxReplicas"}


def test_there_are_objects():
    jobs = ["commit.yaml", "index.yaml", "work.yaml"]
    stored = ["commit.yaml", "plan.yaml", "work.yaml"]
    assert [path.name for path in FILES if path.parent.name == "k8s"] == jobs
    assert [path.name for path in FILES if path.parent.name == "store"] == stored
    assert len(JOBS) == 6
    assert list(RAY) == ["build", "serve"]


@pytest.mark.parametrize(("name", "described"), OBJECTS)
def test_objects_keep_to_the_schema(name, described):
    kubernetes_validate.validate(described, VERSION, strict=True)
    wrong = copy.deepcopy(described)
    wrong["spec"]["surprise"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("job", JOBS)
def test_jobs_type_commands_that_there_are(job):
    (container,) = job["spec"]["template"]["spec"]["containers"]
    said = ["alps" if word == "$(JOB_COMPLETION_INDEX)/64" else word for word in container["args"]]
    assert said[0] == "index"
    answer = CliRunner().invoke(index, [*said[1:], "--help"])
    assert answer.exit_code == 0, answer.output


def test_a_share_for_each_pod():
    shared = [job.values[0] for job in JOBS if job.values[0]["spec"].get("completionMode") == "Indexed"]
    assert len(shared) == 2
    for work in shared:
        (container,) = work["spec"]["template"]["spec"]["containers"]
        assert container["args"][-1] == f"$(JOB_COMPLETION_INDEX)/{work['spec']['completions']}"
        assert work["spec"]["backoffLimitPerIndex"] == 3


def without_place(job):
    """A job without what says where collections lie."""
    job = copy.deepcopy(job)
    pod = job["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    for name in ("env", "envFrom"):
        container.pop(name, None)
    container["volumeMounts"] = [one for one in container["volumeMounts"] if one["name"] != "collections"]
    pod["volumes"] = [one["name"] for one in pod["volumes"] if one["name"] != "collections"]
    return job


def test_with_a_store_the_jobs_are_the_same_without_a_volume():
    jobs = [(name, one) for name, one in OBJECTS if one["kind"] == "Job"]
    on_volume = {one["metadata"]["name"]: one for name, one in jobs if "store" not in name}
    stored = {one["metadata"]["name"]: one for name, one in jobs if "store" in name}
    assert on_volume.keys() == stored.keys()
    for name, job in stored.items():
        assert without_place(job) == without_place(on_volume[name])
        (container,) = job["spec"]["template"]["spec"]["containers"]
        told = {one["name"]: one["value"] for one in container["env"]}
        assert is_store_address(told["WILDSAT_STORE"])
        assert told["WILDSAT_CACHE"].startswith("/tmp/")  # the one place that can be written to
        assert container["envFrom"] == [{"secretRef": {"name": "wildsat-store"}}]


def clusters():
    for name, (described, *_) in RAY.items():
        spec = described["spec"]
        yield pytest.param(described, spec.get("rayClusterSpec", spec), id=name)


@pytest.mark.parametrize(("described", "spec"), list(clusters()))
def test_ray_clusters_have_fields_that_there_are_and_pods_that_keep_to_the_schema(described, spec):
    assert set(described["spec"]) <= (OF_JOB | {"rayClusterSpec"} if described["kind"] == "RayJob" else OF_CLUSTER)
    assert set(spec) == OF_CLUSTER
    assert spec["authOptions"] == {"mode": "token"}
    assert f"ray=={spec['rayVersion']}" in (DEPLOY.parent / "constraints.txt").read_text("utf-8").splitlines()
    assert set(spec["headGroupSpec"]) == OF_HEAD
    for group in (spec["headGroupSpec"], *spec["workerGroupSpecs"]):
        assert set(group) <= OF_WORKERS
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = {"apiVersion": "v1", "kind": "PodTemplate", "metadata": {"name": "pod"}, "template": group["template"]}
        kubernetes_validate.validate(pod, VERSION, strict=True)
        (container,) = group["template"]["spec"]["containers"]
        told = {one["name"]: one["value"] for one in container["env"]}
        assert is_store_address(told["WILDSAT_STORE"])
        assert told["RAY_USAGE_STATS_ENABLED"] == "0"
        wrong = copy.deepcopy(pod)
        wrong["template"]["spec"]["containers"][0]["surprise"] = 1
        with pytest.raises(kubernetes_validate.ValidationError):
            kubernetes_validate.validate(wrong, VERSION, strict=True)


def test_ray_clusters_type_commands_that_there_are():
    build = RAY["build"][0]["spec"]["entrypoint"].split()
    head = RAY["serve"][0]["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    served = head["args"][0].partition("exec wildsat ")[2].split()
    assert build[:3] == ["wildsat", "index", "build"]
    for app, words in ((index, build[2:]), (serving(), served[1:])):
        answer = CliRunner().invoke(app, [*words, "--help"])
        assert answer.exit_code == 0, answer.output
    shards, replicas = (int(served[served.index(option) + 1]) for option in ("--shards", "--replicas"))
    (workers,) = RAY["serve"][0]["spec"]["workerGroupSpecs"]
    cpus = int(workers["template"]["spec"]["containers"][0]["resources"]["limits"]["cpu"])
    assert shards * replicas <= workers["replicas"] * cpus  # each actor takes a processor


def test_the_service_finds_the_head():
    cluster, service = RAY["serve"]
    kubernetes_validate.validate(service, VERSION, strict=True)
    assert service["spec"]["selector"] == cluster["spec"]["headGroupSpec"]["template"]["metadata"]["labels"]


def serving():
    command = typer.Typer()
    command.command()(serve)
    return command


def is_store_address(address):
    return address.startswith("s3://") and without_secrets(address) == address
