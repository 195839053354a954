"""What runs see of the machine's settings: nothing that could change a page or a number.

A user's environment and dotfiles belong to the user; a record says nothing of them, so they must
not matter. Three places use these rules. `neutral` is the environment that the build starts
everything in; `cleaned` the one for the processes of a run; `settle` is for a kernel that somebody
started by hand, where some libraries have read their settings already: what cannot be taken back
there is refused by name. Places (caches, data, proxies), the choice of GPUs, and what a machine
needs to run at all stay as they are.

    python -m granularity.surroundings jupyter lab      runs a command in the neutral environment
"""

import importlib.util
import os
import re
import subprocess
import sys
import warnings
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType

import granularity

# Families of variables, as regular expressions of whole names.
# Read when they are needed: taken away at any time, they are gone.
LATE = (
    r"ACCELERATE_\w+|FSDP_\w+|MEGATRON_LM_\w+|DEEPSPEED_\w+|PARALLELISM_CONFIG_\w+|FP8_\w+",
    r"PYTHON\w+|IPYTHON\w*|JUPYTER_\w+|MPL\w+|MATPLOTLIB\w+|PAPERMILL_\w+|SNAKEMAKE_\w+|PYDEVD_\w+",
    r"SPHINX\w*|READTHEDOCS\w*|DOCUTILS\w+|SOURCE_DATE_EPOCH|TQDM_\w+|RICH_\w+|TTY_\w+",
    r"FORCE_COLOR|NO_COLOR|CLICOLOR\w*|PY_COLORS|COLUMNS|LINES|LC_\w+|LANG|LANGUAGE",
    r"BASH_ENV|ENV|SHELLOPTS|BASHOPTS|BASH_FUNC_.*|CDPATH|GLOBIGNORE|POSIXLY_CORRECT|IFS",
    # Set by git for its hooks, and naming another repository than the one that the code is in.
    r"GIT_(DIR|WORK_TREE|INDEX_FILE|COMMON_DIR|OBJECT_DIRECTORY|ALTERNATE_\w+|NAMESPACE|PREFIX)",
    r"GIT_(REPLACE_REF_BASE|GRAFT_FILE|SHALLOW_FILE|INTERNAL_\w+|TRACE\w*|CEILING_DIRECTORIES)",
)
# Which of several processes this is, as platforms, torch, MPI and accelerate say it.
PROCESSES = (
    r"(LOCAL_|GROUP_|ROLE_|NODE_|CROSS_)?(RANK|WORLD_SIZE)|ROLE_NAME|NPROC|NNODES|FORK_LAUNCHED",
    r"MASTER_(ADDR|PORT)|TORCHELASTIC_\w+|(OMPI|PMI|PMIX|MV2|MPI|HYDRA|CCL|I_MPI)_\w+",
    r"(XLA|PJRT|TPU|XRT)_\w+",
)
# Read once, as a library is loaded: they choose how it computes.
EARLY = (
    r"TORCH_(?!HOME$|NCCL_|EXTENSIONS_DIR$)\w+|TORCHINDUCTOR_(?!CACHE_DIR$)\w+|TORCHDYNAMO_\w+",
    r"PYTORCH_(?!(CUDA_|HIP_)?ALLOC_CONF$)\w+|ATEN_\w+|TIMM_\w+|NVFUSER_\w+|TRITON_(?!CACHE_DIR$)\w+",
    r"NVIDIA_TF32_OVERRIDE|CUBLAS\w+|CUDNN_\w+|MKL_(?!NUM_THREADS$)\w+|(ONEDNN|DNNL)_\w+",
    r"(NPY|NUMPY|SCIPY|SKLEARN|PANDAS|PILLOW)_\w+",
)
# How many cores a process may use. A running one keeps them, like the cores that the machine has.
CORES = (r"(OMP|KMP|GOMP)_\w+|\w+_NUM_THREADS",)
ALL = (*LATE, *PROCESSES, *EARLY, *CORES)
TEMPORARY = ("TMPDIR", "TEMP", "TMP")
LONGEST = 70  # bytes of a temporary folder's name: sockets below it may have names of 103 in all

INLINE = "module://matplotlib_inline.backend_inline"
OWN = Path(".snakemake/surroundings")  # below the repository's root: not in git, gone with a clean
# Of a build's own: set by `scripts/build.py`, no job is to run; and told to the pages by the graph,
# the jobs that have no record.
AS_IS, WITHOUT = "GRANULARITY_AS_IS", "GRANULARITY_WITHOUT"
SYSTEM = ("/etc/ipython", "/usr/local/etc/ipython")


class SurroundingsError(RuntimeError):
    """A setting of this machine that changes numbers or pages, and that only its user can undo."""


def named(environment: Mapping[str, str], families: Iterable[str]) -> list[str]:
    """The variables of an environment that belong to some families, sorted."""
    pattern = re.compile("|".join(families))
    return sorted(name for name in environment if pattern.fullmatch(name))


def cleaned(environment: Mapping[str, str]) -> dict[str, str]:
    """An environment without the variables that could change what a new process makes.

    A temporary folder with a name too long for the sockets of loading processes is left out too.
    """
    gone = set(named(environment, ALL))
    kept = {name: value for name, value in environment.items() if name not in gone}
    for name in TEMPORARY:
        if len(os.fsencode(kept.get(name, ""))) > LONGEST:
            del kept[name]
    # Text is UTF-8, sorting and numbers are the C locale's, on every machine.
    return kept | {"PYTHONUTF8": "1", "PYTHONCOERCECLOCALE": "0"}


def neutral(environment: Mapping[str, str], root: Path) -> dict[str, str]:
    """`cleaned`, and Jupyter, IPython and matplotlib with the project's own settings only.

    Makes the folder of these settings below `root`.
    """
    own = (root / OWN).resolve()
    own.mkdir(parents=True, exist_ok=True)  # IPython would take another that is not there
    return cleaned(environment) | {
        "IPYTHONDIR": str(own / "ipython"),
        "JUPYTER_CONFIG_DIR": str(own / "config"),
        "JUPYTER_DATA_DIR": str(own / "data"),
        "JUPYTER_RUNTIME_DIR": str(own / "runtime"),
        "JUPYTER_PREFER_ENV_PATH": "1",  # the kernel of this environment before any other
        "MATPLOTLIBRC": str(defaults_of_matplotlib()),
        "MPLBACKEND": INLINE,
    }


def defaults_of_matplotlib() -> Path:
    """The file of settings that comes with matplotlib, found without loading it."""
    found = importlib.util.find_spec("matplotlib")
    return Path(found.origin).parent / "mpl-data" / "matplotlibrc"


def refuse_another_library(root: Path, found: Path | None = None) -> None:
    """Raises SurroundingsError where `granularity` is another folder's than the checkout at `root`.

    `found` is the package's folder; this very one where none is given. An installed copy with the
    same text passes.
    """
    ours = (root / "lib" / "granularity").resolve()
    found = (found or Path(__file__).parent).resolve()
    if not ours.is_dir() or found == ours:
        return
    if "site-packages" in found.parts and texts(found) == texts(ours):
        return
    raise SurroundingsError(
        f"`granularity` is imported from {found}, not from {ours}: run `make setup` in {root}, "
        "start python from its .venv, and unset PYTHONPATH"
    )


def texts(package: Path) -> dict[str, bytes]:
    """The modules of a package, by their place in it."""
    return {str(p.relative_to(package)): p.read_bytes() for p in sorted(package.rglob("*.py"))}


def refuse_system_files(root: Path) -> None:
    """Raises SurroundingsError for files that every kernel here would read, whoever starts it.

    IPython's start-up and configuration files of the whole machine, and a `matplotlibrc` in the
    working folder, which comes before any other.
    """
    kernels = [Path(place) for place in (*SYSTEM, f"{sys.prefix}/etc/ipython")]
    found = [root / "matplotlibrc"]
    for place in kernels:
        found += [*place.glob("startup/*.py"), *place.glob("startup/*.ipy")]
        found += [*place.glob("ipython*_config.*")]
    for path in found:
        if path.is_file():
            raise SurroundingsError(f"{path} would change every page: move it away")


# ------------------------------------------------------------------------------ a running kernel


def settle(root: Path) -> None:
    """Makes the kernel that this runs in as if it had been started in the neutral environment.

    Raises SurroundingsError, naming it, for a library of another folder, and for a variable that a
    library has read already.
    """
    refuse_another_library(root)
    forget((*LATE, *PROCESSES))  # a kernel is never one of several processes
    os.environ.update(MPLBACKEND=INLINE, MATPLOTLIBRC=str(defaults_of_matplotlib()))
    for name, reset in RESETS.items():
        if name in sys.modules:
            reset(sys.modules[name])
    for one in [one for one in warnings.filters if one[1:] == (None, Warning, None, 0)]:
        warnings.filters.remove(one)  # such as simplefilter("ignore") adds
    warnings.simplefilter("default", append=True)  # what holds without any filter


def forget(families: Iterable[str] = LATE) -> None:
    """Takes variables out of this process's environment.

    Raises SurroundingsError for others, by which a library that is loaded computes otherwise.
    """
    own = granularity.SETTINGS  # set as the package was loaded, over any others
    found = [name for name in named(os.environ, EARLY) if os.environ[name] != own.get(name)]
    if found:
        raise SurroundingsError(
            f"{', '.join(found)} in the environment: that changes how numbers are computed, and "
            f"may have been read already; start this again without (unset {' '.join(found)})"
        )
    for name in named(os.environ, families):
        del os.environ[name]


def reset_pandas(pandas: ModuleType) -> None:
    """All options as pandas has them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it warns of its own old options
        pandas.reset_option("all")


def reset_numpy(numpy: ModuleType) -> None:
    """Printing and floating-point errors as numpy has them."""
    numpy.set_printoptions(
        precision=8,
        threshold=1000,
        edgeitems=3,
        linewidth=75,
        suppress=False,
        nanstr="nan",
        infstr="inf",
        formatter=None,
        sign="-",
        floatmode="maxprec",
        legacy=False,
    )
    numpy.seterr(divide="warn", over="warn", under="ignore", invalid="warn")


def reset_torch(torch: ModuleType) -> None:
    """What new tensors are, and how exactly they are multiplied, as torch has it."""
    torch.set_default_dtype(torch.float32)
    torch.set_default_device(None)
    torch.set_grad_enabled(True)
    torch.set_flush_denormal(False)
    torch.use_deterministic_algorithms(False)
    torch.set_float32_matmul_precision("highest")
    torch.set_printoptions(profile="default")


def reset_matplotlib(matplotlib: ModuleType) -> None:
    """The settings that come with matplotlib, and figures in the notebook's own output."""
    matplotlib.rcdefaults()
    matplotlib.use(INLINE)
    from IPython import get_ipython
    from matplotlib_inline.backend_inline import configure_inline_support

    configure_inline_support(get_ipython(), INLINE)  # it asks for the backend once, when loaded


RESETS = {
    "pandas": reset_pandas,
    "numpy": reset_numpy,
    "torch": reset_torch,
    "matplotlib": reset_matplotlib,
}


if __name__ == "__main__":
    sys.exit(subprocess.call(sys.argv[1:], env=neutral(os.environ, Path.cwd())))
