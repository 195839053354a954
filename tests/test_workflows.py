"""What runs with the rights of the repository: least of them, pinned, no foreign commands."""

import re

import pytest
import yaml
from conftest import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.y*ml"))


@pytest.fixture(params=WORKFLOWS, ids=lambda path: path.name)
def workflow(request):
    # YAML 1.1 reads the key `on` as True.
    found = yaml.safe_load(request.param.read_text(encoding="utf-8"))
    return {{True: "on"}.get(key, key): value for key, value in found.items()}


def steps(workflow):
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_it_may_only_read_but_for_the_job_that_deploys(workflow):
    assert workflow["permissions"] == {"contents": "read"}
    for name, job in workflow["jobs"].items():
        if "permissions" in job:
            assert name == "deploy"
            assert job["permissions"] == {"pages": "write", "id-token": "write"}
            assert job["if"] == "github.ref == 'refs/heads/main'"
            assert not any("run" in step or "checkout" in step["uses"] for step in job["steps"])


def test_actions_are_pinned_to_commits(workflow):
    for step in steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]), step["uses"]


def test_foreign_text_is_never_part_of_a_command(workflow):
    assert "pull_request_target" not in workflow["on"]
    assert "workflow_run" not in workflow["on"]
    for step in steps(workflow):
        assert "${{" not in step.get("run", "")


def test_the_checkout_leaves_no_token_behind_and_every_job_has_a_limit(workflow):
    for step in steps(workflow):
        if "actions/checkout" in step.get("uses", ""):
            assert step["with"]["persist-credentials"] is False
    assert all(job["timeout-minutes"] <= 120 for job in workflow["jobs"].values())


def test_the_pdf_is_made_after_the_book_and_before_the_pages_are_handed_on(workflow):
    if "deploy" not in workflow["jobs"]:
        pytest.skip("this workflow publishes nothing")
    lines = [step.get("run", step.get("uses", "")) for step in steps(workflow)]
    places = [
        next(at for at, line in enumerate(lines) if word in line)
        for word in (".ci/run", "print.mjs", "test -s _build/html/", "upload-pages-artifact")
    ]
    assert places == sorted(places)
    assert "--publish" in lines[places[1]]
    name = re.search(r"_build/([\w-]+\.pdf) --publish", lines[places[1]])[1]
    assert f"test -s _build/html/{name}" in lines[places[2]]
