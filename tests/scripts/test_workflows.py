"""What runs with the rights of the repository, and what code may do with what it reads.

Least rights, pinned actions and packages, no foreign text in a command; nothing read is run.
"""

import ast
import json
import re
import shutil
import subprocess

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


def test_dependencies_are_audited_and_secrets_looked_for_on_each_push_and_each_week():
    text = (ROOT / ".github/workflows/security.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)
    assert {"push", "pull_request", "schedule"} <= set(workflow[True])
    commands = [step.get("run", "") for step in steps(workflow)]
    audits = [line for command in commands for line in command.splitlines() if "pip-audit" in line]
    assert {line.split(" -r ")[1] for line in audits} == {
        "requirements.lock",
        ".github/security.txt",
    }
    assert all("--require-hashes" in line for line in audits)
    assert "bash .github/secrets.sh" in commands
    assert not any("continue-on-error" in step for step in steps(workflow))
    assert "|| " not in text, "what is found fails the workflow"


@pytest.mark.parametrize("name", ["requirements.lock", ".github/security.txt"])
def test_every_package_has_one_version_and_hashes(name):
    text = (ROOT / name).read_text(encoding="utf-8").replace("\\\n", " ")
    lines = [line for line in text.splitlines() if line and not line.startswith("#")]
    assert len(lines) > 20
    for line in lines:
        assert re.match(r"[\w.-]+==[\w.+!-]+ .*--hash=sha256:[0-9a-f]{64}", line), line
    for command in workflow_commands():
        if "pip install" in command:
            assert "--require-hashes" in command


def workflow_commands():
    found = [
        step.get("run", "")
        for path in WORKFLOWS
        for step in steps(yaml.safe_load(path.read_text()))
    ]
    return [line for command in found for line in command.splitlines()]


@pytest.mark.fault("a key in a file that git follows", "the scan of the workflow fails, naming it")
def test_a_key_is_found(tmp_path):
    if not shutil.which("detect-secrets-hook"):
        pytest.skip("no detect-secrets here: pip install -r .github/security.txt")
    leak, clean = tmp_path / "leak.py", tmp_path / "clean.py"
    leak.write_text('key = "AKIA' + 'IOSFODNN7EXAMPLQ"\n')
    clean.write_text(f'fingerprint = "{"0123456789abcdef" * 4}"\n')
    for path, status in ((leak, 1), (clean, 0)):
        call = ["bash", str(ROOT / ".github/secrets.sh"), str(path)]
        ended = subprocess.run(call, cwd=ROOT, capture_output=True, text=True, check=False)
        assert bool(ended.returncode) == bool(status), ended.stdout + ended.stderr
        assert ("AWS Access Key" in ended.stdout) == bool(status)


# ------------------------------------------------------------------------- what the code may not do

MODULES = sorted([*(ROOT / "lib").rglob("*.py"), *(ROOT / "scripts").rglob("*.py")])
NOTEBOOKS = sorted((ROOT / "notebooks").rglob("*.ipynb"))
LOADERS = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
RUNNERS = {"eval", "exec", "compile", "__import__"}
CALLS = {
    "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput",
    "torch.load", "yaml.load", "yaml.unsafe_load", "yaml.full_load", "pandas.read_pickle",
    "pd.read_pickle", "shutil.unpack_archive", "torch.hub.load", "runpy.run_path",
}  # fmt: skip


def forbidden(tree: ast.AST) -> list[str]:
    """What code does that could run what it reads, or write where what it reads wants it."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names if alias.name.split(".")[0] in LOADERS]
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LOADERS:
            found.append(node.module)
        if not isinstance(node, ast.Call):
            continue
        name = ast.unparse(node.func)
        options = {option.arg: ast.unparse(option.value) for option in node.keywords}
        again = name == "os.execve" and ast.unparse(node.args[0]) == "sys.executable"
        if name in RUNNERS | CALLS or (name.startswith(("os.exec", "os.spawn")) and not again):
            found.append(name)
        if name.endswith((".extractall", ".extract")):
            found.append(name)
        if (
            options.get("shell", "False") != "False"
            or options.get("allow_pickle", "False") != "False"
        ):
            found.append(ast.unparse(node))
        if options.get("weights_only", "True") != "True":
            found.append(ast.unparse(node))
    return found


def code_of(path) -> str:
    """The text of a module, or of a notebook's code cells."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".py":
        return text
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return "\n".join("".join(cell["source"]) for cell in cells)


@pytest.mark.parametrize("path", [*MODULES, *NOTEBOOKS], ids=lambda path: path.name)
def test_nothing_that_is_read_is_run(path):
    """No eval, no shell, no pickles, no archive unpacked by its members' own names."""
    assert forbidden(ast.parse(code_of(path))) == []


@pytest.mark.parametrize(
    "code",
    [
        "eval(text)", "exec(text)", "import pickle", "from joblib import load", "os.system(words)",
        "subprocess.run(words, shell=True)", "subprocess.Popen(words, shell=given)",
        "np.load(path, allow_pickle=True)", "torch.load(path)", "archive.extractall(folder)",
        "yaml.load(text)", "os.execvp('sh', words)",
        "os.execve(words[0], words, places)", "torch.x(path, weights_only=False)",
    ],
)  # fmt: skip
def test_what_is_forbidden_is_seen(code):
    assert forbidden(ast.parse(code))


def test_commands_that_the_graph_builds_hold_no_parameter_of_a_run():
    """Settings go through a file that papermill reads; a wildcard is a name that was checked."""
    text = (ROOT / "Snakefile").read_text(encoding="utf-8")
    shells = re.findall(r"shell:\n\s+(.+)", text)
    assert set(shells) == {
        "graph.on_its_own(LIMIT)",
        "graph.papermill(LIMIT or graph.HOUR)",
        '"python scripts/book.py {SIZE}"',
    }
    made = (ROOT / "scripts/graph.py").read_text(encoding="utf-8")
    (command,) = re.findall(r'command = "(scripts/execute.py .*)"', made)
    (alone,) = re.findall(r'"(python scripts/job.py .*)"', made)
    assert set(re.findall(r"{(.*?)}", alone + command)) == {
        "input.notebook", "log.notebook", "input.parameters",
        "resources.gpu", "resources.cpus_per_task",
    }  # fmt: skip
