"""Kubernetes objects are held to Kubernetes' own schemas, and their commands to the program."""

import copy
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

from indexer.commands.index import index

kubernetes_validate = pytest.importorskip("kubernetes_validate", reason="needs wildsat[dev]")

FILES = sorted((Path(__file__).parents[2] / "deploy" / "k8s").glob("*.yaml"))
OBJECTS = [(path.name, one) for path in FILES for one in yaml.safe_load_all(path.read_text("utf-8"))]
JOBS = [one for _, one in OBJECTS if one["kind"] == "Job"]
VERSION = "1.33"  # backoffLimitPerIndex is stable from it on


def test_there_are_objects():
    assert [path.name for path in FILES] == ["commit.yaml", "index.yaml", "work.yaml"]
    assert len(JOBS) == 3


@pytest.mark.parametrize(("name", "described"), OBJECTS)
def test_objects_keep_to_the_schema(name, described):
    kubernetes_validate.validate(described, VERSION, strict=True)
    wrong = copy.deepcopy(described)
    wrong["spec"]["surprise"] = 1
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(wrong, VERSION, strict=True)


@pytest.mark.parametrize("job", JOBS, ids=lambda job: job["metadata"]["name"])
def test_jobs_type_commands_that_there_are(job):
    (container,) = job["spec"]["template"]["spec"]["containers"]
    said = ["alps" if word == "$(JOB_COMPLETION_INDEX)/64" else word for word in container["args"]]
    assert said[0] == "index"
    answer = CliRunner().invoke(index, [*said[1:], "--help"])
    assert answer.exit_code == 0, answer.output


def test_a_share_for_each_pod():
    (work,) = (job for job in JOBS if job["spec"].get("completionMode") == "Indexed")
    (container,) = work["spec"]["template"]["spec"]["containers"]
    assert container["args"][-1] == f"$(JOB_COMPLETION_INDEX)/{work['spec']['completions']}"
    assert work["spec"]["backoffLimitPerIndex"] == 3
