"""A machine's own settings: put aside where they could change a number or a page, or refused."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from faults_seen import saw
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from granularity import surroundings

# Variables that libraries and programs below the book read, from their own documentation.
CHANGING = re.findall(
    r"\w+",
    """ACCELERATE_GRADIENT_ACCUMULATION_STEPS ACCELERATE_MIXED_PRECISION ACCELERATE_USE_FSDP
ACCELERATE_DYNAMO_BACKEND FSDP_OFFLOAD_PARAMS MPLBACKEND MPLCONFIGDIR MATPLOTLIBRC IPYTHONDIR
JUPYTER_CONFIG_DIR JUPYTER_CONFIG_PATH JUPYTER_PATH JUPYTER_RUNTIME_DIR JUPYTER_DATA_DIR PYTHONPATH
PYTHONHASHSEED PYTHONOPTIMIZE PYTHONSTARTUP PYTHONWARNINGS PYTHONINSPECT PYTHONHOME PYTHONUSERBASE
PYTHONBREAKPOINT SNAKEMAKE_PROFILE SNAKEMAKE_OUTPUT_CACHE SPHINXOPTS READTHEDOCS TQDM_DISABLE
FORCE_COLOR NO_COLOR COLUMNS LANG LANGUAGE LC_ALL LC_NUMERIC BASH_ENV GIT_DIR GIT_INDEX_FILE
WORLD_SIZE RANK LOCAL_RANK LOCAL_WORLD_SIZE NODE_RANK MASTER_ADDR MASTER_PORT TORCHELASTIC_RUN_ID
OMPI_COMM_WORLD_SIZE PMI_SIZE PMI_RANK MV2_COMM_WORLD_SIZE MPI_LOCALNRANKS OMP_NUM_THREADS
MKL_NUM_THREADS MKL_CBWR KMP_AFFINITY OPENBLAS_NUM_THREADS ATEN_CPU_CAPABILITY NVIDIA_TF32_OVERRIDE
TORCH_ALLOW_TF32_CUBLAS_OVERRIDE CUBLAS_WORKSPACE_CONFIG TIMM_FUSED_ATTN ONEDNN_MAX_CPU_ISA
TORCHDYNAMO_DISABLE PANDAS_FUTURE_INFER_STRING NPY_DISABLE_CPU_FEATURES""",
)
# Places, devices and ways to the network: the machine's own.
KEPT = re.findall(
    r"\w+",
    """PATH HOME USER SHELL TERM TMPDIR XDG_CACHE_HOME XDG_CONFIG_HOME HF_HOME HF_HUB_OFFLINE
TORCH_HOME CUDA_VISIBLE_DEVICES NVIDIA_VISIBLE_DEVICES NCCL_SOCKET_IFNAME TORCH_NCCL_BLOCKING_WAIT
PYTORCH_CUDA_ALLOC_CONF LD_LIBRARY_PATH SSL_CERT_FILE https_proxy SLURM_JOB_ID SLURM_CONF
OPENBLAS_CORETYPE GRANULARITY_REPOSITORY GRANULARITY_DATA NLTK_DATA NAME GIT_SSL_CAINFO
GIT_CONFIG_GLOBAL VIRTUAL_ENV CONDA_PREFIX TZ""",
)
values = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
environments = st.dictionaries(st.sampled_from(CHANGING + KEPT), values)


@pytest.mark.fault(
    "any variables that libraries read, with any values (fuzz)",
    "those that could change a number or a page are not seen, the others are as they were",
)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(environments)
def test_what_is_started_sees_the_same_whatever_is_set(tmp_path, drawn):
    kept = {name: value for name, value in drawn.items() if name in KEPT}
    seen = surroundings.neutral(drawn, tmp_path)
    assert seen == surroundings.neutral(kept, tmp_path)
    assert {name: seen[name] for name in kept} == kept
    assert surroundings.neutral(seen, tmp_path) == seen
    assert surroundings.cleaned(drawn) == surroundings.cleaned(kept)


@pytest.mark.fault(
    "a temporary folder with a name of 140 letters", "another is taken: sockets need short names"
)
def test_a_long_temporary_folder_is_not_used(tmp_path):
    long = str(tmp_path / ("x" * 140))
    assert "TMPDIR" not in surroundings.cleaned({"TMPDIR": long})
    assert surroundings.cleaned({"TMPDIR": "/scratch/me"})["TMPDIR"] == "/scratch/me"


@pytest.mark.fault(
    "{name} is set where a library has read it already", "refused by name, with what to do"
)
@pytest.mark.parametrize(
    "name",
    [
        "MKL_CBWR",
        "TORCH_ALLOW_TF32_CUBLAS_OVERRIDE",
        "NVIDIA_TF32_OVERRIDE",
        "TIMM_FUSED_ATTN",
        "ATEN_CPU_CAPABILITY",
        "CUBLAS_WORKSPACE_CONFIG",
        "PANDAS_FUTURE_INFER_STRING",
    ],
)
def test_what_was_read_already_is_refused_by_name(name, monkeypatch):
    monkeypatch.setenv(name, "1")
    with pytest.raises(surroundings.SurroundingsError, match=f"unset {name}"):
        surroundings.forget()


SHOWS_INSTRUCTIONS = """import torch
import granularity
torch.nn.Conv2d(8, 8, 3)(torch.randn(2, 8, 9, 9))
"""


@pytest.mark.fault(
    "other instructions asked of oneDNN, by a variable of the machine's",
    "the same ones are used, whatever is asked",
)
def test_one_dnn_takes_the_same_instructions_whatever_is_set(tmp_path):
    found = set()
    for asked in ({}, {"ONEDNN_MAX_CPU_ISA": "AVX2"}, {"DNNL_MAX_CPU_ISA": "SSE41"}):
        told = os.environ | {"ONEDNN_VERBOSE": "1", "PYTHONPATH": str(ROOT / "lib")} | asked
        call = [sys.executable, "-c", SHOWS_INSTRUCTIONS]
        ended = subprocess.run(call, env=told, capture_output=True, text=True, check=True)
        found |= set(re.findall(r"info,cpu,isa:(.*)", ended.stdout))
    assert len(found) == 1 and "AMX" not in found.pop()


def package(folder: Path, text: str) -> Path:
    """A library of the name in a folder, as a clone or an installation has it."""
    place = folder / "granularity"
    place.mkdir(parents=True)
    (place / "__init__.py").write_text(text)
    return place


@pytest.mark.fault(
    "`granularity` is imported from another folder's clone", "refused, with both folders"
)
def test_another_folders_library_is_refused(tmp_path):
    package(tmp_path / "mine" / "lib", "x = 1\n")
    other = package(tmp_path / "other" / "lib", "x = 1\n")
    with pytest.raises(surroundings.SurroundingsError, match="other/lib/granularity, not from"):
        surroundings.refuse_another_library(tmp_path / "mine", other)
    installed = package(tmp_path / "env" / "site-packages", "x = 1\n")
    surroundings.refuse_another_library(tmp_path / "mine", installed)
    (installed / "__init__.py").write_text("x = 2\n")
    with pytest.raises(surroundings.SurroundingsError, match="site-packages"):
        surroundings.refuse_another_library(tmp_path / "mine", installed)


@pytest.mark.fault("the file {name} of the whole machine", "refused by name")
@pytest.mark.parametrize("name", ["matplotlibrc", "startup/00.py", "ipython_kernel_config.py"])
def test_files_that_every_kernel_reads_are_refused(tmp_path, monkeypatch, name):
    monkeypatch.setattr(surroundings, "SYSTEM", (str(tmp_path),))
    surroundings.refuse_system_files(tmp_path)
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text("text.color: white\n")
    with pytest.raises(surroundings.SurroundingsError, match=name):
        surroundings.refuse_system_files(tmp_path)


# ------------------------------------------------------------------------------ a running kernel

STARTED = """
import pandas, numpy, torch, warnings, matplotlib
pandas.set_option("display.max_rows", 18, "display.precision", 2)
numpy.set_printoptions(precision=1)
numpy.seterr(all="raise")
torch.set_default_dtype(torch.float64)
torch.use_deterministic_algorithms(True)
torch.set_float32_matmul_precision("medium")
warnings.simplefilter("error")
matplotlib.use("Agg")
matplotlib.rcParams.update({"text.color": "white", "font.family": "No Such Font"})
"""
KERNEL = """
import json, os, sys
from pathlib import Path
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
exec(os.environ.pop("STARTED", ""))
import pandas as pd, numpy as np, torch, warnings, matplotlib
import matplotlib.pyplot as plt
from granularity import notebook
from granularity.training import loading, one_stage, presets
notebook.parameters(["", "seed = 0", "ask"])
made = presets.preset("resnet_toy", steps=4, epochs=0, batch_size=8, image_size=16, warmup=1)
pixels = (torch.rand(32, 3, 16, 16, generator=torch.Generator().manual_seed(0)) * 255).byte()
images = loading.Memory(pixels, torch.arange(32) % 4, made)
done = one_stage.stage(made, images, torch.arange(4)[:, None].int(), 4, key="k", seed=0,
                   folder=Path(sys.argv[1]), device="cpu")
weights = [float(w.double().sum()) for w in done.model.state_dict().values()]
figure = plt.figure(); plt.text(0, 0, "a"); figure.canvas.draw()
told = {"loss": done.curves["loss"], "weights": weights, "backend": matplotlib.get_backend(),
        "table": pd.DataFrame({"a": np.arange(29) / 7})._repr_html_(), "array": str(np.ones(2) / 3),
        "errors": np.geterr(), "text": plt.rcParams["text.color"],
        "font": plt.rcParams["font.family"],
        "filters": [str(f) for f in warnings.filters if f[2] is Warning],
        "precision": torch.get_float32_matmul_precision(), "dtype": str(torch.get_default_dtype())}
print(json.dumps(told))
"""


def in_a_kernel(folder: Path, extra: dict[str, str], started: str = "") -> dict | str:
    """What a kernel makes of a short training and of its outputs; what it says where it ends."""
    folder.mkdir()
    gone = surroundings.named(os.environ, surroundings.ALL)
    own = {name: value for name, value in os.environ.items() if name not in gone}
    environment = own | {"OMP_NUM_THREADS": "1", "STARTED": started} | extra
    ended = subprocess.run(
        [sys.executable, "-c", KERNEL, str(folder)],
        cwd=ROOT,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    if ended.returncode:
        return ended.stderr.strip().splitlines()[-1]
    return json.loads(ended.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """The same under no setting at all."""
    made = in_a_kernel(tmp_path_factory.mktemp("plain") / "stage", {})
    assert isinstance(made, dict), made
    assert made["table"].count("<tr>") == 29 and made["dtype"] == "torch.float32"
    return made


ENVIRONMENTS = {
    "accelerate's own variables": {
        "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "4",
        "ACCELERATE_MIXED_PRECISION": "bf16",
        "ACCELERATE_DYNAMO_BACKEND": "INDUCTOR",
    },
    "a platform's WORLD_SIZE and RANK": {
        "WORLD_SIZE": "2",
        "RANK": "1",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": "29511",
    },
    "Python's and matplotlib's variables": {
        "MPLBACKEND": "Agg",
        "PYTHONWARNINGS": "ignore",
        "PYTHONHASHSEED": "7",
        "PYTHONOPTIMIZE": "2",
    },
}


@pytest.mark.faults
@pytest.mark.fault(
    "{case} in a notebook that somebody starts by hand",
    "losses, weights, tables and figures to the bit as without",
)
@pytest.mark.parametrize("case", ENVIRONMENTS)
def test_a_kernel_by_hand_makes_the_same_numbers(plain, tmp_path, case):
    found = in_a_kernel(tmp_path / "stage", ENVIRONMENTS[case])
    assert found == plain
    saw(f"the losses {[round(loss, 4) for loss in found['loss']]}, as without")


@pytest.mark.faults
@pytest.mark.fault(
    "an IPython start-up file that sets options of pandas, numpy, torch, matplotlib and warnings",
    "losses, weights, tables and figures to the bit as without",
)
def test_a_start_up_file_changes_nothing(plain, tmp_path):
    assert in_a_kernel(tmp_path / "stage", {}, STARTED) == plain


# A number is no value of these; cores stay a running kernel's own.
NO_NUMBER = re.compile("DIR$|PATH$|RC$|HOME$|BASE$|STARTUP|INSPECT|BACKEND$|GIT_|BASH_|_THREADS$")


@pytest.mark.faults
@pytest.mark.fault(
    "variables that libraries read, drawn with values, in a notebook by hand (fuzz)",
    "the same to the bit, or refused by name",
)
@settings(max_examples=3, deadline=None, derandomize=True, phases=[Phase.generate])
@given(
    st.dictionaries(
        st.sampled_from([name for name in CHANGING if not NO_NUMBER.search(name)]),
        st.just("1"),
        min_size=3,
        max_size=8,
    )
)
def test_drawn_variables_change_nothing_or_are_refused(plain, tmp_path_factory, drawn):
    found = in_a_kernel(tmp_path_factory.mktemp("drawn") / "stage", drawn)
    if isinstance(found, str):
        assert "SurroundingsError" in found
        assert any(name in found for name in drawn)
    else:
        assert found == plain


# -------------------------------------------------------------------------------------- the build

FIGURE = """import matplotlib.pyplot as plt
plt.plot([1, 2], [2, 1])
plt.title("a title")
plt.show()"""
TABLE = """import pandas as pd
pd.DataFrame({"a": range(29), "b": 1 / 3})"""
TOLD = """import locale, sys, warnings
locale.setlocale(locale.LC_ALL, "")
print(locale.str(0.5), sys.flags.optimize, "größer")"""


def shows(house) -> None:
    """A chapter with a figure, a table and a text, each of which settings can change."""
    import nbformat
    from conftest import CHAPTER, END

    parameters = "runs = 'runs/smoke/theory/simulate'\nfolder = 'runs/hand/chapter'"
    house.notebook("theory/chapter", parameters, CHAPTER, FIGURE, TABLE, TOLD, END)
    path = house.folder / "notebooks/theory/chapter.ipynb"
    notebook = nbformat.read(path, 4)
    notebook.cells[3].metadata["mystnb"] = {
        "figure": {"caption": "A line.", "name": "fig-line"},
        "image": {"alt": "A line."},
    }
    nbformat.write(notebook, path)


def shown(house) -> list:
    """What the cells of the published chapter show, but for the last: the record has the time."""
    text = (house.folder / "book/chapters/theory/chapter.ipynb").read_text(encoding="utf-8")
    cells = [cell for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    return [[o.get("data", o.get("text")) for o in cell["outputs"]] for cell in cells[:-1]]


@pytest.fixture(scope="module")
def plainly(tmp_path_factory):
    """What the chapter shows where nothing is set."""
    from conftest import House

    house = House(tmp_path_factory.mktemp("plainly"))
    shows(house)
    status, printed = house.build()
    assert status == 0, printed
    found = shown(house)
    assert "image/png" in found[3][0] and "0.5 0 größer" in found[5][0][0]
    return found


def variables(folder: Path) -> dict[str, str]:
    """Settings of every family, each of which once changed a page or ended in none."""
    (folder / "profile").mkdir()
    (folder / "profile" / "config.yaml").write_text("dry-run: true\n")
    (folder / "startup.sh").write_text("exit 3\n")
    package(folder / "clone" / "lib", "raise ImportError('the other clone')\n")
    return {
        "MPLBACKEND": "Agg",
        "SNAKEMAKE_PROFILE": str(folder / "profile"),
        "PYTHONPATH": str(folder / "clone" / "lib"),
        "PYTHONOPTIMIZE": "2",
        "PYTHONWARNINGS": "error",
        "PYTHONINSPECT": "1",
        "WORLD_SIZE": "2",
        "RANK": "1",
        "COLUMNS": "20",
        "FORCE_COLOR": "1",
        "LC_ALL": "POSIX",
        "BASH_ENV": str(folder / "startup.sh"),
        "JUPYTER_CONFIG_DIR": "/nowhere",
        "JUPYTER_RUNTIME_DIR": "/proc/nowhere",
        "TMPDIR": str(folder / ("t" * 140)),
        "TORCH_LOGS": "+all",
        "MKL_CBWR": "COMPATIBLE",
    }


def dotfiles(folder: Path) -> dict[str, str]:
    """A home with settings of matplotlib, IPython and Jupyter, and variables that name it."""
    startup = folder / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "00.py").write_text("import pandas\npandas.set_option('display.max_rows', 18)\n")
    config = startup.parent / "ipython_kernel_config.py"
    config.write_text("c.InlineBackend.figure_formats = {'svg'}\n")
    for place in (folder / "config" / "matplotlib", folder / "mpl"):
        place.mkdir(parents=True)
        (place / "matplotlibrc").write_text("text.color: white\nfont.family: No Such Font\n")
    kernel = folder / "data" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    (kernel / "kernel.json").write_text('{"argv": ["false"], "display_name": "x", "language": "x"}')
    return {
        "IPYTHONDIR": str(folder / "ipython"),
        "XDG_CONFIG_HOME": str(folder / "config"),
        "MPLCONFIGDIR": str(folder / "mpl"),
        "MATPLOTLIBRC": str(folder / "mpl"),
        "JUPYTER_PATH": str(folder / "data"),
        "JUPYTER_DATA_DIR": str(folder / "data"),
    }


@pytest.mark.faults
@pytest.mark.fault(
    "a build on a machine with {kind} that change figures, tables, the profile and the library",
    "the page shows the same as without",
)
@pytest.mark.parametrize("kind", ["variables", "dotfiles"])
def test_a_build_is_the_same_whatever_is_set(house, tmp_path_factory, plainly, monkeypatch, kind):
    make = {"variables": variables, "dotfiles": dotfiles}[kind]
    for name, value in make(tmp_path_factory.mktemp(kind)).items():
        monkeypatch.setenv(name, value)
    shows(house)
    status, printed = house.build()
    assert status == 0, printed
    assert "The book: " in printed
    assert shown(house) == plainly
    saw("figure, table and text as without, and 'The book:' at the end")


@pytest.mark.faults
@pytest.mark.fault(
    "Snakemake called by hand in such an environment", "the page shows the same as without"
)
def test_snakemake_by_hand_is_the_same_too(house, plainly):
    shows(house)
    command = [sys.executable, "-m", "snakemake", "--cores", "1"]
    command += ["--configfile", "notebooks/params/smoke.yaml"]
    extra = {"MPLBACKEND": "Agg", "WORLD_SIZE": "2", "RANK": "1", "LC_ALL": "POSIX"}
    ended = subprocess.run(
        command,
        cwd=house.folder,
        env=os.environ | extra,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    assert shown(house) == plainly


@pytest.mark.fault(
    "the environment's `granularity` is another folder's", "the build refuses, with both folders"
)
def test_the_build_refuses_a_library_from_elsewhere(house):
    (house.folder / "lib").unlink()
    shutil.copytree(ROOT / "lib", house.folder / "lib", ignore=shutil.ignore_patterns("tables"))
    status, printed = house.build()
    assert status != 0
    assert f"{ROOT / 'lib/granularity'}, not from {house.folder / 'lib/granularity'}" in printed
    assert not (house.folder / "runs").exists()


@pytest.mark.fault("a matplotlibrc in the book's own folder", "the build refuses, naming it")
def test_the_build_refuses_a_matplotlibrc_beside_it(house):
    house.write("matplotlibrc", "text.color: white\n")
    status, printed = house.build()
    assert status != 0
    assert f"{house.folder}/matplotlibrc would change every page" in printed
    assert not (house.folder / "runs").exists()
