"""The command `granularity`, as a shell sees it, and the older spellings of its parts."""

import os
import subprocess
import sys

import pytest
from conftest import ROOT
from faults_seen import saw_end

from granularity.commands import train
from granularity.commands.main import COMMANDS, main

OLDER = {
    "granularity.wordnet": "levels",
    "granularity.data check": "check",
    "granularity.toy": "toy",
    "granularity.train": "train",
    "granularity.records publish": "publish",
    "granularity.records verify": "verify",
    "granularity.records equal": "equal",
}


def called(*words, **environment) -> subprocess.CompletedProcess:
    call = [sys.executable, "-m", "granularity", *words]
    given = os.environ | {"PYTHONPATH": str(ROOT / "lib")} | environment
    return subprocess.run(call, capture_output=True, check=False, env=given)


def test_it_says_what_there_is():
    for words in ((), ("--help",), ("help",)):
        ended = called(*words)
        assert ended.returncode == 0
        assert all(f"  {name} " in ended.stdout.decode() for name in COMMANDS)


def job_of(entry, folder):
    job = folder / "job.yaml"
    job.write_text(f"entry: {entry}\nsettings: []\nplaces: {{stages: here}}\nfolder: there\n")
    return str(job)


def test_a_tracker_is_a_place_of_the_runs(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(train.launch, "run_job", lambda job, writes: seen.append(job["places"]))
    job = job_of("imagenet.finetune", tmp_path)
    main(["train", "--tracker", "tensorboard", job])
    main(["train", job])
    assert seen == [{"stages": "here", "tracker": "tensorboard"}, {"stages": "here"}]


@pytest.mark.fault("a tracker for runs that log no steps", "refused, naming the entry")
def test_a_tracker_of_runs_without_a_log_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["train", "--tracker", "tensorboard", job_of("theory.simulate", tmp_path)])
    assert "theory.simulate has no log of steps" in capsys.readouterr().err


@pytest.mark.fault("a job file that is not there, or of no entry ({entry})", "said in a line")
@pytest.mark.parametrize("entry", ["", "imagenet.finetun"])
def test_a_job_that_cannot_be_is_told_in_a_line(tmp_path, capsys, entry):
    job = job_of(entry, tmp_path) if entry else str(tmp_path / "gone.yaml")
    with pytest.raises(SystemExit) as ended:
        main(["train", job])
    told = capsys.readouterr().err
    assert ended.value.code == 1 and told.startswith("granularity train: ")
    assert ("imagenet.finetune" if entry else "gone.yaml") in told


@pytest.mark.fault("a part that is misspelt", "refused, with the nearest name")
def test_a_misspelt_part_names_the_nearest(tmp_path, capsys):
    (tmp_path / "imagenet1k" / "train" / "n01440764").mkdir(parents=True)
    with pytest.raises(SystemExit):
        main(["check", str(tmp_path / "imagenet1k"), "--part", "trian"])
    assert "did you mean 'train'?" in capsys.readouterr().err


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself(name):
    ended = called(name, "--help")
    assert ended.returncode == 0
    assert ended.stdout.decode().startswith(f"usage: granularity {name} ")


def test_a_python_without_docstrings_explains_them_too():
    for name in ("check", "verify"):
        assert called(name, "--help", PYTHONOPTIMIZE="2").returncode == 0


@pytest.mark.parametrize("older", OLDER)
def test_older_spellings_go_on_working(older):
    module, *words = older.split()
    call = [sys.executable, "-m", module, *words, "--help"]
    ended = subprocess.run(call, capture_output=True, text=True, check=True)
    assert ended.stdout.startswith(f"usage: granularity {OLDER[older]} ")


@pytest.mark.fault("a command that there is not", "refused with the nearest one")
def test_an_unknown_command_is_refused():
    ended = called("verfy")
    assert ended.returncode == 1 and "the nearest one is 'verify'" in ended.stderr.decode()
    saw_end(1, ended.stderr.decode())


@pytest.mark.fault("a reader that goes away, as `| head -1`", "no error")
def test_a_closed_pipe_is_no_error():
    code = "import sys; from granularity.commands.main import main; main()"
    words = [sys.executable, "-c", code, "levels", "imagenet1k", "--last", "12"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()  # before a line is written
        told = process.stderr.read().decode()
    assert process.returncode == 0 and told == ""


@pytest.mark.fault("a pipe to another process that breaks in a command", "an error, as any other")
def test_another_broken_pipe_is_an_error(monkeypatch):
    def broken(words):
        raise BrokenPipeError("the process that loads images is gone")

    monkeypatch.setattr(train, "main", broken)
    with pytest.raises(BrokenPipeError, match="loads images"):
        main(["train", "job.yaml"])


@pytest.mark.fault("a terminal without UTF-8", "letters that it lacks are shown as ?")
def test_a_terminal_without_utf_8_is_no_error():
    ended = called("train", "--help", PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ended.returncode == 0 and ended.stdout.isascii()
    ended = called(PYTHONIOENCODING="ascii", PYTHONUTF8="0")
    assert ended.returncode == 0 and b"COMMAND ?" in ended.stdout
